"""ShareGroupTargetAssignmentMember (type 13) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class ShareGroupTargetAssignmentMemberKey(Message, kind="coordinator-key", api_key=13, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class TopicPartition(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[int] = field(array(INT32), "0+")


class ShareGroupTargetAssignmentMemberValue(Message, kind="coordinator-value", api_key=13, versions="0", flexible="0+"):
    topic_partitions: list[TopicPartition] = field(array(TopicPartition), "0+")
