"""RemotePartitionDeleteMetadataRecord (type 2) of the remote log metadata topic."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT32, INT64, STRING, UUID, Message, Struct, field, nested
from odradek.wire.uuids import Uuid


class TopicIdPartitionEntry(Struct):
    name: str = field(STRING, "0+")
    id: Uuid = field(UUID, "0+")
    partition: int = field(INT32, "0+")


class RemotePartitionDeleteMetadataRecord(Message, kind="metadata", api_key=2, versions="0", flexible="0+"):
    topic_id_partition: TopicIdPartitionEntry = field(nested(TopicIdPartitionEntry), "0+")
    broker_id: int = field(INT32, "0+")
    event_timestamp_ms: int = field(INT64, "0+")
    remote_partition_delete_state: int = field(INT8, "0+")
