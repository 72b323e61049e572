"""Coordinators follow the leadership of their partitions: the next leader replays what the one before committed."""

from __future__ import annotations

from odradek.broker.coordinator.replicated_log import ReplicatedLogs
from odradek.broker.groups.options import GROUP_METADATA_TOPIC, GroupOptions
from odradek.broker.groups.service import GroupCoordinator
from odradek.broker.replication.partition import Partition
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.service import TransactionCoordinator
from odradek.broker.transactions.shard import Outcome
from odradek.metadata.topic_names import TRANSACTION_STATE_TOPIC
from odradek.ports import Promise
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from odradek.wire.messages.offset_fetch import OffsetFetchRequestGroup
from tests.unit.broker.replication.cluster import Cluster, SimNode
from tests.unit.broker.scene import NoBrokers

GROUPS = TopicPartition(GROUP_METADATA_TOPIC, 0)
TRANSACTIONS = TopicPartition(TRANSACTION_STATE_TOPIC, 0)


class Coordinators:
    """Those of one broker."""

    def __init__(self, cluster: Cluster, node: SimNode, first_producer_id: int) -> None:
        world, replicas = cluster.world, node.replicas
        logs = ReplicatedLogs(replicas, world)
        self._next_producer_id = first_producer_id
        self.groups = GroupCoordinator(
            writer=logs, options=GroupOptions(topic_partitions=1), clock=world, scheduler=node.life, random=world
        )
        self.transactions = TransactionCoordinator(
            writer=logs,
            brokers=NoBrokers(),
            new_producer_id=self._new_producer_id,
            image=lambda: replicas.image,
            options=TransactionOptions(topic_partitions=1),
            clock=world,
            scheduler=node.life,
        )
        replicas.on_leadership(self._gained, self._lost)

    def _new_producer_id(self) -> Promise[int]:
        self._next_producer_id += 1
        return Promise.of(self._next_producer_id)

    def _gained(self, partition: Partition) -> None:
        if partition.topic_partition == GROUPS:
            self.groups.elected(0, partition.leader_epoch)
        elif partition.topic_partition == TRANSACTIONS:
            self.transactions.elected(0, partition.leader_epoch)

    def _lost(self, partition: Partition) -> None:
        if partition.topic_partition == GROUPS:
            self.groups.resigned(0, partition.leader_epoch)
        elif partition.topic_partition == TRANSACTIONS:
            self.transactions.resigned(0, partition.leader_epoch)


class Scene:
    """Three brokers with both internal topics on each."""

    def __init__(self) -> None:
        self.cluster = Cluster(3)
        self.coordinators = {node.id: Coordinators(self.cluster, node, 1_000 * node.id) for node in self.cluster.nodes}
        self.cluster.controller.create_topic("t", [1, 2, 3])
        self.cluster.controller.create_topic(GROUP_METADATA_TOPIC, [1, 2, 3])
        self.cluster.controller.create_topic(TRANSACTION_STATE_TOPIC, [1, 2, 3])
        self.cluster.settle(200)

    def move(self, leader: int) -> None:
        for name in (GROUPS, TRANSACTIONS):
            assert self.cluster.controller.move_leader(name, leader)
        self.cluster.settle(1_000)

    def commit(self, node: int, offset: int) -> ErrorCode:
        partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset)
        request = OffsetCommitRequest(
            group_id="g", generation_id_or_member_epoch=-1,
            topics=[OffsetCommitRequestTopic(name="t", partitions=[partition])],
        )  # fmt: skip
        outcome = self.coordinators[node].groups.commit_offsets(request, 9)
        self.cluster.settle(200)
        return ErrorCode(outcome.result().topics[0].partitions[0].error_code)

    def committed(self, node: int) -> tuple[ErrorCode, int | None]:
        outcome = self.coordinators[node].groups.fetch_offsets(
            OffsetFetchRequestGroup(group_id="g", topics=None), require_stable=False
        )
        self.cluster.settle(200)
        group = outcome.result()
        offsets = [partition.committed_offset for topic in group.topics for partition in topic.partitions]
        return ErrorCode(group.error_code), offsets[0] if offsets else None

    def init(self, node: int) -> Outcome | ErrorCode:
        outcome = self.coordinators[node].transactions.init_producer_id("x", 60_000, None)
        self.cluster.settle(200)
        if isinstance(outcome.error, KafkaError):
            return outcome.error.code
        return outcome.result()


def test_committed_offsets_are_served_by_whoever_leads() -> None:
    scene = Scene()
    assert scene.commit(1, 5) is ErrorCode.NONE
    scene.move(2)
    assert scene.committed(2) == (ErrorCode.NONE, 5)
    assert scene.committed(1)[0] is ErrorCode.NOT_COORDINATOR
    assert scene.commit(2, 9) is ErrorCode.NONE
    scene.move(1)
    assert scene.committed(1) == (ErrorCode.NONE, 9)
    scene.move(3)
    assert scene.committed(3) == (ErrorCode.NONE, 9)


def test_a_commit_that_is_not_replicated_fails_and_is_not_served_later() -> None:
    scene = Scene()
    assert scene.commit(1, 5) is ErrorCode.NONE
    for node in (2, 3):
        scene.cluster.network.cut_off(1, node)
    request = OffsetCommitRequest(
        group_id="g", generation_id_or_member_epoch=-1,
        topics=[
            OffsetCommitRequestTopic(
                name="t", partitions=[OffsetCommitRequestPartition(partition_index=0, committed_offset=9)]
            )
        ],
    )  # fmt: skip
    lost = scene.coordinators[1].groups.commit_offsets(request, 9)
    scene.cluster.settle(100)
    assert not lost.done
    scene.move(2)
    assert lost.result().topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR
    scene.cluster.network.heal()
    scene.cluster.settle(2_000)
    scene.move(1)
    assert scene.committed(1) == (ErrorCode.NONE, 5)


def test_a_transactional_id_keeps_its_producer_id_and_goes_on_with_its_epoch() -> None:
    scene = Scene()
    first = scene.init(1)
    assert isinstance(first, Outcome)
    scene.move(2)
    assert scene.init(1) is ErrorCode.NOT_COORDINATOR
    second = scene.init(2)
    assert isinstance(second, Outcome)
    assert second.producer.producer_id == first.producer.producer_id
    assert second.producer.producer_epoch == first.producer.producer_epoch + 1
