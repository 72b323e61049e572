"""Looking at topics and transactions from within the nodes: what `Host.call` runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from odradek.broker.replication.partition import Isolation, Partition
from odradek.broker.transactions.metadata import TransactionMetadata
from odradek.config import TOPIC, format_value
from odradek.config.resources import TopicConfig
from odradek.config.types import ResourceType
from odradek.metadata.image import PartitionImage, TopicImage
from odradek.metadata.topic_names import TRANSACTION_STATE_TOPIC, is_internal
from odradek.node.broker_part import BrokerPart
from odradek.storage.topic_partition import TopicPartition
from odradek.testing.cluster import Cluster, result_of
from odradek.testing.records import StoredPartition
from odradek.testing.states import PartitionInfo, TopicInfo, TransactionInfo
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import iter_batches
from odradek.wire.uuids import uuid_to_string

T = TypeVar("T")

READ_BYTES = 16 * 1024 * 1024
"""How much of a log is read at a time."""
LOADS_LOOKS = 50
"""How often a coordinator is asked again that is reading its log, or has just moved."""


async def topics(cluster: Cluster) -> dict[str, int]:
    """The numbers of partitions by topic, of topics that are not internal."""
    names = cluster.image().topics.by_name
    return {name: len(topic.partitions) for name, topic in sorted(names.items()) if not is_internal(name)}


async def find_topic(cluster: Cluster, name: str) -> TopicInfo | None:
    """The topic, if there is one."""
    image = cluster.image()
    topic = image.topics.by_name.get(name)
    if topic is None:
        return None
    broker = next(iter(cluster.nodes.values())).node.broker
    config = TopicConfig.stored(broker.config, image.configs.properties(ResourceType.TOPIC, name))
    return TopicInfo(
        name,
        uuid_to_string(topic.id),
        [_partition_info(cluster, name, index, each) for index, each in sorted(topic.partitions.items())],
        {key: format_value(config.value(key)) for key in TOPIC},
    )


async def stored_partitions(
    cluster: Cluster, name: str, partition: int | None, isolation: Isolation
) -> list[StoredPartition]:
    """What readers of an isolation level may read of a topic's partitions, or of one.

    Raises KafkaError UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, and those of `Log.read`.
    """
    return [_stored(each, isolation) for each in _leading_all(cluster, name, partition)]


async def readable_offsets(cluster: Cluster, name: str, partition: int | None, isolation: Isolation) -> int:
    """How many offsets `stored_partitions` would read: some of them may have no records. Raises the same."""
    partitions = _leading_all(cluster, name, partition)
    return sum(each.readable_end(isolation) - each.leader_log().log_start_offset for each in partitions)


def _leading_all(cluster: Cluster, name: str, partition: int | None) -> list[Partition]:
    """A topic's partitions, or one of them, at their leaders."""
    topic = existing_topic(cluster, name)
    if partition is not None and partition not in topic.partitions:
        count = len(topic.partitions)
        raise KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"topic {name} has no partition {partition}, but {count} partitions"
        )
    wanted = sorted(topic.partitions) if partition is None else [partition]
    return [leading(cluster, name, index, topic.partitions[index]) for index in wanted]


def existing_topic(cluster: Cluster, name: str) -> TopicImage:
    """The topic; raises KafkaError UNKNOWN_TOPIC_OR_PARTITION."""
    topic = cluster.image().topics.by_name.get(name)
    if topic is None:
        there = ", ".join(sorted(cluster.image().topics.by_name)) or "none"
        raise KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}; those that there are: {there}"
        )
    return topic


def leading(cluster: Cluster, topic: str, index: int, image: PartitionImage) -> Partition:
    """The partition at its leader; raises KafkaError LEADER_NOT_AVAILABLE."""
    broker = broker_of(cluster, image.leader)
    name = TopicPartition(topic, index)
    partition = None if broker is None else broker.replicas.partitions.get(name)
    if partition is None or not partition.is_leader or partition.log is None:
        raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"no node leads partition {index} of topic {topic}")
    return partition


def broker_of(cluster: Cluster, node_id: int) -> BrokerPart | None:
    """The broker of a node that runs."""
    node = cluster.nodes.get(node_id)
    return None if node is None else node.node.broker


