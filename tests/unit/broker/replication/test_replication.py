"""Leaders and followers of one partition, each on its own broker."""

from __future__ import annotations

from typing import cast

import pytest

from odradek.broker.api.produce import ProduceApi
from odradek.broker.replication.admission import Admission
from odradek.broker.replication.partition import Isolation
from odradek.broker.replication.replica_selector import ReadingClient
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.verification import TransactionVerifier
from odradek.ports import Promise
from odradek.security.acl import AllowAll, Operation, ResourceType
from odradek.security.principal import Principal
from odradek.server.handlers import erase
from odradek.storage.log_config import LogConfig
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
    ReplicaState,
)
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from odradek.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
from odradek.wire.schema import Message
from tests.unit.broker.replication.cluster import OPTIONS, Cluster, SimNode
from tests.unit.broker.scene import NoBrokers, batch_of

T0 = TopicPartition("t", 0)


class ClientsOnly(AllowAll):
    """Nobody acts for the cluster."""

    def allows(self, principal: Principal, host: str, operation: Operation, kind: ResourceType, name: str) -> bool:
        return kind is not ResourceType.CLUSTER


LAG_MS = OPTIONS.lag_time_max_ms
DELETED_MS = 120_000
"""After so long the files of a topic that is gone are, too."""


def replicated(
    *replicas: int, size: int = 3, min_isr: int = 1, racks: tuple[str | None, ...] = (), selects: bool = False
) -> Cluster:
    """A partition on these brokers, the first of which leads."""
    cluster = Cluster(
        size,
        options=OPTIONS._replace(selects_by_rack=selects),
        log_config=LogConfig(min_insync_replicas=min_isr),
        racks=racks,
    )
    cluster.controller.create_topic("t", replicas or (1, 2, 3))
    cluster.settle()
    return cluster


def code_of(outcome: Promise[int]) -> ErrorCode | None:
    if outcome.error is None:
        return ErrorCode.NONE if outcome.done else None
    assert isinstance(outcome.error, KafkaError)
    return outcome.error.code


def answer(cluster: Cluster, node: SimNode, request: Message, version: int) -> Message:
    promise = node.answer(request, version)
    cluster.settle(1_000)
    result = promise.result()
    assert result is not None
    return result


def fetch(
    cluster: Cluster,
    node: int,
    offset: int,
    *,
    version: int = 17,
    rack: str = "",
    epoch: int = -1,
    replica: tuple[int, int] | None = None,
    last_fetched_epoch: int = -1,
) -> PartitionData:
    """What one node answers for the partition, without a session and without waiting."""
    topic_id = cluster.controller.image.topics.by_name["t"].id
    asked = FetchPartition(
        partition=0, fetch_offset=offset, partition_max_bytes=1 << 20, current_leader_epoch=epoch,
        last_fetched_epoch=last_fetched_epoch,
    )  # fmt: skip
    request = FetchRequest(
        session_epoch=-1, rack_id=rack, topics=[FetchTopic(topic="t", topic_id=topic_id, partitions=[asked])]
    )
    if replica is not None:
        request.replica_state = ReplicaState(replica_id=replica[0], replica_epoch=replica[1])
    response = cast("FetchResponse", answer(cluster, cluster.node(node), request, version))
    return response.responses[0].partitions[0]


def size_of(part: PartitionData) -> int:
    records = part.records
    assert records is not None
    return len(records) if isinstance(records, bytes | bytearray | memoryview) else records.size


def list_offset(
    cluster: Cluster, node: int, timestamp: int = -1, *, replica_id: int = -1, version: int = 9
) -> ListOffsetsPartitionResponse:
    asked = ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    request = ListOffsetsRequest(replica_id=replica_id, topics=[ListOffsetsTopic(name="t", partitions=[asked])])
    response = cast("ListOffsetsResponse", answer(cluster, cluster.node(node), request, version))
    return response.topics[0].partitions[0]


def epoch_end(cluster: Cluster, node: int, epoch: int, replica_id: int) -> EpochEndOffset:
    asked = OffsetForLeaderPartition(partition=0, leader_epoch=epoch)
    request = OffsetForLeaderEpochRequest(
        replica_id=replica_id, topics=[OffsetForLeaderTopic(topic="t", partitions=[asked])]
    )
    response = cast("OffsetForLeaderEpochResponse", answer(cluster, cluster.node(node), request, 4))
    return response.topics[0].partitions[0]


