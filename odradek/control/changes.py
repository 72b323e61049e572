"""What is done to topics without a client: what `Host.call` runs. It goes the ways of a client's requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from odradek.broker.replication.partition import Partition
from odradek.node.broker_part import BrokerPart
from odradek.storage.topic_partition import TopicPartition
from odradek.testing.cluster import Cluster, result_of
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.partitioning import partition_of
from odradek.wire.records.batch import BatchBuilder
from odradek.wire.schema import Message

R = TypeVar("R", bound=Message)

TIMEOUT_MS = 10_000
_LOOK_S = 0.005
_LOOKS = 2_000
_ALL = -1


class NewRecord(NamedTuple):
    """A record to be written."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    partition: int | None
    """None: by the key, as Java's clients choose; without a key the partition with the fewest records."""
    timestamp_ms: int | None
    """None: the nodes' time."""


class Written(NamedTuple):
    """Where a record went."""

    partition: int
    offset: int


async def create_topic(
    cluster: Cluster, name: str, partitions: int, replication_factor: int, config: Mapping[str, str]
) -> None:
    """Create a topic; returns when all nodes know it. -1 is the nodes' default. Raises KafkaError."""
    topic = CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        configs=[CreatableTopicConfig(name=key, value=value) for key, value in config.items()],
    )
    response = await _ask_controller(cluster, CreateTopicsRequest(topics=[topic]), CreateTopicsResponse)
    _check(response.topics[0].error_code, response.topics[0].error_message)
    await cluster.settle()


async def delete_topic(cluster: Cluster, name: str) -> None:
    """Delete a topic; returns when all nodes know that. Raises KafkaError."""
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=TIMEOUT_MS)
    response = await _ask_controller(cluster, request, DeleteTopicsResponse)
    _check(response.responses[0].error_code, response.responses[0].error_message)
    await cluster.settle()


async def append(cluster: Cluster, topic: str, records: Sequence[NewRecord]) -> list[Written]:
    """Write records as a producer with acks=all; returns where each of them went. Raises KafkaError."""
    leaders = await _leaders(cluster, topic)
    batches: dict[int, BatchBuilder] = {}
    ends = {index: partition.leader_log().log_end_offset for index, (_broker, partition) in leaders.items()}
    places = []
    for each in records:
        index = _choose(topic, each, ends)
        ends[index] += 1
        builder = batches.setdefault(index, BatchBuilder())
        timestamp_ms = cluster.time.clients.now_ms() if each.timestamp_ms is None else each.timestamp_ms
        places.append((index, builder.record_count))
        builder.append(timestamp_ms, each.key, each.value, each.headers)
    bases = {index: await _write(leaders[index], topic, index, builder) for index, builder in sorted(batches.items())}
    return [Written(index, bases[index] + number) for index, number in places]


async def _leaders(cluster: Cluster, topic: str) -> dict[int, tuple[BrokerPart, Partition]]:
    """Who leads each partition, once all have a leader that knows it; raises KafkaError."""
    for _ in range(_LOOKS):
        image = cluster.image().topics.by_name.get(topic)
        if image is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {topic}; create it first")
        found = {}
        for index, each in sorted(image.partitions.items()):
            node = cluster.nodes.get(each.leader)
            partition = None if node is None else node.node.broker.replicas.partitions.get(TopicPartition(topic, index))
            if node is not None and partition is not None and partition.is_leader and partition.log is not None:
                found[index] = node.node.broker, partition
        if len(found) == len(image.partitions):
            return found
        await asyncio.sleep(_LOOK_S)
    raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"there are partitions of {topic} that no node leads")


def _choose(topic: str, new: NewRecord, ends: Mapping[int, int]) -> int:
    if new.partition is not None:
        if new.partition not in ends:
            raise KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"topic {topic} has no partition {new.partition}, but {len(ends)} partitions",
            )
        return new.partition
    if new.key is not None:
        return partition_of(new.key, len(ends))
    return min(ends, key=lambda index: (ends[index], index))


async def _write(leader: tuple[BrokerPart, Partition], topic: str, index: int, builder: BatchBuilder) -> int:
    """Returns the first record's offset."""
    broker, partition = leader
    # The log writes into the batch.
    data = PartitionProduceData(index=index, records=memoryview(bytearray(builder.build())))
    request = ProduceRequest(
        acks=_ALL,
        timeout_ms=TIMEOUT_MS,
        topic_data=[TopicProduceData(name=topic, topic_id=partition.topic_id, partition_data=[data])],
    )
    response = await result_of(broker.in_process.send(request, ProduceResponse))
    answer = response.responses[0].partition_responses[0]
    _check(answer.error_code, answer.error_message)
    return answer.base_offset


async def _ask_controller(cluster: Cluster, request: Message, response: type[R]) -> R:
    if not cluster.nodes:
        raise RuntimeError("no nodes run")
    node = next(iter(cluster.nodes.values()))
    return await result_of(node.node.active_controller.send(request, response))


def _check(code: int, message: str | None) -> None:
    if code:
        raise KafkaError(ErrorCode(code), message)
