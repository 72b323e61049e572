"""DescribeProducers (KIP-664): any replica can tell what it has copied."""

from __future__ import annotations

from odradek.broker.api.producers import ProducersApi
from odradek.server.handlers import call
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    TopicRequest,
)
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from tests.unit.broker.scene import Scene, batch_of, settled

OTHER = 2


def described(scene: Scene, topic: str) -> PartitionResponse:
    (handler,) = ProducersApi(scene.replicas).handlers()
    request = DescribeProducersRequest(topics=[TopicRequest(name=topic, partition_indexes=[0])])
    response = settled(call(handler, scene.context(handler, 0), request))
    assert isinstance(response, DescribeProducersResponse)
    (partition,) = response.topics[0].partitions
    return partition


def test_a_follower_describes_producers() -> None:
    scene = Scene()
    topic_id = scene.create_topic("t", replicas=[1, OTHER])
    partition = scene.replicas.partition(TopicPartition("t", 0))
    batch = batch_of(b"a", producer_id=7, producer_epoch=3, base_sequence=0, timestamp_ms=scene.world.now_ms())
    scene.replicas.append(partition, memoryview(bytearray(batch)), all_replicas=False)
    scene.apply(PartitionChangeRecord(topic_id=topic_id, partition_id=0, leader=OTHER))
    assert not partition.is_leader
    found = described(scene, "t")
    assert found.error_code == ErrorCode.NONE
    assert [(each.producer_id, each.producer_epoch, each.last_sequence) for each in found.active_producers] == [
        (7, 3, 0)
    ]


def test_a_broker_without_a_replica_does_not() -> None:
    scene = Scene()
    scene.create_topic("t", leader=OTHER, replicas=[OTHER, 3])
    assert described(scene, "t").error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert described(scene, "missing").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