def serve_produce(cluster: Cluster, node: SimNode) -> None:
    """Let a node answer Produce."""
    verifier = TransactionVerifier(
        node.replicas, NoBrokers(), lambda _id: 0, lambda: True, cluster.world, TransactionOptions()
    )
    api = erase(ProduceApi(node.replicas, Admission(cluster.world, check_every_record=False), verifier).handler())
    node.handlers[api.api_key] = api


def test_a_record_is_acknowledged_once_all_in_sync_replicas_have_it() -> None:
    cluster = replicated()
    cluster.network.delay_ms = (10.0, 10.0)
    outcome = cluster.node(1).produce(T0, b"a")
    cluster.settle(15)
    assert cluster.node(1).log(T0).high_watermark == 0
    assert code_of(outcome) is None
    cluster.settle(100)
    assert code_of(outcome) is ErrorCode.NONE
    assert [cluster.node(node).log(T0).log_end_offset for node in (1, 2, 3)] == [1, 1, 1]


def test_followers_hear_of_the_high_watermark_by_the_end_of_their_next_fetch() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(OPTIONS.fetch_wait_max_ms + 100)
    assert [cluster.node(node).log(T0).high_watermark for node in (1, 2, 3)] == [1, 1, 1]
    assert [size_of(fetch(cluster, node, 0)) > 0 for node in (1, 2, 3)] == [True] * 3


def test_a_follower_that_lags_leaves_the_isr_and_comes_back() -> None:
    cluster = replicated()
    cluster.network.cut_off(1, 3)
    outcome = cluster.node(1).produce(T0, b"a", timeout_ms=60_000)
    cluster.settle(LAG_MS / 2)
    assert cluster.controller.partition(T0).isr == (1, 2, 3)
    assert code_of(outcome) is None
    cluster.settle(2 * LAG_MS)
    assert cluster.controller.partition(T0).isr == (1, 2)
    assert code_of(outcome) is ErrorCode.NONE
    cluster.network.heal()
    cluster.settle(2_000)
    assert cluster.controller.partition(T0).isr == (1, 2, 3)
    assert cluster.node(1).partition(T0).isr == (1, 2, 3)
    assert cluster.node(3).stored(T0) == cluster.node(1).stored(T0)


def test_an_idle_follower_stays_in_sync() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(10 * LAG_MS)
    assert cluster.controller.partition(T0).isr == (1, 2, 3)


def test_too_few_in_sync_replicas_take_no_record_for_all() -> None:
    cluster = replicated(min_isr=2)
    for node in (2, 3):
        cluster.node(node).crash()
        cluster.controller.fence(node)
    cluster.settle()
    assert code_of(cluster.node(1).produce(T0, b"a")) is ErrorCode.NOT_ENOUGH_REPLICAS
    assert code_of(cluster.node(1).produce(T0, b"b", acks_all=False)) is ErrorCode.NONE
    cluster.settle(1_000)
    assert cluster.node(1).log(T0).high_watermark == 0
    cluster.node(2).start()
    cluster.settle(3_000)
    assert cluster.node(1).log(T0).high_watermark == 1


def test_a_record_that_is_replicated_when_too_few_are_left_is_told_so() -> None:
    cluster = replicated(min_isr=2)
    cluster.network.cut_off(1, 3)
    outcome = cluster.node(1).produce(T0, b"a", timeout_ms=60_000)
    cluster.settle()
    assert cluster.node(2).log(T0).log_end_offset == 1
    # The ISR shrinks below the minimum while its members have the record.
    partition = cluster.node(1).partition(T0)
    assert partition.leadership is not None
    partition.log.update_high_watermark(1)  # type: ignore[union-attr] # it has one
    partition.leadership.accepted([1])
    cluster.node(1).replicas.waiting.moved(T0)
    cluster.settle(0)
    assert code_of(outcome) is ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND


def test_what_was_not_replicated_is_cut_off_when_another_leads() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle()
    for node in (2, 3):
        cluster.network.cut_off(1, node)
    lost = cluster.node(1).produce(T0, b"lost", timeout_ms=60_000)
    assert cluster.controller.move_leader(T0, 2)
    cluster.settle()
    assert code_of(lost) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    cluster.node(2).produce(T0, b"b", b"c")
    cluster.network.heal()
    cluster.settle(2_000)
    assert cluster.node(1).stored(T0) == cluster.node(2).stored(T0) == cluster.node(3).stored(T0)
    assert [record.value for record in cluster.node(1).stored(T0).values()] == [b"a", b"b", b"c"]
    assert cluster.node(1).log(T0).high_watermark == 3


