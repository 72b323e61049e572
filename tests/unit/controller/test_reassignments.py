"""Partitions that move to other brokers (KIP-455), as an admin and their leaders see it."""

from __future__ import annotations

from odradek.metadata.image import NO_LEADER, RECOVERING
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsTopics,
)
from tests.unit.controller.several_brokers import TOPIC, Cluster

Moving = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def moving(cluster: Cluster, index: int = 0) -> Moving:
    """(replicas, adding, removing)"""
    partition = cluster.partition(index)
    return partition.replicas, partition.adding, partition.removing


def listed(cluster: Cluster, *indexes: int) -> list[tuple[int, list[int], list[int], list[int]]]:
    topics = [ListPartitionReassignmentsTopics(name=TOPIC, partition_indexes=list(indexes))] if indexes else None
    request = ListPartitionReassignmentsRequest(topics=topics, timeout_ms=1000)
    answer = cluster.node.send(request, ListPartitionReassignmentsResponse)
    return [
        (each.partition_index, each.replicas, each.adding_replicas, each.removing_replicas)
        for topic in answer.topics
        for each in topic.partitions
    ]


def test_the_old_replicas_go_when_all_new_ones_are_in_sync() -> None:
    cluster = Cluster(6)
    cluster.create([1, 2, 3])
    assert cluster.reassign([4, 5, 6]) == [0]
    assert moving(cluster) == ((4, 5, 6, 1, 2, 3), (4, 5, 6), (1, 2, 3))
    assert cluster.shown() == (1, [1, 2, 3], [])
    assert listed(cluster) == [(0, [4, 5, 6, 1, 2, 3], [4, 5, 6], [1, 2, 3])]
    assert cluster.propose(1, 2, 3, 4, 5).error_code == 0
    assert moving(cluster)[1] == (4, 5, 6)
    assert cluster.propose(1, 2, 3, 4, 5, 6).error_code == ErrorCode.NEW_LEADER_ELECTED
    assert moving(cluster) == ((4, 5, 6), (), ())
    assert cluster.shown() == (4, [4, 5, 6], [])
    assert listed(cluster) == []
    directories = cluster.partition().directories
    assert directories == tuple(bytes([broker_id]) * 16 for broker_id in (4, 5, 6))


def test_another_order_of_the_same_replicas_is_there_at_once_and_moves_no_leader() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2, 3])
    assert cluster.reassign([3, 2, 1]) == [0]
    assert moving(cluster) == ((3, 2, 1), (), ())
    assert cluster.shown() == (1, [1, 2, 3], [])
    assert cluster.partition().directories == tuple(bytes([broker_id]) * 16 for broker_id in (3, 2, 1))
    end = cluster.node.raft.end_offset
    assert cluster.reassign([3, 2, 1]) == [0]
    assert cluster.node.raft.end_offset == end


def test_fewer_replicas_are_there_at_once_if_they_are_in_sync() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2, 3], min_insync_replicas="2")
    epoch = cluster.partition().leader_epoch
    assert cluster.reassign([1]) == [0]
    assert moving(cluster) == ((1,), (), ())
    assert cluster.shown() == (1, [1], [])  # replicas that are gone are not eligible
    assert cluster.partition().leader_epoch == epoch + 1


def test_fewer_replicas_wait_until_they_are_in_sync() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2, 3])
    assert cluster.propose(1, 2).error_code == 0
    assert cluster.reassign([3]) == [0]
    assert moving(cluster) == ((3, 1, 2), (), (1, 2))
    assert cluster.shown() == (1, [1, 2], [])
    assert cluster.propose(1, 2, 3).error_code == ErrorCode.NEW_LEADER_ELECTED
    assert (moving(cluster), cluster.shown()) == (((3,), (), ()), (3, [3], []))


def test_an_old_replica_that_stays_need_not_be_in_sync() -> None:
    cluster = Cluster(4)
    cluster.create([1, 2, 3])
    assert cluster.propose(1, 3).error_code == 0
    assert cluster.reassign([1, 2, 4]) == [0]
    assert cluster.propose(1, 3, 4).error_code == 0
    assert (moving(cluster), cluster.shown()[:2]) == (((1, 2, 4), (), ()), (1, [1, 4]))


def test_cancelling_leads_back_to_the_replicas_before() -> None:
    cluster = Cluster(6)
    cluster.create([1, 2, 3], [1, 2, 3])
    assert cluster.reassign([4, 2, 3]) == [0]
    assert cluster.propose(1, 2, 3).error_code == 0
    assert cluster.reassign(None, None) == [ErrorCode.NONE, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS]
    assert (sorted(moving(cluster)[0]), *moving(cluster)[1:]) == ([1, 2, 3], (), ())
    assert cluster.shown() == (1, [1, 2, 3], [])


def test_a_new_leader_is_found_when_the_leader_was_one_of_those_that_are_cancelled() -> None:
    cluster = Cluster(5)
    cluster.create([1, 2], min_insync_replicas="1")
    assert cluster.reassign([3, 4]) == [0]
    assert cluster.propose(1, 2, 3).error_code == 0
    cluster.fence(1, 2)
    assert cluster.shown() == (3, [3], [])
    assert cluster.reassign(None) == [ErrorCode.INVALID_REPLICA_ASSIGNMENT]
    cluster.unfence(1)
    assert cluster.propose(3, 1).error_code == 0
    assert cluster.reassign(None) == [0]
    assert cluster.shown() == (1, [1], [])
    assert sorted(cluster.partition().replicas) == [1, 2]


