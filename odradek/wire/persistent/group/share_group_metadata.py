"""ShareGroupMetadata (type 11) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, STRING, Message, field


class ShareGroupMetadataKey(Message, kind="coordinator-key", api_key=11, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")


class ShareGroupMetadataValue(Message, kind="coordinator-value", api_key=11, versions="0", flexible="0+"):
    epoch: int = field(INT32, "0+")
    metadata_hash: int = field(INT64, "0+")