def test_whoever_had_to_cut_its_log_hears_of_the_high_watermark_though_it_does_not_move() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(1_000)
    for node in (2, 3):
        cluster.network.cut_off(1, node)
    cluster.node(1).produce(T0, b"lost", timeout_ms=100)
    cluster.controller.move_leader(T0, 2)
    cluster.settle(20)
    cluster.node(1).crash()
    # As after a start that found no checkpoint.
    cluster.node(1).files.write_atomically("/data/replication-offset-checkpoint", b"0\n0\n")
    cluster.network.heal()
    cluster.node(1).start()
    cluster.settle(3_000)
    assert (cluster.node(1).log(T0).log_end_offset, cluster.node(1).log(T0).high_watermark) == (1, 1)


def test_a_leader_that_comes_back_does_not_acknowledge_what_it_had_before() -> None:
    """At the same offset there is another record by now."""
    cluster = replicated()
    for node in (2, 3):
        cluster.network.cut_off(1, node)
    first = cluster.node(1).partition(T0).tenure
    cluster.node(1).produce(T0, b"lost", timeout_ms=60_000)
    cluster.controller.move_leader(T0, 2)
    cluster.settle()
    cluster.node(2).produce(T0, b"kept")
    cluster.network.heal()
    cluster.settle(2_000)
    cluster.controller.move_leader(T0, 1)
    cluster.settle(2_000)
    partition = cluster.node(1).partition(T0)
    assert partition.is_leader
    assert partition.has_committed(0, partition.tenure)
    with pytest.raises(KafkaError) as refusal:
        partition.has_committed(0, first)
    assert refusal.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_several_elections_without_a_common_record_are_sorted_out_by_epochs() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(1_000)
    for leader in (1, 2, 3):
        for other in (1, 2, 3):
            if other != leader:
                cluster.network.cut_off(leader, other)
        cluster.controller.move_leader(T0, leader)
        cluster.settle()
        cluster.node(leader).produce(T0, b"alone %d" % leader, b"on %d" % leader, timeout_ms=100)
        cluster.settle(200)
    cluster.network.heal()
    cluster.settle(2_000)
    contents = [cluster.node(node).stored(T0) for node in (1, 2, 3)]
    assert contents[0] == contents[1] == contents[2]
    assert [record.value for record in contents[0].values()] == [b"a", b"alone 3", b"on 3"]


def test_a_broker_that_was_away_catches_up() -> None:
    cluster = replicated()
    cluster.node(3).crash()
    cluster.controller.fence(3)
    for _ in range(20):
        cluster.node(1).produce(T0, b"v" * 1_000)
        cluster.settle(20)
    cluster.node(3).start()
    cluster.settle(2_000)
    assert cluster.node(3).stored(T0) == cluster.node(1).stored(T0)
    assert cluster.controller.partition(T0).isr == (1, 2, 3)


def test_a_follower_begins_anew_where_the_leader_begins() -> None:
    cluster = replicated()
    cluster.node(3).crash()
    cluster.controller.fence(3)
    for value in (b"a", b"b", b"c"):
        cluster.node(1).produce(T0, value)
        cluster.settle(600)
    cluster.node(1).log(T0).delete_records_before(2)
    cluster.node(3).start()
    cluster.settle(2_000)
    log = cluster.node(3).log(T0)
    assert (log.log_start_offset, log.log_end_offset, log.high_watermark) == (2, 3, 3)
    assert cluster.controller.partition(T0).isr == (1, 2, 3)


def test_a_log_that_begins_within_a_batch_is_copied_whole() -> None:
    cluster = replicated()
    cluster.node(3).crash()
    cluster.controller.fence(3)
    cluster.node(1).produce(T0, b"a", b"b", b"c")
    cluster.settle(600)
    cluster.node(1).log(T0).delete_records_before(1)
    cluster.node(3).start()
    cluster.settle(2_000)
    log = cluster.node(3).log(T0)
    assert (log.log_start_offset, log.log_end_offset) == (1, 3)


def test_deleted_records_are_deleted_by_followers_and_the_leader_hears_of_it() -> None:
    cluster = replicated()
    leader = cluster.node(1)
    for value in (b"a", b"b", b"c"):
        leader.produce(T0, value)
        cluster.settle(600)
    leader.log(T0).delete_records_before(2)
    assert leader.replicas.low_watermark(leader.partition(T0)) == 0
    cluster.settle(2 * OPTIONS.fetch_wait_max_ms + 100)
    assert [cluster.node(node).log(T0).log_start_offset for node in (1, 2, 3)] == [2, 2, 2]
    assert leader.replicas.low_watermark(leader.partition(T0)) == 2


