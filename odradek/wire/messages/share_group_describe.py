"""ShareGroupDescribe (API key 77): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT16, INT32, STRING, UUID, Message, Struct, array, field, nested
from odradek.wire.uuids import Uuid


class ShareGroupDescribeRequest(
    Message, kind="request", api_key=77, versions="1", flexible="0+", listeners=("broker",)
):
    group_ids: list[str] = field(array(STRING), "0+")
    include_authorized_operations: bool = field(BOOL, "0+")


class TopicPartitions(Struct):
    topic_id: Uuid = field(UUID, "0+")
    topic_name: str = field(STRING, "0+")
    partitions: list[int] = field(array(INT32), "0+")


class Assignment(Struct):
    topic_partitions: list[TopicPartitions] = field(array(TopicPartitions), "0+")


class Member(Struct):
    member_id: str = field(STRING, "0+")
    rack_id: str | None = field(STRING, "0+", nullable="0+", default=None)
    member_epoch: int = field(INT32, "0+")
    client_id: str = field(STRING, "0+")
    client_host: str = field(STRING, "0+")
    subscribed_topic_names: list[str] = field(array(STRING), "0+")
    assignment: Assignment = field(nested(Assignment), "0+")


class DescribedGroup(Struct):
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)
    group_id: str = field(STRING, "0+")
    group_state: str = field(STRING, "0+")
    group_epoch: int = field(INT32, "0+")
    assignment_epoch: int = field(INT32, "0+")
    assignor_name: str = field(STRING, "0+")
    members: list[Member] = field(array(Member), "0+")
    authorized_operations: int = field(INT32, "0+", default=-2147483648)


class ShareGroupDescribeResponse(Message, kind="response", api_key=77, versions="1", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    groups: list[DescribedGroup] = field(array(DescribedGroup), "0+")