async def transactions(cluster: Cluster) -> list[TransactionInfo]:
    """All transactional ids, in their order."""
    found: list[TransactionInfo] = []
    for node in cluster.nodes.values():
        coordinator = node.node.broker.transactions
        known = await when_loaded(cluster, lambda: result_of(coordinator.list_all()))  # noqa: B023 - at once
        found += map(_transaction_info, known)
    return sorted(found, key=lambda each: each.transactional_id)


async def find_transaction(cluster: Cluster, transactional_id: str) -> TransactionInfo | None:
    """The transactional id, if there is one."""

    async def look() -> TransactionMetadata | None:
        broker = coordinating(
            cluster, TRANSACTION_STATE_TOPIC, lambda each: each.transactions.partition_for(transactional_id)
        )
        return None if broker is None else await result_of(broker.transactions.describe(transactional_id))

    metadata = await when_loaded(cluster, look)
    return None if metadata is None else _transaction_info(metadata)


def coordinating(cluster: Cluster, topic: str, partition_for: Callable[[BrokerPart], int]) -> BrokerPart | None:
    """The broker that leads a partition of an internal topic; None while there is no such topic.

    Raises KafkaError NOT_COORDINATOR while no node leads it.
    """
    image = cluster.image().topics.by_name.get(topic)
    if image is None:
        return None
    partition = image.partitions[partition_for(next(iter(cluster.nodes.values())).node.broker)]
    broker = broker_of(cluster, partition.leader)
    if broker is None:
        raise KafkaError(ErrorCode.NOT_COORDINATOR)
    return broker


async def when_loaded(cluster: Cluster, look: Callable[[], Awaitable[T]]) -> T:
    """What `look` comes to once coordinators have read their logs, which takes them some turns of the loop.

    Raises the KafkaError that says what keeps them from it, if that does not end.
    """
    looks = LOADS_LOOKS
    while True:
        try:
            return await look()
        except KafkaError as error:
            looks -= 1
            if error.code not in _LATER or not looks:
                raise
        await cluster.watch.next(cluster.watch.happened, 1)


_LATER = (
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
)


def _partition_info(cluster: Cluster, topic: str, index: int, image: PartitionImage) -> PartitionInfo:
    leader = image.leader if image.leader >= 0 else None
    known = index, leader, image.leader_epoch, tuple(image.replicas), tuple(image.isr)
    try:
        log = leading(cluster, topic, index, image).leader_log()
    except KafkaError:
        return PartitionInfo(*known)
    return PartitionInfo(
        *known, log.log_start_offset, log.high_watermark, log.last_stable_offset, log.log_end_offset, log.size_bytes
    )


def _stored(partition: Partition, isolation: Isolation) -> StoredPartition:
    log = partition.leader_log()
    start, end = log.log_start_offset, partition.readable_end(isolation)
    parts: list[bytes] = []
    offset = start
    while offset < end:
        part = log.read(offset, max_bytes=READ_BYTES, max_offset=end, min_one_message=True)
        records = part.records
        data = records
        if not isinstance(records, bytes):
            data = records.read(0, records.size)
            records.release()
        assert isinstance(data, bytes)
        last = None
        for position, header in iter_batches(data):
            last = position + header.size_bytes, header.next_offset
        if last is None:
            break
        parts.append(data[: last[0]])
        offset = last[1]
    aborted: Iterable[tuple[int, int]] = ()
    if isolation is Isolation.READ_COMMITTED:
        found = log.aborted_transactions(start, end) if end > start else []
        aborted = sorted(((each.producer_id, each.first_offset) for each in found), key=lambda each: each[1])
    return StoredPartition(partition.topic_partition.partition, start, b"".join(parts), list(aborted))


def _transaction_info(metadata: TransactionMetadata) -> TransactionInfo:
    partitions: dict[str, list[int]] = {}
    for name in metadata.partitions:
        partitions.setdefault(name.topic, []).append(name.partition)
    return TransactionInfo(
        metadata.transactional_id,
        metadata.state.label,
        metadata.producer_id,
        metadata.producer_epoch,
        metadata.timeout_ms,
        metadata.start_ms,
        {topic: tuple(sorted(indexes)) for topic, indexes in sorted(partitions.items())},
    )