def test_a_broker_that_is_gone_does_not_hold_back_the_deletion_of_records() -> None:
    cluster = replicated()
    leader = cluster.node(1)
    leader.produce(T0, b"a", b"b")
    cluster.settle(600)
    cluster.node(3).crash()
    cluster.controller.fence(3)
    leader.log(T0).delete_records_before(2)
    cluster.settle(2 * OPTIONS.fetch_wait_max_ms + 100)
    assert leader.replicas.low_watermark(leader.partition(T0)) == 2


def test_a_follower_that_is_ahead_of_an_unclean_leader_is_cut() -> None:
    """Without leader epochs in common, as where all of them are on one side, only the ends can be compared."""
    cluster = replicated()
    cluster.node(3).crash()
    cluster.controller.fence(3)
    cluster.node(1).produce(T0, b"a")
    cluster.settle(600)
    for node in (1, 2):
        cluster.node(node).crash()
    # An unclean election of node 3, which has nothing.
    cluster.controller.fence(2)
    cluster.controller.fence(1)
    cluster.node(3).start()
    topic_id = cluster.controller.image.topics.by_name["t"].id
    cluster.controller.append(PartitionChangeRecord(topic_id=topic_id, partition_id=0, isr=[3], leader=3))
    cluster.settle()
    cluster.node(1).start()
    cluster.settle(2_000)
    assert cluster.node(1).stored(T0) == {}
    assert 1 in cluster.controller.partition(T0).isr


def test_a_reassigned_replica_catches_up_joins_and_the_old_one_goes() -> None:
    cluster = replicated(1, 2, size=3)
    cluster.node(1).produce(T0, b"a", b"b")
    cluster.settle(600)
    cluster.controller.reassign(T0, [1, 3])
    cluster.settle(2_000)
    partition = cluster.controller.partition(T0)
    assert (partition.replicas, sorted(partition.isr), partition.is_reassigning) == ((1, 3), [1, 3], False)
    assert cluster.node(3).stored(T0) == cluster.node(1).stored(T0)
    assert T0 not in cluster.node(2).replicas.partitions
    assert cluster.node(2).logs.log(T0) is None


def test_a_leader_is_reassigned_away() -> None:
    cluster = replicated(1, 2, size=3)
    cluster.node(1).produce(T0, b"a")
    cluster.settle(600)
    cluster.controller.reassign(T0, [2, 3])
    cluster.settle(2_000)
    partition = cluster.controller.partition(T0)
    assert (partition.leader in (2, 3), sorted(partition.isr)) == (True, [2, 3])
    assert T0 not in cluster.node(1).replicas.partitions
    outcome = cluster.leader(T0).produce(T0, b"b")
    cluster.settle(2_000)
    assert outcome.result() == 1


def test_a_partition_with_one_replica_gets_more() -> None:
    cluster = replicated(1, size=3)
    assert cluster.node(1).partition(T0).is_alone
    cluster.node(1).produce(T0, b"a")
    cluster.controller.reassign(T0, [1, 2, 3])
    cluster.settle(2_000)
    assert sorted(cluster.controller.partition(T0).isr) == [1, 2, 3]
    assert not cluster.node(1).partition(T0).is_alone
    outcome = cluster.node(1).produce(T0, b"b")
    cluster.settle()
    assert outcome.result() == 1
    assert cluster.node(3).stored(T0) == cluster.node(1).stored(T0)


def test_a_fenced_broker_does_not_join_before_it_is_back() -> None:
    cluster = replicated()
    cluster.controller.fence(3)
    cluster.settle(3_000)
    assert cluster.controller.partition(T0).isr == (1, 2)
    cluster.controller.unfence(3)
    cluster.settle(2_000)
    assert cluster.controller.partition(T0).isr == (1, 2, 3)


def test_a_fetch_of_an_earlier_incarnation_is_refused_and_keeps_nobody_in_sync() -> None:
    """KIP-903: a broker that lost its log in a restart must not come back by what it had before."""
    cluster = replicated()
    leader = cluster.node(1)
    current = cluster.node(3).epoch
    assert fetch(cluster, 1, 0, replica=(3, current), epoch=0).error_code == ErrorCode.NONE
    assert fetch(cluster, 1, 0, replica=(3, current - 1), epoch=0).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    leadership = leader.partition(T0).leadership
    assert leadership is not None
    assert leadership.followers[3].broker_epoch == current


