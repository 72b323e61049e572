"""ConsumerGroupCurrentMemberAssignment (type 8) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT32, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class ConsumerGroupCurrentMemberAssignmentKey(
    Message, kind="coordinator-key", api_key=8, versions="0", flexible="none"
):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class TopicPartitions(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[int] = field(array(INT32), "0+")
    assignment_epochs: list[int] | None = field(array(INT32), "0+", nullable="0+", tag=0)


class ConsumerGroupCurrentMemberAssignmentValue(
    Message, kind="coordinator-value", api_key=8, versions="0", flexible="0+"
):
    member_epoch: int = field(INT32, "0+")
    previous_member_epoch: int = field(INT32, "0+")
    state: int = field(INT8, "0+")
    assigned_partitions: list[TopicPartitions] = field(array(TopicPartitions), "0+")
    partitions_pending_revocation: list[TopicPartitions] = field(array(TopicPartitions), "0+")
