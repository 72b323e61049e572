"""ShareGroupStatePartitionMetadata (type 15) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class ShareGroupStatePartitionMetadataKey(Message, kind="coordinator-key", api_key=15, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")


class TopicPartitionsInfo(Struct):
    topic_id: Uuid = field(UUID, "0+")
    topic_name: str = field(STRING, "0+")
    partitions: list[int] = field(array(INT32), "0+")


class TopicInfo(Struct):
    topic_id: Uuid = field(UUID, "0+")
    topic_name: str = field(STRING, "0+")


class ShareGroupStatePartitionMetadataValue(Message, kind="coordinator-value", api_key=15, versions="0", flexible="0+"):
    initializing_topics: list[TopicPartitionsInfo] = field(array(TopicPartitionsInfo), "0+")
    initialized_topics: list[TopicPartitionsInfo] = field(array(TopicPartitionsInfo), "0+")
    deleting_topics: list[TopicInfo] = field(array(TopicInfo), "0+")
