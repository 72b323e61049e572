"""What a leader may say about its in-sync replicas (AlterPartition)."""

from __future__ import annotations

from odradek.metadata.image import RECOVERED, RECOVERING
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.alter_partition import AlterPartitionResponsePartitionData
from tests.unit.controller.several_brokers import Cluster


def three_replicas(properties: dict[str, str] | None = None, **configs: str) -> Cluster:
    cluster = Cluster(4, properties)
    cluster.create([1, 2, 3], **configs)
    return cluster


def test_a_leader_shrinks_and_expands_the_isr_without_a_new_leader_epoch() -> None:
    cluster = three_replicas()
    before = cluster.partition()
    assert cluster.propose(1, 3) == AlterPartitionResponsePartitionData(
        partition_index=0,
        leader_id=1,
        leader_epoch=before.leader_epoch,
        isr=[1, 3],
        partition_epoch=before.partition_epoch + 1,
    )
    assert cluster.partition() == before._replace(isr=(1, 3), partition_epoch=before.partition_epoch + 1)
    assert cluster.propose(1, 3, 2).isr == [1, 3, 2]
    assert cluster.partition().isr == (1, 3, 2)
    end = cluster.node.raft.end_offset
    assert cluster.propose(1, 3, 2).error_code == ErrorCode.NONE
    assert cluster.node.raft.end_offset == end


def test_below_the_minimum_who_leaves_is_still_eligible_and_no_longer_when_enough_are_in_sync() -> None:
    cluster = three_replicas(min_insync_replicas="2")
    assert cluster.propose(1, 2).error_code == 0
    assert cluster.shown() == (1, [1, 2], [])
    assert cluster.propose(1).error_code == 0
    assert cluster.shown() == (1, [1], [2])
    assert cluster.propose(1, 3).error_code == 0
    assert cluster.shown() == (1, [1, 3], [])


def test_version_2_has_no_broker_epochs() -> None:
    cluster = three_replicas()
    assert cluster.propose(1, 2, version=2).isr == [1, 2]


def test_only_the_leader_in_its_epoch_is_heard() -> None:
    cluster = three_replicas()
    cluster.fence(1)
    cluster.unfence(1)
    partition = cluster.partition()
    assert (partition.leader, partition.leader_epoch) == (2, 1)
    refused = {
        ErrorCode.FENCED_LEADER_EPOCH: cluster.propose(2, 3, leader_epoch=0),
        ErrorCode.INVALID_UPDATE_VERSION: cluster.propose(2, 3, partition_epoch=partition.partition_epoch - 1),
        ErrorCode.INVALID_REQUEST: cluster.propose(2, 3, sender=3),
        ErrorCode.NOT_CONTROLLER: cluster.propose(2, 3, partition_epoch=partition.partition_epoch + 1),
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: cluster.propose(2, 3, index=7),
        ErrorCode.UNKNOWN_TOPIC_ID: cluster.propose(2, 3, topic_id=b"x" * 16),
        ErrorCode.STALE_BROKER_EPOCH: cluster.propose(2, 3, broker_epoch=cluster.epochs[2] - 1),
    }
    assert {code: answer.error_code for code, answer in refused.items()} == {code: code for code in refused}
    assert cluster.propose(2, 3, leader_epoch=2).error_code == ErrorCode.NOT_CONTROLLER
    assert cluster.propose(2, 3, leader_epoch=0, sender=1).error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert cluster.partition() == partition


def test_an_isr_has_the_leader_and_other_replicas_each_once() -> None:
    cluster = three_replicas()
    for isr in ((), (2, 3), (1, 4), (1, 2, 2)):
        assert cluster.propose(*isr).error_code == ErrorCode.INVALID_REQUEST
    assert cluster.shown() == (1, [1, 2, 3], [])


def test_replicas_that_are_fenced_or_shutting_down_cannot_be_in_sync() -> None:
    cluster = three_replicas()
    cluster.create([2, 1], name="keeps-2-busy")
    cluster.fence(3)
    assert not cluster.heartbeat(2, want_shut_down=True).should_shut_down
    assert cluster.broker(2).in_controlled_shutdown
    assert not cluster.broker(2).fenced
    assert cluster.shown() == (1, [1], [])
    for isr in ((1, 2), (1, 3)):
        assert cluster.propose(*isr).error_code == ErrorCode.INELIGIBLE_REPLICA
        assert cluster.propose(*isr, version=2).error_code == ErrorCode.INELIGIBLE_REPLICA
    cluster.unfence(3)
    assert cluster.propose(1, 3).error_code == ErrorCode.NONE


def test_a_replica_that_restarted_is_not_in_sync_because_its_last_incarnation_was() -> None:
    cluster = three_replicas()
    old = cluster.epochs[3]
    cluster.fence(3)
    cluster.node.world.advance(10_000)
    for broker_id in (1, 2):
        cluster.unfence(broker_id)
    cluster.register(3, previous_epoch=old)
    assert cluster.epochs[3] > old
    partition = cluster.partition()
    assert 3 not in partition.isr
    proposed = [*partition.isr, 3]
    assert cluster.propose(*proposed, epochs={3: old}).error_code == ErrorCode.INELIGIBLE_REPLICA
    assert cluster.propose(*proposed).error_code == ErrorCode.NONE
    cluster.propose(*partition.isr)
    assert cluster.propose(*proposed, epochs={3: -1}).error_code == ErrorCode.NONE


def test_a_leader_that_recovers_is_alone_until_it_says_that_it_has_recovered() -> None:
    cluster = three_replicas(unclean_leader_election_enable="true", min_insync_replicas="1")
    cluster.fence(3, 2)
    cluster.fence(1)
    cluster.unfence(2)
    partition = cluster.partition()
    assert (partition.leader, partition.isr, partition.recovery_state) == (2, (2,), RECOVERING)
    cluster.unfence(1)
    assert cluster.propose(2, 1, recovery_state=RECOVERING).error_code == ErrorCode.INVALID_REQUEST
    assert cluster.propose(2, recovery_state=7).error_code == ErrorCode.INVALID_REQUEST
    assert cluster.propose(2, recovery_state=RECOVERING).error_code == ErrorCode.NONE
    recovered = cluster.propose(2, 1)
    assert (recovered.error_code, recovered.leader_recovery_state) == (0, RECOVERED)
    assert cluster.partition().recovery_state == RECOVERED
    assert cluster.propose(2, recovery_state=RECOVERING).error_code == ErrorCode.INVALID_REQUEST


def test_a_reassignment_is_completed_by_the_isr_change_that_has_all_new_replicas() -> None:
    cluster = three_replicas()
    assert cluster.reassign([1, 2, 4]) == [0]
    before = cluster.partition()
    assert (before.replicas, before.adding, before.removing) == ((1, 2, 4, 3), (4,), (3,))
    answer = cluster.propose(1, 2, 3, 4)
    assert (answer.error_code, answer.leader_id, answer.isr) == (0, 1, [1, 2, 4])
    assert answer.leader_epoch == before.leader_epoch + 1
    after = cluster.partition()
    assert (after.replicas, after.isr, after.adding, after.removing) == ((1, 2, 4), (1, 2, 4), (), ())


def test_a_leader_that_is_reassigned_away_learns_that_there_is_another() -> None:
    cluster = three_replicas()
    assert cluster.reassign([2, 3, 4]) == [0]
    assert cluster.propose(1, 2, 3, 4).error_code == ErrorCode.NEW_LEADER_ELECTED
    after = cluster.partition()
    assert (after.replicas, after.leader, sorted(after.isr)) == ((2, 3, 4), 2, [2, 3, 4])
    assert after.leader_epoch == 1
