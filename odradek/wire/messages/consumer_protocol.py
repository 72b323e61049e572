"""ConsumerProtocolAssignment, ConsumerProtocolSubscription."""

from __future__ import annotations

from odradek.wire.schema import BYTES, INT32, STRING, Message, Struct, array, field


class ConsumerProtocolAssignmentTopicPartition(Struct):
    topic: str = field(STRING, "0+", map_key=True)
    partitions: list[int] = field(array(INT32), "0+")


class ConsumerProtocolAssignment(Message, kind="data", versions="0-3", flexible="none"):
    assigned_partitions: list[ConsumerProtocolAssignmentTopicPartition] = field(
        array(ConsumerProtocolAssignmentTopicPartition), "0+"
    )
    user_data: bytes | None = field(BYTES, "0+", nullable="0+", default=None)


class ConsumerProtocolSubscriptionTopicPartition(Struct):
    topic: str = field(STRING, "1+", map_key=True)
    partitions: list[int] = field(array(INT32), "1+")


class ConsumerProtocolSubscription(Message, kind="data", versions="0-3", flexible="none"):
    topics: list[str] = field(array(STRING), "0+")
    user_data: bytes | None = field(BYTES, "0+", nullable="0+", default=None)
    owned_partitions: list[ConsumerProtocolSubscriptionTopicPartition] = field(
        array(ConsumerProtocolSubscriptionTopicPartition), "1+", ignorable=True
    )
    generation_id: int = field(INT32, "2+", default=-1, ignorable=True)
    rack_id: str | None = field(STRING, "3+", nullable="3+", default=None, ignorable=True)