def test_whoever_is_no_replica_gets_nothing() -> None:
    cluster = replicated(1, 2, size=3)
    cluster.node(1).produce(T0, b"a")
    cluster.settle(600)
    for epoch, code in ((0, ErrorCode.UNKNOWN_LEADER_EPOCH), (-1, ErrorCode.NOT_LEADER_OR_FOLLOWER)):
        part = fetch(cluster, 1, 0, replica=(3, cluster.node(3).epoch), epoch=epoch)
        assert (part.error_code, size_of(part)) == (code, 0)
    part = fetch(cluster, 2, 0, replica=(1, cluster.node(1).epoch), epoch=0)
    assert (part.error_code, size_of(part)) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, 0)


def test_replicas_read_what_is_not_committed_and_consumers_do_not() -> None:
    cluster = replicated()
    for node in (2, 3):
        cluster.network.cut_off(1, node)
    cluster.node(1).produce(T0, b"a", timeout_ms=60_000)
    assert size_of(fetch(cluster, 1, 0)) == 0
    assert size_of(fetch(cluster, 1, 0, replica=(2, cluster.node(2).epoch), epoch=0)) > 0
    assert list_offset(cluster, 1).offset == 0
    assert list_offset(cluster, 1, replica_id=2).offset == 1


def test_a_fetch_before_the_leaders_start_is_out_of_range_whatever_its_epoch() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a", b"b")
    cluster.settle(1_000)
    for leader in (2, 1):
        cluster.controller.move_leader(T0, leader)
    cluster.settle(1_000)
    cluster.node(1).produce(T0, b"c")
    cluster.settle(1_000)
    replica = 2, cluster.node(2).epoch
    part = fetch(cluster, 1, 0, replica=replica, epoch=2, last_fetched_epoch=1)
    assert (part.error_code, part.diverging_epoch.epoch) == (ErrorCode.NONE, 0)
    cluster.node(1).log(T0).delete_records_before(1)
    part = fetch(cluster, 1, 0, replica=replica, epoch=2, last_fetched_epoch=1)
    assert (part.error_code, part.diverging_epoch.epoch) == (ErrorCode.OFFSET_OUT_OF_RANGE, -1)


def test_where_logs_part_is_told_to_replicas() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(600)
    cluster.controller.move_leader(T0, 2)
    cluster.settle(1_000)
    cluster.node(2).produce(T0, b"b")
    cluster.settle(1_000)
    part = fetch(cluster, 2, 5, replica=(3, cluster.node(3).epoch), epoch=1, last_fetched_epoch=0)
    assert (part.diverging_epoch.epoch, part.diverging_epoch.end_offset, size_of(part)) == (0, 1, 0)
    end = epoch_end(cluster, 2, 0, replica_id=3)
    assert (end.error_code, end.leader_epoch, end.end_offset) == (ErrorCode.NONE, 0, 1)
    assert epoch_end(cluster, 3, 0, replica_id=1).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_new_leader_does_not_tell_an_offset_before_one_that_was_told() -> None:
    """KIP-207: its high watermark may be behind that of the leader before."""
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(20)
    assert cluster.node(2).log(T0).high_watermark == 0
    for node in (1, 3):
        cluster.network.cut_off(2, node)
    cluster.controller.move_leader(T0, 2)
    cluster.settle(20)
    assert list_offset(cluster, 2).error_code == ErrorCode.OFFSET_NOT_AVAILABLE
    assert list_offset(cluster, 2, version=4).error_code == ErrorCode.LEADER_NOT_AVAILABLE
    assert list_offset(cluster, 2, -2).error_code == ErrorCode.NONE
    cluster.network.heal()
    cluster.settle(2_000)
    assert list_offset(cluster, 2).offset == 1


def test_consumers_may_read_from_followers_up_to_what_these_know_to_be_committed() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(2_000)
    cluster.network.cut_off(1, 3)
    cluster.node(1).produce(T0, b"b")
    cluster.settle(20)
    assert size_of(fetch(cluster, 2, 0)) > 0
    assert size_of(fetch(cluster, 3, 1)) == 0
    assert fetch(cluster, 3, 2).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert fetch(cluster, 2, 0, version=10).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert fetch(cluster, 2, 0, epoch=7).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_consumers_are_sent_to_an_in_sync_replica_in_their_rack() -> None:
    cluster = replicated(racks=("a", "b", "c"), selects=True)
    cluster.node(1).produce(T0, b"a")
    cluster.settle(1_000)
    part = fetch(cluster, 1, 0, rack="b")
    assert (part.preferred_read_replica, size_of(part), part.high_watermark) == (2, 0, 1)
    for rack in ("a", "d", ""):
        part = fetch(cluster, 1, 0, rack=rack)
        assert (part.preferred_read_replica, size_of(part) > 0) == (-1, True)
    assert fetch(cluster, 2, 0, rack="c").preferred_read_replica == -1
    cluster.network.cut_off(1, 2)
    cluster.node(1).produce(T0, b"b")
    cluster.settle(3 * LAG_MS)
    assert cluster.controller.partition(T0).isr == (1, 3)
    assert fetch(cluster, 1, 0, rack="b").preferred_read_replica == -1


