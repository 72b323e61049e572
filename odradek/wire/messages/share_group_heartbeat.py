"""ShareGroupHeartbeat (API key 76): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UUID, Message, Struct, array, field, nested
from odradek.wire.uuids import Uuid


class ShareGroupHeartbeatRequest(
    Message, kind="request", api_key=76, versions="1", flexible="0+", listeners=("broker",)
):
    group_id: str = field(STRING, "0+")
    member_id: str = field(STRING, "0+")
    member_epoch: int = field(INT32, "0+")
    rack_id: str | None = field(STRING, "0+", nullable="0+", default=None)
    subscribed_topic_names: list[str] | None = field(array(STRING), "0+", nullable="0+", default=None)


class TopicPartitions(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[int] = field(array(INT32), "0+")


class Assignment(Struct):
    topic_partitions: list[TopicPartitions] = field(array(TopicPartitions), "0+")


class ShareGroupHeartbeatResponse(Message, kind="response", api_key=76, versions="1", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)
    member_id: str | None = field(STRING, "0+", nullable="0+", default=None)
    member_epoch: int = field(INT32, "0+")
    heartbeat_interval_ms: int = field(INT32, "0+")
    assignment: Assignment | None = field(nested(Assignment), "0+", nullable="0+", default=None)
