"""StreamsGroupCurrentMemberAssignment (type 22) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT32, STRING, Message, Struct, array, field


class StreamsGroupCurrentMemberAssignmentKey(
    Message, kind="coordinator-key", api_key=22, versions="0", flexible="none"
):
    group_id: str = field(STRING, "0")
    member_id: str = field(STRING, "0")


class TaskIds(Struct):
    subtopology_id: str = field(STRING, "0+")
    partitions: list[int] = field(array(INT32), "0+")
    assignment_epochs: list[int] | None = field(array(INT32), "0+", nullable="0+", tag=0)


class StreamsGroupCurrentMemberAssignmentValue(
    Message, kind="coordinator-value", api_key=22, versions="0", flexible="0+"
):
    member_epoch: int = field(INT32, "0+")
    previous_member_epoch: int = field(INT32, "0+")
    state: int = field(INT8, "0+")
    active_tasks: list[TaskIds] = field(array(TaskIds), "0+")
    standby_tasks: list[TaskIds] = field(array(TaskIds), "0+")
    warmup_tasks: list[TaskIds] = field(array(TaskIds), "0+")
    active_tasks_pending_revocation: list[TaskIds] = field(array(TaskIds), "0+")
    standby_tasks_pending_revocation: list[TaskIds] = field(array(TaskIds), "0+")
    warmup_tasks_pending_revocation: list[TaskIds] = field(array(TaskIds), "0+")
