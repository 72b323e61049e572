"""Elections that an admin asks for, and those that the controller holds by itself."""

from __future__ import annotations

import pytest

from odradek.controller.result import ControllerResult
from odradek.metadata.image import NO_LEADER, RECOVERED, RECOVERING
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from tests.unit.controller.several_brokers import Cluster

PREFERRED = 0
UNCLEAN = 1
SET = 0


def set_config(cluster: Cluster, resource_type: int, resource: str, name: str, value: str) -> None:
    request = IncrementalAlterConfigsRequest(
        resources=[
            AlterConfigsResource(
                resource_type=resource_type,
                resource_name=resource,
                configs=[AlterableConfig(name=name, config_operation=SET, value=value)],
            )
        ]
    )
    (answer,) = cluster.node.send(request, IncrementalAlterConfigsResponse).responses
    assert answer.error_code == 0


def without_clean_leader(**configs: str) -> Cluster:
    """Of the replicas 1 and 2, 1 is there, and only 2 is known to have everything."""
    cluster = Cluster(3, {"auto.leader.rebalance.enable": "false"})
    cluster.create([1, 2], min_insync_replicas="1", **configs)
    cluster.fence(1, 2)
    cluster.unfence(1)
    return cluster


def keep_alive(cluster: Cluster, seconds: int, *broker_ids: int) -> None:
    for _ in range(0, seconds, 5):
        for broker_id in broker_ids:
            cluster.heartbeat(broker_id)
        cluster.node.world.advance(5_000)


def test_a_preferred_replica_leads_again_when_it_is_in_sync() -> None:
    cluster = Cluster(3)
    cluster.create([1, 2, 3])
    cluster.fence(1)
    assert cluster.shown()[:2] == (2, [2, 3])
    assert cluster.elect(PREFERRED) == [ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE]
    cluster.unfence(1)
    assert cluster.elect(PREFERRED) == [ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE]
    assert cluster.propose(2, 3, 1).error_code == 0
    epoch = cluster.partition().leader_epoch
    assert cluster.elect(PREFERRED) == [ErrorCode.NONE]
    assert cluster.shown() == (1, [1, 2, 3], [])
    assert cluster.partition().leader_epoch == epoch + 1
    assert cluster.elect(PREFERRED) == [ErrorCode.ELECTION_NOT_NEEDED]


def test_an_unclean_election_takes_any_replica_that_is_there() -> None:
    cluster = without_clean_leader()
    assert cluster.shown() == (NO_LEADER, [], [2])
    assert cluster.elect(UNCLEAN) == [ErrorCode.NONE]
    assert cluster.shown() == (1, [1], [])
    assert cluster.partition().recovery_state == RECOVERING
    assert cluster.elect(UNCLEAN) == [ErrorCode.ELECTION_NOT_NEEDED]


def test_an_unclean_election_prefers_a_replica_that_is_eligible_and_fails_without_any() -> None:
    cluster = without_clean_leader()
    cluster.fence(1)
    assert cluster.elect(UNCLEAN) == [ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE]
    cluster.unfence(2)
    assert cluster.shown() == (2, [2], [])
    assert cluster.partition().recovery_state == RECOVERED


def test_an_election_for_all_partitions_does_not_tell_of_those_that_need_none() -> None:
    cluster = Cluster(2)
    cluster.create([1, 2], [2, 1])
    cluster.fence(1)
    request = ElectLeadersRequest(election_type=PREFERRED, topic_partitions=None, timeout_ms=1000)
    (answer,) = cluster.node.send(request, ElectLeadersResponse).replica_election_results
    assert [(each.partition_id, each.error_code) for each in answer.partition_result] == [
        (0, ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE)
    ]
    unknown = ElectLeadersRequest(election_type=2, topic_partitions=None, timeout_ms=1000)
    assert cluster.node.send(unknown, ElectLeadersResponse).error_code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(("resource_type", "resource"), [(2, "t"), (4, "")])
def test_unclean_elections_that_are_allowed_later_happen_at_the_next_look(resource_type: int, resource: str) -> None:
    cluster = without_clean_leader()
    set_config(cluster, resource_type, resource, "unclean.leader.election.enable", "true")
    assert cluster.shown()[0] == NO_LEADER
    keep_alive(cluster, 310, 1, 3)
    assert cluster.shown() == (1, [1], [])
    assert cluster.partition().recovery_state == RECOVERING


def test_nobody_waits_for_an_eligible_replica_that_was_unregistered() -> None:
    cluster = without_clean_leader()
    set_config(cluster, 2, "t", "unclean.leader.election.enable", "true")
    answer = cluster.node.send(UnregisterBrokerRequest(broker_id=2), UnregisterBrokerResponse)
    assert answer.error_code == 0
    assert cluster.shown() == (1, [1], [])


def test_no_unclean_election_happens_by_itself_where_it_is_not_allowed() -> None:
    cluster = without_clean_leader()
    keep_alive(cluster, 310, 1, 3)
    assert cluster.shown() == (NO_LEADER, [], [2])


def test_where_unclean_elections_are_allowed_a_replica_that_comes_leads_at_once() -> None:
    cluster = without_clean_leader(unclean_leader_election_enable="true")
    assert cluster.shown() == (1, [1], [])


def test_leaders_are_balanced_now_and_then_and_as_many_as_there_are() -> None:
    cluster = Cluster(2, {"leader.imbalance.check.interval.seconds": "60"})
    for number in range(3):
        cluster.create(*([1, 2] for _ in range(500)), name=f"t{number}")
    cluster.fence(1)
    cluster.unfence(1)
    for number in range(3):
        for index in range(500):
            topic = cluster.node.image.topics.by_name[f"t{number}"]
            assert topic.partitions[index].leader == 2
    state = cluster.node.controller.state

    def all_in_sync() -> list[VersionedRecord]:
        return [
            VersionedRecord(PartitionChangeRecord(topic_id=topic.id, partition_id=index, isr=[1, 2]), 2)
            for topic in state.image.topics.by_name.values()
            for index in topic.partitions
        ]

    cluster.node.controller.submit(lambda _state: ControllerResult(None, all_in_sync(), is_atomic=False))
    keep_alive(cluster, 70, 1, 2)
    leaders = {
        partition.leader
        for topic in cluster.node.image.topics.by_name.values()
        for partition in topic.partitions.values()
    }
    assert leaders == {1}


def test_leaders_stay_where_they_are_if_they_are_not_to_be_balanced() -> None:
    cluster = Cluster(2, {"auto.leader.rebalance.enable": "false", "leader.imbalance.check.interval.seconds": "60"})
    cluster.create([1, 2])
    cluster.fence(1)
    cluster.unfence(1)
    assert cluster.propose(2, 1).error_code == 0
    keep_alive(cluster, 130, 1, 2)
    assert cluster.shown()[:2] == (2, [1, 2])


def test_after_a_crash_of_all_the_last_leader_leads_again() -> None:
    cluster = Cluster(3)
    cluster.create([2, 3], min_insync_replicas="2")
    cluster.fence(3, 2)
    assert cluster.shown() == (NO_LEADER, [], [2, 3])
    assert cluster.partition().last_known_elr == (2,)
    cluster.node.world.advance(20_000)
    cluster.register(3)
    assert cluster.shown() == (NO_LEADER, [], [2])
    cluster.register(2)
    assert cluster.shown() == (2, [2], [])
    partition = cluster.partition()
    assert (partition.recovery_state, partition.last_known_elr) == (RECOVERING, ())
