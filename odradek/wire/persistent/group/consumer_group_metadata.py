"""ConsumerGroupMetadata (type 3) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, STRING, Message, field


class ConsumerGroupMetadataKey(Message, kind="coordinator-key", api_key=3, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")


class ConsumerGroupMetadataValue(Message, kind="coordinator-value", api_key=3, versions="0", flexible="0+"):
    epoch: int = field(INT32, "0+")
    metadata_hash: int = field(INT64, "0+", default=0, tag=0)
