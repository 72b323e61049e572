"""ConsumerGroupPartitionMetadata (type 4) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class ConsumerGroupPartitionMetadataKey(Message, kind="coordinator-key", api_key=4, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")


class PartitionMetadata(Struct):
    partition: int = field(INT32, "0+")
    racks: list[str] = field(array(STRING), "0+")


class TopicMetadata(Struct):
    topic_id: Uuid = field(UUID, "0+")
    topic_name: str = field(STRING, "0+")
    num_partitions: int = field(INT32, "0+")
    partition_metadata: list[PartitionMetadata] = field(array(PartitionMetadata), "0+")


class ConsumerGroupPartitionMetadataValue(Message, kind="coordinator-value", api_key=4, versions="0", flexible="0+"):
    topics: list[TopicMetadata] = field(array(TopicMetadata), "0+")
