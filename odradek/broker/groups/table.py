"""The groups of one shard, and what all operations on them share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odradek.broker.coordinator.result import CoordinatorResult
from odradek.broker.coordinator.timeline import TimelineMap
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.consumer.environment import Environment
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.options import GroupOptions
from odradek.ports import Random
from odradek.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from odradek.broker.coordinator.shard import ShardContext
    from odradek.broker.groups.shard import GroupShard

NOTHING: CoordinatorResult[None] = CoordinatorResult((), None)
"""No records."""

Group = ClassicGroup | ConsumerGroup


class GroupTable:
    """Groups by id. The committed view says which groups there are; a group object is always the live one."""

    def __init__(
        self, context: ShardContext[GroupShard], options: GroupOptions, random: Random, environment: Environment
    ) -> None:
        self.context = context
        self.options = options
        self.random = random
        self.environment = environment
        self.groups: TimelineMap[str, Group] = TimelineMap(context.timeline)

    def now_ms(self) -> int:
        """The wall clock, as records carry it."""
        return self.context.clock.now_ms()

    def classic(self, group_id: str) -> ClassicGroup | None:
        """The group, if there is one and it is a classic one."""
        group = self.groups.get(group_id)
        return group if isinstance(group, ClassicGroup) else None

    def consumer(self, group_id: str) -> ConsumerGroup | None:
        """The group, if there is one and it is a consumer group."""
        group = self.groups.get(group_id)
        return group if isinstance(group, ConsumerGroup) else None

    def existing(self, group_id: str) -> Group:
        """The group; raises GROUP_ID_NOT_FOUND."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
        return group

    def create(self, group_id: str) -> ClassicGroup:
        """Put a new, empty group into the table."""
        group = ClassicGroup(group_id, state_timestamp_ms=self.now_ms())
        self.groups.set(group_id, group)
        return group

    def new_member_id(self, client_id: str, group_instance_id: str | None) -> str:
        """An id that nobody else has: the instance's or the client's name, and a random uuid."""
        digits = self.random.uuid().hex()
        uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        return f"{group_instance_id if group_instance_id is not None else client_id}-{uuid}"


def heartbeat_timer(group_id: str, member_id: str) -> str:
    """The timer of a member's session. The length keeps ids with hyphens apart."""
    return f"heartbeat-{len(group_id)}-{group_id}-{member_id}"


def join_timer(group_id: str) -> str:
    """The timer of a group's joining phase."""
    return f"join-{group_id}"


def sync_timer(group_id: str) -> str:
    """The timer of a group's syncing phase."""
    return f"sync-{group_id}"