def test_cancelling_what_only_new_replicas_have_is_an_unclean_election_and_nobody_is_in_sync_before_it() -> None:
    cluster = Cluster(5)
    cluster.create([1, 2], min_insync_replicas="1", unclean_leader_election_enable="true")
    assert cluster.reassign([3, 4]) == [0]
    assert cluster.propose(1, 2, 3).error_code == 0
    cluster.fence(1, 2)
    assert cluster.shown() == (3, [3], [])
    assert cluster.reassign(None) == [0]
    assert cluster.shown() == (NO_LEADER, [], [])
    cluster.unfence(2)
    assert cluster.shown() == (2, [2], [])
    assert cluster.partition().recovery_state == RECOVERING


def test_a_second_target_replaces_the_first_and_all_of_the_first_counts_as_old() -> None:
    cluster = Cluster(6)
    cluster.create([1, 2])
    assert cluster.reassign([3, 4]) == [0]
    assert cluster.propose(1, 2, 3).error_code == 0
    assert cluster.reassign([5, 6]) == [0]
    assert moving(cluster) == ((5, 6, 1, 2, 3, 4), (5, 6), (1, 2, 3, 4))
    assert cluster.shown() == (1, [1, 2, 3], [])
    assert cluster.propose(1, 2, 3, 5, 6).error_code == ErrorCode.NEW_LEADER_ELECTED
    assert (moving(cluster), cluster.shown()[:2]) == (((5, 6), (), ()), (5, [5, 6]))


def test_going_back_by_naming_the_old_replicas_completes_at_once() -> None:
    cluster = Cluster(4)
    cluster.create([1, 2])
    assert cluster.reassign([3, 4]) == [0]
    assert cluster.reassign([1, 2]) == [0]
    assert (moving(cluster), cluster.shown()[:2]) == (((1, 2), (), ()), (1, [1, 2]))


def test_keeping_old_and_new_replicas_removes_nobody() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2])
    assert cluster.reassign([3, 1]) == [0]
    assert moving(cluster) == ((3, 1, 2), (3,), (2,))
    assert cluster.reassign([3, 1, 2]) == [0]
    assert moving(cluster) == ((3, 1, 2), (3,), ())
    assert cluster.propose(1, 2, 3).error_code == 0
    assert (moving(cluster), cluster.shown()[:2]) == (((3, 1, 2), (), ()), (1, [1, 2, 3]))


def test_several_partitions_move_by_themselves() -> None:
    cluster = Cluster(4)
    cluster.create([1, 2], [2, 1], [1, 2])
    codes = cluster.reassign([3, 4], [4, 3], [9, 1])
    assert codes == [ErrorCode.NONE, ErrorCode.NONE, ErrorCode.INVALID_REPLICA_ASSIGNMENT]
    assert [each[0] for each in listed(cluster)] == [0, 1]
    assert [each[0] for each in listed(cluster, 1, 2, 7)] == [1]
    assert cluster.propose(2, 1, 4, 3, index=1).error_code == ErrorCode.NEW_LEADER_ELECTED
    assert [each[0] for each in listed(cluster)] == [0]
    assert cluster.shown(1)[:2] == (4, [3, 4])


def test_what_no_reassignment_can_be() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2])
    for target in ([], [1, 1], [1, 8]):
        assert cluster.reassign(target) == [ErrorCode.INVALID_REPLICA_ASSIGNMENT]
    assert cluster.reassign([1], may_change_factor=False) == [ErrorCode.INVALID_REPLICATION_FACTOR]
    assert cluster.reassign([1, 2], [1, 2]) == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert cluster.reassign([3, 1, 2]) == [0]
    # Three are what there will be.
    assert cluster.reassign([3, 2], may_change_factor=False) == [ErrorCode.INVALID_REPLICATION_FACTOR]
    assert cluster.reassign([3, 2, 1], may_change_factor=False) == [0]


def test_a_broker_whose_directories_are_all_cordoned_takes_nothing() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2])
    request = BrokerHeartbeatRequest(
        broker_id=3,
        broker_epoch=cluster.epochs[3],
        current_metadata_offset=cluster.node.raft.high_watermark,
        cordoned_log_dirs=[bytes([3]) * 16],
    )
    assert cluster.node.send(request, BrokerHeartbeatResponse).error_code == 0
    assert cluster.reassign([3, 1]) == [ErrorCode.INVALID_REPLICA_ASSIGNMENT]


def test_a_topic_that_is_deleted_moves_no_more() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2])
    assert cluster.reassign([3, 1]) == [0]
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=TOPIC)], timeout_ms=1000)
    assert cluster.node.send(request, DeleteTopicsResponse).responses[0].error_code == 0
    assert listed(cluster) == []
    assert cluster.reassign([1, 2]) == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_new_replicas_on_brokers_that_are_away_are_waited_for() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2])
    cluster.fence(3)
    assert cluster.reassign([3, 1]) == [0]
    assert cluster.propose(1, 2, 3).error_code == ErrorCode.INELIGIBLE_REPLICA
    cluster.unfence(3)
    assert cluster.propose(1, 2, 3).error_code == 0
    assert (moving(cluster), cluster.shown()[:2]) == (((3, 1), (), ()), (1, [1, 3]))