def test_a_replica_that_has_not_got_there_yet_is_not_preferred() -> None:
    cluster = replicated(racks=("a", "b", "c"), selects=True)
    cluster.network.cut_off(1, 2)
    cluster.node(1).produce(T0, b"a", timeout_ms=60_000)
    cluster.settle(20)
    assert fetch(cluster, 1, 1, rack="b").preferred_read_replica == -1
    assert fetch(cluster, 1, 0, rack="b").preferred_read_replica == 2


def test_without_a_selector_nobody_is_sent_anywhere() -> None:
    cluster = replicated(racks=("a", "b", "c"))
    assert fetch(cluster, 1, 0, rack="b").preferred_read_replica == -1


def test_where_consumers_read_from_followers_these_hear_of_the_high_watermark_at_once() -> None:
    for selects, told in ((True, 1), (False, 0)):
        cluster = replicated(selects=selects)
        cluster.settle(100)
        cluster.node(1).produce(T0, b"a")
        cluster.settle(20)
        assert cluster.node(2).log(T0).high_watermark == told


def test_a_throttled_replica_is_copied_at_its_rate_and_one_in_sync_is_not_held_back() -> None:
    rate = 20_000
    cluster = replicated(1, 2, size=3)
    cluster.options = OPTIONS._replace(follower_bytes_per_second=rate, fetch_max_bytes=5_000)
    cluster.controller.set_topic_config("t", "follower.replication.throttled.replicas", "*")
    for _ in range(50):
        cluster.node(1).produce(T0, b"v" * 4_000)
        cluster.settle(20)
    assert cluster.node(2).log(T0).log_end_offset == 50
    cluster.controller.reassign(T0, [1, 2, 3])
    cluster.settle(2_000)
    assert 0 < cluster.node(3).log(T0).log_end_offset < 40
    cluster.settle(20_000)
    assert sorted(cluster.controller.partition(T0).isr) == [1, 2, 3]


def test_a_throttled_leader_gives_at_its_rate() -> None:
    rate = 20_000
    cluster = replicated(1, 2, size=3)
    cluster.options = OPTIONS._replace(leader_bytes_per_second=rate, fetch_max_bytes=5_000)
    cluster.controller.set_topic_config("t", "leader.replication.throttled.replicas", "0:1")
    for _ in range(50):
        cluster.node(1).produce(T0, b"v" * 4_000)
        cluster.settle(20)
    assert cluster.node(2).log(T0).log_end_offset == 50
    cluster.settle(20_000)
    cluster.controller.reassign(T0, [1, 2, 3])
    cluster.settle(2_000)
    assert 0 < cluster.node(3).log(T0).log_end_offset < 40
    cluster.settle(20_000)
    assert sorted(cluster.controller.partition(T0).isr) == [1, 2, 3]


def test_leadership_is_told_on_gain_and_loss() -> None:
    cluster = replicated()
    heard: list[tuple[int, str, int]] = []
    for node in cluster.nodes:
        node.replicas.on_leadership(
            lambda partition, node=node: heard.append((node.id, "gained", partition.leader_epoch)),  # type: ignore[misc] # its own
            lambda partition, node=node: heard.append((node.id, "lost", partition.leader_epoch)),  # type: ignore[misc] # its own
        )
    cluster.controller.move_leader(T0, 2)
    cluster.settle()
    assert sorted(heard) == [(1, "lost", 1), (2, "gained", 1)]


def test_a_broker_follows_the_last_of_many_changes() -> None:
    cluster = replicated()
    cluster.holds_metadata[3] = None
    cluster.node(1).produce(T0, b"a")
    for leader in (2, 1, 2):
        cluster.controller.move_leader(T0, leader)
        cluster.settle(500)
        cluster.leader(T0).produce(T0, b"on %d" % leader)
        cluster.settle(200)
    del cluster.holds_metadata[3]
    cluster.settle(3_000)
    assert cluster.node(3).stored(T0) == cluster.node(2).stored(T0)
    assert cluster.controller.partition(T0).isr == (1, 2, 3)


