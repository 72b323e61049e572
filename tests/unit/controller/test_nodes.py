from __future__ import annotations

import pytest

from odradek.metadata.image import NO_LEADER, RECOVERING
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.allocate_producer_ids import AllocateProducerIdsRequest, AllocateProducerIdsResponse
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import (
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    Feature,
)
from odradek.wire.messages.create_topics import CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from tests.unit.controller.harness import CLUSTER_ID, NODE_ID, Disk, Node, started
from tests.unit.controller.test_topics import create, topic


def test_the_first_leader_writes_what_formatting_decided() -> None:
    node = Node(Disk()).start()
    assert node.controller.is_active
    assert node.image.features.finalized["metadata.version"] == 33
    assert len(node.image.features.finalized) == 6
    assert node.image.configs.properties(4, "") == {"min.insync.replicas": "1"}
    offset = node.raft.end_offset
    again = Node(node.disk).start()
    assert again.raft.end_offset == offset + 1
    assert again.image.same_content(node.image)


def test_a_broker_is_fenced_until_it_has_seen_its_own_registration() -> None:
    node = Node(Disk()).start()
    epoch = node.register(unfence=False)
    behind = BrokerHeartbeatRequest(broker_id=NODE_ID, broker_epoch=epoch, current_metadata_offset=epoch - 1)
    answer = node.send(behind, BrokerHeartbeatResponse)
    assert (answer.is_caught_up, answer.is_fenced) == (False, True)
    assert node.image.cluster.brokers[NODE_ID].fenced
    caught_up = BrokerHeartbeatRequest(broker_id=NODE_ID, broker_epoch=epoch, current_metadata_offset=epoch)
    answer = node.send(caught_up, BrokerHeartbeatResponse)
    assert (answer.is_caught_up, answer.is_fenced) == (True, False)
    assert not node.image.cluster.brokers[NODE_ID].fenced


def test_topics_wait_for_a_broker_that_is_unfenced() -> None:
    node = Node(Disk()).start()
    node.register(unfence=False)
    (result,) = create(node, topic("t"))
    assert result.error_code == ErrorCode.INVALID_REPLICATION_FACTOR
    assert result.error_message == "Unable to replicate the partition 1 time(s): All brokers are currently fenced."


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (BrokerRegistrationRequest(broker_id=2, cluster_id="other"), ErrorCode.INCONSISTENT_CLUSTER_ID),
        (BrokerRegistrationRequest(broker_id=2, cluster_id=CLUSTER_ID), ErrorCode.INVALID_REGISTRATION),
        (
            BrokerRegistrationRequest(broker_id=2, cluster_id=CLUSTER_ID, log_dirs=[bytes(16)]),
            ErrorCode.INVALID_REGISTRATION,
        ),
        (
            BrokerRegistrationRequest(
                broker_id=2,
                cluster_id=CLUSTER_ID,
                log_dirs=[b"d" * 16],
                features=[Feature(name="metadata.version", min_supported_version=1, max_supported_version=20)],
            ),
            ErrorCode.UNSUPPORTED_VERSION,
        ),
    ],
)
def test_a_broker_that_does_not_belong_is_refused(request_: BrokerRegistrationRequest, code: ErrorCode) -> None:
    node = started()
    assert node.send(request_, BrokerRegistrationResponse).error_code == code
    assert list(node.image.cluster.brokers) == [NODE_ID]


def test_two_processes_cannot_be_the_same_broker() -> None:
    node = started()
    node.register(2)
    second = BrokerRegistrationRequest(
        broker_id=2, cluster_id=CLUSTER_ID, incarnation_id=b"i" * 16, log_dirs=[b"d" * 16]
    )
    refused = node.send(second, BrokerRegistrationResponse)
    assert refused.error_code == ErrorCode.DUPLICATE_BROKER_REGISTRATION


def test_the_epoch_of_an_older_incarnation_is_stale() -> None:
    node = started()
    old = node.broker_epoch
    restarted = Node(node.disk).start()
    new = restarted.register()
    assert new > old
    assert restarted.heartbeat(NODE_ID, old).error_code == ErrorCode.STALE_BROKER_EPOCH
    request = AllocateProducerIdsRequest(broker_id=NODE_ID, broker_epoch=old)
    assert restarted.send(request, AllocateProducerIdsResponse).error_code == ErrorCode.STALE_BROKER_EPOCH


def test_blocks_of_producer_ids_follow_one_another_over_restarts() -> None:
    node = started()
    starts = []
    for _ in range(3):
        request = AllocateProducerIdsRequest(broker_id=NODE_ID, broker_epoch=node.broker_epoch)
        block = node.send(request, AllocateProducerIdsResponse)
        assert (block.error_code, block.producer_id_len) == (0, 1000)
        starts.append(block.producer_id_start)
        node = Node(node.disk).start()
        node.register()
    assert starts == [0, 1000, 2000]


def test_a_node_that_stood_still_hears_its_brokers_before_it_judges_them() -> None:
    node = started()
    node.world.advance_clock(60_000)
    node.world.advance(1)
    assert not node.image.cluster.brokers[NODE_ID].fenced
    node.heartbeat(NODE_ID, node.broker_epoch)
    node.world.advance(3_000)
    assert not node.image.cluster.brokers[NODE_ID].fenced
    node.world.advance(9_000)
    assert node.image.cluster.brokers[NODE_ID].fenced


