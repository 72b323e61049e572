"""ShareGroupCurrentMemberAssignment (type 14) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT32, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class ShareGroupCurrentMemberAssignmentKey(Message, kind="coordinator-key", api_key=14, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class TopicPartitions(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[int] = field(array(INT32), "0+")


class ShareGroupCurrentMemberAssignmentValue(
    Message, kind="coordinator-value", api_key=14, versions="0", flexible="0+"
):
    member_epoch: int = field(INT32, "0+")
    previous_member_epoch: int = field(INT32, "0+")
    state: int = field(INT8, "0+")
    assigned_partitions: list[TopicPartitions] = field(array(TopicPartitions), "0+")
