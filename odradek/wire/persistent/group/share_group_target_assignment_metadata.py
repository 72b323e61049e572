"""ShareGroupTargetAssignmentMetadata (type 12) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, STRING, Message, field


class ShareGroupTargetAssignmentMetadataKey(Message, kind="coordinator-key", api_key=12, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")


class ShareGroupTargetAssignmentMetadataValue(
    Message, kind="coordinator-value", api_key=12, versions="0", flexible="0+"
):
    assignment_epoch: int = field(INT32, "0+")
    assignment_timestamp: int = field(INT64, "0+", default=0, tag=0, ignorable=True)