def test_a_broker_that_is_silent_for_a_session_time_out_is_fenced_and_can_come_back() -> None:
    node = started()
    create(node, topic("t"))
    node.world.advance(8_000)
    node.heartbeat(NODE_ID, node.broker_epoch)
    node.world.advance(8_000)
    assert not node.image.cluster.brokers[NODE_ID].fenced
    node.world.advance(4_000)
    assert node.image.cluster.brokers[NODE_ID].fenced
    partition = node.image.topics.by_name["t"].partitions[0]
    assert (partition.leader, partition.elr) == (NO_LEADER, (NODE_ID,))
    assert not node.heartbeat(NODE_ID, node.broker_epoch).is_fenced
    partition = node.image.topics.by_name["t"].partitions[0]
    assert (partition.leader, partition.isr, partition.elr) == (NODE_ID, (NODE_ID,), ())


def test_a_clean_shutdown_moves_leaders_away_and_the_next_start_brings_them_back() -> None:
    node = started()
    create(node, topic("t", 2))
    first = node.heartbeat(NODE_ID, node.broker_epoch, want_shut_down=True)
    assert not first.should_shut_down
    assert node.image.cluster.brokers[NODE_ID].in_controlled_shutdown
    second = node.heartbeat(NODE_ID, node.broker_epoch, want_shut_down=True)
    assert second.should_shut_down
    assert node.image.cluster.brokers[NODE_ID].fenced
    restarted = Node(node.disk).start()
    restarted.register(previous_epoch=node.broker_epoch)
    for partition in restarted.image.topics.by_name["t"].partitions.values():
        assert (partition.leader, partition.isr, partition.recovery_state) == (NODE_ID, (NODE_ID,), 0)
        assert partition.leader_epoch == 2


def test_after_a_crash_the_only_replica_leads_again_in_a_new_epoch() -> None:
    node = started()
    create(node, topic("t"))
    restarted = Node(node.disk).start()
    restarted.register()
    partition = restarted.image.topics.by_name["t"].partitions[0]
    assert (partition.leader, partition.isr) == (NODE_ID, (NODE_ID,))
    assert partition.leader_epoch > 0
    assert partition.recovery_state == RECOVERING  # nobody can say that the crash lost nothing


def test_replicas_are_spread_over_brokers_and_racks() -> None:
    node = started()
    for broker_id, rack in ((2, "a"), (3, "b"), (4, "b"), (5, "c"), (6, "c")):
        node.register(broker_id, rack=rack)
    create(node, topic("t", 60, 3))
    racks = {1: "", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"}
    leaders: dict[int, int] = {}
    for partition in node.image.topics.by_name["t"].partitions.values():
        assert len({racks[replica] for replica in partition.replicas}) == 3
        leaders[partition.leader] = leaders.get(partition.leader, 0) + 1
    assert sorted(leaders) == [1, 2, 3, 4, 5, 6]
    assert max(leaders.values()) <= 20


def test_a_broker_that_leaves_hands_its_partitions_to_replicas_in_sync() -> None:
    node = started()
    node.register(2)
    create(node, topic("t", 2, 2))
    answer = node.send(UnregisterBrokerRequest(broker_id=2), UnregisterBrokerResponse)
    assert answer.error_code == 0
    assert list(node.image.cluster.brokers) == [NODE_ID]
    for partition in node.image.topics.by_name["t"].partitions.values():
        assert (partition.leader, partition.isr) == (NODE_ID, (NODE_ID,))
    again = node.send(UnregisterBrokerRequest(broker_id=2), UnregisterBrokerResponse)
    assert again.error_code == ErrorCode.BROKER_ID_NOT_REGISTERED


def test_a_preferred_election_needs_another_leader() -> None:
    node = started()
    create(node, topic("t"))
    request = ElectLeadersRequest(
        election_type=0, topic_partitions=[TopicPartitions(topic="t", partitions=[0, 5])], timeout_ms=1000
    )
    (result,) = node.send(request, ElectLeadersResponse).replica_election_results
    assert [(each.partition_id, each.error_code) for each in result.partition_result] == [
        (0, ErrorCode.ELECTION_NOT_NEEDED),
        (5, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]


def test_an_idle_controller_keeps_the_log_moving() -> None:
    node = started()
    offset = node.raft.end_offset
    node.world.advance(1_600)
    assert node.raft.end_offset == offset + 3
    assert node.image.offset == offset + 2


def test_those_who_wait_are_told_when_the_log_fails_and_nothing_is_decided_any_more() -> None:
    disk = Disk()
    node = Node(disk).start()
    node.register()
    disk.log.hold_flushes = True
    request = AllocateProducerIdsRequest(broker_id=NODE_ID, broker_epoch=node.broker_epoch)
    answer = node.client.send(request, AllocateProducerIdsResponse)
    disk.log.fail_with = OSError("disk gone")
    disk.log.finish_flushes()
    assert answer.result().error_code == ErrorCode.NOT_CONTROLLER
    assert len(node.fatal) == 1
    assert node.send(request, AllocateProducerIdsResponse).error_code == ErrorCode.NOT_CONTROLLER
    node.world.advance(60_000)


@pytest.mark.parametrize("seed", range(8))
def test_a_replay_gives_what_was_committed_whatever_the_crash_cut_off(seed: int) -> None:
    disk = Disk()
    node = Node(disk, seed).start()
    node.register()
    for step in range(30):
        create(node, topic(f"t{node.world.below(12)}", 1 + node.world.below(3)))
        if node.world.below(3) == 0:
            disk.log.hold_flushes = True
            create_later = topic(f"u{step}")
            answer = node.client.send(CreateTopicsRequest(topics=[create_later]), CreateTopicsResponse)
            assert not answer.done
            committed = node.image
            disk.log.crash()
            disk.log.hold_flushes = False
            node = Node(disk, seed * 100 + step).start()
            assert node.image.same_content(committed)
            node.register()