def test_a_directory_that_fails_stops_the_copying_of_its_replicas() -> None:
    cluster = replicated()
    node = cluster.node(3)
    node.logs.on_dir_failure = lambda _path: node.replicas.dir_failed()
    node.logs.fail_dir("/data", OSError("gone"))
    cluster.network.keeps_sent = True
    cluster.settle(3_000)
    assert [source for source, _target, request in cluster.network.sent if source == 3] == []


def test_before_it_is_registered_a_broker_copies_nothing() -> None:
    cluster = replicated()
    node = cluster.node(3)
    node.crash()
    cluster.network.keeps_sent = True
    node.start(registers=False)
    cluster.settle(2_000)
    assert 3 not in {source for source, _target, _request in cluster.network.sent}
    node.replicas.start_replication()
    cluster.settle(2_000)
    assert 3 in {source for source, _target, _request in cluster.network.sent}


def test_reading_isolation_is_of_the_log_that_is_here() -> None:
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(20)
    follower = cluster.node(2).partition(T0)
    assert (follower.readable_end(Isolation.LOG_END), follower.readable_end(Isolation.READ_UNCOMMITTED)) == (1, 0)


def test_a_fetch_that_waits_is_answered_when_leadership_ends() -> None:
    cluster = replicated()
    topic_id = cluster.controller.image.topics.by_name["t"].id
    asked = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20, current_leader_epoch=0)
    request = FetchRequest(
        session_epoch=-1, max_wait_ms=60_000, min_bytes=1,
        replica_state=ReplicaState(replica_id=2, replica_epoch=cluster.node(2).epoch),
        topics=[FetchTopic(topic_id=topic_id, partitions=[asked])],
    )  # fmt: skip
    waiting = cluster.node(1).answer(request, 17)
    cluster.settle(100)
    assert not waiting.done
    cluster.controller.move_leader(T0, 2)
    cluster.settle(100)
    response = cast("FetchResponse", waiting.result())
    assert response.responses[0].partitions[0].error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_a_fetch_that_waits_says_where_the_follower_was_when_it_came() -> None:
    cluster = replicated()
    cluster.settle(100)
    leadership = cluster.node(1).partition(T0).leadership
    assert leadership is not None
    follower = leadership.followers[2]
    came_ms = follower.last_fetch_ms
    cluster.network.cut_off(1, 2)
    cluster.settle(200)
    cluster.node(1).produce(T0, b"a", timeout_ms=60_000)
    cluster.settle(OPTIONS.fetch_wait_max_ms)
    assert (follower.last_fetch_ms, follower.last_fetch_leader_end_offset) == (came_ms, 0)


def test_a_lower_minimum_commits_what_is_replicated_already() -> None:
    cluster = replicated(min_isr=3)
    cluster.node(3).crash()
    cluster.controller.fence(3)
    cluster.settle(100)
    cluster.node(1).produce(T0, b"a", acks_all=False)
    cluster.settle(1_000)
    assert cluster.node(1).log(T0).high_watermark == 0
    cluster.log_config = LogConfig(min_insync_replicas=2)
    cluster.node(1).replicas.apply_topic_configs(["t"])
    assert cluster.node(1).log(T0).high_watermark == 1


def test_a_replica_is_preferred_only_where_the_consumer_can_reach_it_and_go_on() -> None:
    cluster = replicated(racks=("a", "b", "c"), selects=True)
    cluster.node(1).produce(T0, b"a")
    cluster.settle(1_000)
    replicas, partition = cluster.node(1).replicas, cluster.node(1).partition(T0)
    assert partition.leadership is not None
    assert replicas.preferred_read_replica(partition, ReadingClient("b", "PLAINTEXT"), 0) == 2
    assert replicas.preferred_read_replica(partition, ReadingClient("b", "OTHER"), 0) is None
    partition.leadership.followers[2].log_start_offset = 1
    assert replicas.preferred_read_replica(partition, ReadingClient("b", "PLAINTEXT"), 0) is None


def test_a_broker_that_leaves_does_not_come_back_into_the_isr() -> None:
    cluster = replicated()
    node = cluster.node(3)
    node.replicas.begin_controlled_shutdown()
    cluster.controller.fence(3)
    cluster.settle(1_000)
    cluster.network.keeps_sent = True
    cluster.settle(2_000)
    assert [request for source, _target, request in cluster.network.sent if source == 3] == []


