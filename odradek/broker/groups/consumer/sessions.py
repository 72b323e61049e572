"""Time-outs of members: their session, and how long they may take to give up partitions, to join and to sync."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.broker.coordinator.result import CoordinatorResult
from odradek.broker.groups.consumer.member import ConsumerMember, MemberState
from odradek.broker.groups.table import NOTHING, heartbeat_timer

if TYPE_CHECKING:
    from odradek.broker.groups.consumer.group import ConsumerGroup
    from odradek.broker.groups.table import GroupTable

_log = logging.getLogger(__name__)

Fence = Callable[["ConsumerGroup", ConsumerMember], CoordinatorResult[None]]


class Sessions:
    """Timers of one shard's consumer groups."""

    def __init__(self, table: GroupTable) -> None:
        self._table = table
        self._timers = table.context.timers
        self.fence: Fence = lambda _group, _member: NOTHING
        """What becomes of a member that is too late; set by whoever takes members out."""

    def schedule(self, group_id: str, member: ConsumerMember) -> None:
        """The member has shown life: it has its session time-out until it must again."""
        if member.classic is not None:
            timeout_ms = member.classic.session_timeout_ms
        else:
            timeout_ms = self._table.environment.group_config(group_id).session_timeout_ms
        key = heartbeat_timer(group_id, member.member_id)
        self._schedule(key, timeout_ms, group_id, member.member_id, "its session expired")

    def follow_revocation(self, group_id: str, member: ConsumerMember) -> None:
        """A member that has partitions to give up has its rebalance time-out for that; the others need not hurry."""
        key = _timer("rebalance", group_id, member.member_id)
        if member.classic is not None:
            return
        if member.state is MemberState.UNREVOKED_PARTITIONS:
            why = f"it did not leave epoch {member.epoch} in time"
            only_in = (member.epoch, MemberState.UNREVOKED_PARTITIONS)
            self._schedule(key, member.rebalance_timeout_ms, group_id, member.member_id, why, only_in)
        else:
            self._timers.cancel(key)

    def await_join(self, group_id: str, member: ConsumerMember) -> None:
        """A member of the classic protocol was told to join again: its rebalance time-out runs from the first time."""
        key = _timer("join", group_id, member.member_id)
        if key not in self._timers:
            self._schedule(key, member.rebalance_timeout_ms, group_id, member.member_id, "it did not join again")

    def joined(self, group_id: str, member: ConsumerMember) -> None:
        """A member of the classic protocol has joined, and owes its SyncGroup."""
        self._timers.cancel(_timer("join", group_id, member.member_id))
        key = _timer("sync", group_id, member.member_id)
        self._schedule(key, member.rebalance_timeout_ms, group_id, member.member_id, "it did not sync")

    def synced(self, group_id: str, member_id: str) -> None:
        """It has sent its SyncGroup."""
        self._timers.cancel(_timer("sync", group_id, member_id))

    def cancel(self, group_id: str, member_id: str) -> None:
        """The member is gone, or its group is a classic one from now on."""
        self._timers.cancel(heartbeat_timer(group_id, member_id))
        for kind in ("rebalance", "join", "sync"):
            self._timers.cancel(_timer(kind, group_id, member_id))

    def _schedule(
        self,
        key: str,
        timeout_ms: int,
        group_id: str,
        member_id: str,
        why: str,
        only_in: tuple[int, MemberState] | None = None,
    ) -> None:
        """Fence the member in `timeout_ms`, or only if it is in this epoch and state then."""
        self._timers.schedule(key, timeout_ms, lambda: self._expired(group_id, member_id, why, only_in))

    def _expired(
        self, group_id: str, member_id: str, why: str, only_in: tuple[int, MemberState] | None
    ) -> CoordinatorResult[None]:
        group = self._table.consumer(group_id)
        member = None if group is None else group.members.get(member_id)
        if group is None or member is None or (only_in not in (None, (member.epoch, member.state))):
            return NOTHING
        _log.info("group %s: member %s is out, for %s", group_id, member_id, why)
        return self.fence(group, member)


def _timer(kind: str, group_id: str, member_id: str) -> str:
    """The length keeps ids with hyphens apart."""
    return f"consumer-{kind}-{len(group_id)}-{group_id}-{member_id}"
