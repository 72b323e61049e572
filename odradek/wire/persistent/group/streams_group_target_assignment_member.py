"""StreamsGroupTargetAssignmentMember (type 21) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, STRING, Message, Struct, array, field


class StreamsGroupTargetAssignmentMemberKey(Message, kind="coordinator-key", api_key=21, versions="0", flexible="none"):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class TaskIds(Struct):
    subtopology_id: str = field(STRING, "0+")
    partitions: list[int] = field(array(INT32), "0+")


class StreamsGroupTargetAssignmentMemberValue(
    Message, kind="coordinator-value", api_key=21, versions="0", flexible="0+"
):
    active_tasks: list[TaskIds] = field(array(TaskIds), "0+")
    standby_tasks: list[TaskIds] = field(array(TaskIds), "0+")
    warmup_tasks: list[TaskIds] = field(array(TaskIds), "0+")