def test_who_led_a_partition_that_is_gone_asks_for_nothing_any_more() -> None:
    cluster = replicated(1, 2, size=3)
    cluster.node(1).produce(T0, b"a")
    cluster.settle(1_000)
    cluster.controller.reassign(T0, [2, 3])
    cluster.settle(2_000)
    assert T0 not in cluster.node(1).replicas.partitions
    cluster.network.keeps_sent = True
    cluster.node(2).produce(T0, b"b")
    cluster.settle(5 * LAG_MS)
    assert [request for source, target, request in cluster.network.sent if (source, target) == (1, 0)] == []


def test_a_producer_is_not_told_of_a_record_that_another_leader_has_cut_off() -> None:
    cluster = replicated()
    node = cluster.node(1)
    serve_produce(cluster, node)
    for other in (2, 3):
        cluster.network.cut_off(1, other)
    data = PartitionProduceData(index=0, records=bytearray(batch_of(b"lost")))
    request = ProduceRequest(acks=-1, timeout_ms=60_000, topic_data=[TopicProduceData(name="t", partition_data=[data])])
    waiting = node.answer(request, 12)
    # Two elections, one behind the other, before whoever waits has had its turn.
    for leader in (2, 1):
        cluster.controller.move_leader(T0, leader)
        node.catch_up()
    node.log(T0).truncate_to(0)
    node.produce(T0, b"other", timeout_ms=60_000)
    cluster.network.heal()
    cluster.settle(2_000)
    assert node.log(T0).high_watermark == 1
    response = cast("ProduceResponse", waiting.result())
    (part,) = response.responses[0].partition_responses
    assert (part.error_code, part.base_offset) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)


def test_a_producer_whose_leader_is_deposed_is_told_who_leads() -> None:
    """KIP-951."""
    cluster = replicated()
    node = cluster.node(1)
    serve_produce(cluster, node)
    for other in (2, 3):
        cluster.network.cut_off(1, other)
    told = []
    for version, leader in ((10, 2), (9, 3)):
        data = PartitionProduceData(index=0, records=bytearray(batch_of(b"x")))
        request = ProduceRequest(
            acks=-1, timeout_ms=60_000, topic_data=[TopicProduceData(name="t", partition_data=[data])]
        )
        waiting = node.answer(request, version)
        cluster.controller.move_leader(T0, leader)
        cluster.settle(100)
        response = cast("ProduceResponse", waiting.result())
        (part,) = response.responses[0].partition_responses
        assert part.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        told.append((part.current_leader.leader_id, [(each.node_id, each.host) for each in response.node_endpoints]))
        cluster.controller.move_leader(T0, 1)
        cluster.settle(100)
    assert told == [(2, [(2, "node2")]), (-1, [])]


def test_whoever_may_not_act_for_the_cluster_is_no_follower() -> None:
    """CVE-2018-1288."""
    cluster = replicated()
    cluster.node(1).produce(T0, b"a")
    cluster.settle(1_000)
    cluster.node(1).authorizer = ClientsOnly()
    part = fetch(cluster, 1, 0, replica=(2, cluster.node(2).epoch), epoch=0)
    assert (part.error_code, size_of(part)) == (ErrorCode.TOPIC_AUTHORIZATION_FAILED, 0)
    assert size_of(fetch(cluster, 1, 0)) > 0


def test_a_leader_whose_topic_is_gone_looks_after_it_no_more() -> None:
    cluster = Cluster()
    cluster.settle(DELETED_MS)
    idle = cluster.world.waiting_timers
    topic_id = cluster.controller.create_topic("t", (1, 2))
    cluster.settle()
    assert cluster.world.waiting_timers > idle
    cluster.controller.append(RemoveTopicRecord(topic_id=topic_id))
    cluster.settle(DELETED_MS)
    assert cluster.world.waiting_timers == idle


@pytest.mark.parametrize("hears_late", [False, True])
def test_a_new_leader_commits_without_waiting_for_the_end_of_its_followers_fetches(hears_late: bool) -> None:
    cluster = replicated(1, 2, 3, min_isr=2)
    cluster.controller.create_topic("u", [2, 1, 3])
    cluster.settle(1_000)
    renewed = cluster.node(1).produce(T0, b"its followers fetch anew, and then wait")
    cluster.settle(20)
    assert renewed.done
    if hears_late:
        cluster.holds_metadata[3] = None
    name = TopicPartition("u", 0)
    assert cluster.controller.move_leader(name, 1)
    cluster.settle(5)
    outcome = cluster.node(1).produce(name, b"x")
    cluster.settle(25)
    assert outcome.done is not hears_late
    cluster.node(3).catch_up()
    cluster.settle(40)
    assert code_of(outcome) is ErrorCode.NONE
