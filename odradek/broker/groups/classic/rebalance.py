"""How a classic group gets from one generation to the next, and how silent members leave it."""

from __future__ import annotations

import logging

from odradek.broker.coordinator.errors import client_error
from odradek.broker.coordinator.result import CoordinatorResult
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.member import NO_ASSIGNMENT, ClassicMember
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.records import group_record
from odradek.broker.groups.table import NOTHING, GroupTable, heartbeat_timer, join_timer, sync_timer
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.join_group import JoinGroupResponse
from odradek.wire.messages.sync_group import SyncGroupResponse

_log = logging.getLogger(__name__)


class Rebalances:
    """The rebalance protocol and its timers, shared by all operations of one shard."""

    def __init__(self, table: GroupTable) -> None:
        self._table = table
        self._options = table.options
        self._timers = table.context.timers

    def prepare_or_complete(self, group: ClassicGroup, reason: str) -> CoordinatorResult[None]:
        """Members changed: start a rebalance, or end the joining phase of the one under way if all are there."""
        return self.prepare(group, reason) if group.can_rebalance else self.maybe_complete_join(group)

    def prepare(self, group: ClassicGroup, reason: str) -> CoordinatorResult[None]:
        """Start a rebalance. The first one of a group waits for `group.initial.rebalance.delay.ms`."""
        if group.state is GroupState.COMPLETING_REBALANCE:
            self.reset_assignments(group, ErrorCode.REBALANCE_IN_PROGRESS)
        group.pending_sync.clear()
        self._timers.cancel(sync_timer(group.group_id))
        is_initial = group.is_empty
        group.transition(GroupState.PREPARING_REBALANCE, self._table.now_ms())
        _log.info("group %s: rebalance of generation %d: %s", group.group_id, group.generation, reason)
        if not is_initial:
            return self._complete_join_or_wait(group)
        delay_ms = self._options.initial_rebalance_delay_ms
        self._wait_for_more(group, delay_ms, max(group.rebalance_timeout_ms - delay_ms, 0))
        return NOTHING

    def maybe_complete_join(self, group: ClassicGroup) -> CoordinatorResult[None]:
        """End the joining phase if nobody is missing; the initial one ends by time only."""
        if (
            group.state is not GroupState.PREPARING_REBALANCE
            or group.previous_state is GroupState.EMPTY
            or not group.has_all_members_joined
        ):
            return NOTHING
        return self.complete_join(group)

    def complete_join(self, group: ClassicGroup) -> CoordinatorResult[None]:
        """Form the next generation of those who joined; dynamic members who did not are out."""
        self._timers.cancel(join_timer(group.group_id))
        for member in list(group.members.values()):
            if not member.is_awaiting_join and not member.is_static:
                group.remove(member.member_id)
                self._timers.cancel(heartbeat_timer(group.group_id, member.member_id))
                _log.info("group %s: member %s did not rejoin", group.group_id, member.member_id)
        if not group.elect_joined_leader() and group.members:
            _log.error("group %s: no member rejoined", group.group_id)
            self._wait_for_joins(group)
            return NOTHING
        group.next_generation(self._table.now_ms())
        if group.is_empty:
            _log.info("group %s: empty in generation %d", group.group_id, group.generation)
            return CoordinatorResult((group_record(group, {}),), None, replay=False)
        _log.info("group %s: generation %d has %d members", group.group_id, group.generation, len(group.members))
        for member in list(group.members.values()):
            self.answer_join(group, member, self.current_generation(group, member))
            self.schedule_session(group, member)
            member.is_new = False
            group.pending_sync[member.member_id] = None
        self._wait_for_syncs(group)
        return NOTHING

    def current_generation(self, group: ClassicGroup, member: ClassicMember) -> JoinGroupResponse:
        """What a member is told of the generation; the leader also of the other members."""
        return JoinGroupResponse(
            members=group.response_members() if group.leader == member.member_id else [],
            member_id=member.member_id,
            generation_id=group.generation,
            protocol_name=group.protocol,
            protocol_type=group.protocol_type,
            leader=group.leader or "",
        )

    def answer_join(self, group: ClassicGroup, member: ClassicMember, response: JoinGroupResponse) -> None:
        """Answer a member's parked JoinGroup, if there is one."""
        reply, member.join_reply = member.join_reply, None
        if reply is not None:
            group.count_awaiting_join(-1)
            self._table.context.reply(reply, response)

    def answer_sync(self, member: ClassicMember, response: SyncGroupResponse) -> bool:
        """Answer a member's parked SyncGroup; returns whether there was one."""
        reply, member.sync_reply = member.sync_reply, None
        if reply is None:
            return False
        self._table.context.reply(reply, response)
        return True

    def assign(self, group: ClassicGroup, assignments: dict[str, bytes]) -> None:
        """The assignment is written: everyone gets their part and the group is stable."""
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, NO_ASSIGNMENT)
            self._hand_out(group, member)
        group.transition(GroupState.STABLE, self._table.now_ms())

    def assignment_failed(self, group: ClassicGroup, error: KafkaError) -> None:
        """The assignment could not be written: everyone has to join again."""
        code = client_error(error).code
        self.reset_assignments(group, code)
        self.prepare_or_complete(group, f"assignment was not stored: {code.name}")

    def reset_assignments(self, group: ClassicGroup, code: ErrorCode) -> None:
        """Take the assignments back and tell those who wait for one."""
        for member in group.members.values():
            member.assignment = NO_ASSIGNMENT
            if self.answer_sync(member, SyncGroupResponse(error_code=code)):
                self.schedule_session(group, member)

    def schedule_session(self, group: ClassicGroup, member: ClassicMember, timeout_ms: int | None = None) -> None:
        """The member has shown life: it has `timeout_ms` (its session time-out if None) until it must again."""
        group_id, member_id = group.group_id, member.member_id
        self.schedule_member(group_id, member_id, member.session_timeout_ms if timeout_ms is None else timeout_ms)

    def schedule_member(self, group_id: str, member_id: str, timeout_ms: int) -> None:
        """Like `schedule_session`, for an id whose owner has not joined yet."""
        self._timers.schedule(
            heartbeat_timer(group_id, member_id), timeout_ms, lambda: self._session_expired(group_id, member_id)
        )

    def synced(self, group: ClassicGroup, member_id: str) -> None:
        """The member has sent its SyncGroup for this generation."""
        group.pending_sync.pop(member_id, None)
        if not group.pending_sync:
            self._timers.cancel(sync_timer(group.group_id))

    def remove_member(self, group: ClassicGroup, member: ClassicMember) -> None:
        """Take a member out, telling it to join anew if it is waiting to."""
        self._timers.cancel(heartbeat_timer(group.group_id, member.member_id))
        self.answer_join(group, member, JoinGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID))
        group.remove(member.member_id)
        self.answer_sync(member, SyncGroupResponse(error_code=ErrorCode.UNKNOWN_MEMBER_ID))

    def cancel_timers(self, group: ClassicGroup) -> None:
        """The group is deleted: nothing of it is due any more."""
        self._timers.cancel(join_timer(group.group_id))
        self._timers.cancel(sync_timer(group.group_id))
        for member_id in (*group.members, *group.pending_join):
            self._timers.cancel(heartbeat_timer(group.group_id, member_id))

    def _hand_out(self, group: ClassicGroup, member: ClassicMember) -> None:
        response = SyncGroupResponse(
            protocol_name=group.protocol, protocol_type=group.protocol_type, assignment=member.assignment
        )
        if self.answer_sync(member, response):
            self.schedule_session(group, member)

    def _complete_join_or_wait(self, group: ClassicGroup) -> CoordinatorResult[None]:
        if group.has_all_members_joined:
            return self.complete_join(group)
        self._wait_for_joins(group)
        return NOTHING

    def _wait_for_joins(self, group: ClassicGroup) -> None:
        group_id = group.group_id
        self._timers.schedule(join_timer(group_id), group.rebalance_timeout_ms, lambda: self._joining_expired(group_id))

    def _wait_for_more(self, group: ClassicGroup, delay_ms: int, remaining_ms: int) -> None:
        group_id = group.group_id
        self._timers.schedule(
            join_timer(group_id), delay_ms, lambda: self._initial_delay_over(group_id, delay_ms, remaining_ms)
        )

    def _wait_for_syncs(self, group: ClassicGroup) -> None:
        group_id, generation = group.group_id, group.generation
        self._timers.schedule(
            sync_timer(group_id), group.rebalance_timeout_ms, lambda: self._syncing_expired(group_id, generation)
        )

    def _joining_expired(self, group_id: str) -> CoordinatorResult[None]:
        group = self._table.classic(group_id)
        if group is None or group.state is not GroupState.PREPARING_REBALANCE:
            return NOTHING
        return self.complete_join(group)

    def _initial_delay_over(self, group_id: str, delay_ms: int, remaining_ms: int) -> CoordinatorResult[None]:
        group = self._table.classic(group_id)
        if group is None or group.state is not GroupState.PREPARING_REBALANCE:
            return NOTHING
        if not group.new_member_added or remaining_ms == 0:
            return self.complete_join(group)
        group.new_member_added = False
        next_delay_ms = min(self._options.initial_rebalance_delay_ms, remaining_ms)
        self._wait_for_more(group, next_delay_ms, max(remaining_ms - delay_ms, 0))
        return NOTHING

    def _syncing_expired(self, group_id: str, generation: int) -> CoordinatorResult[None]:
        group = self._table.classic(group_id)
        if (
            group is None
            or generation != group.generation
            or group.state not in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE)
            or not group.pending_sync
        ):
            return NOTHING
        missing = list(group.pending_sync)
        for member_id in missing:
            self.remove_member(group, group.members[member_id])
        return self.prepare(group, f"members {missing} did not sync")

    def _session_expired(self, group_id: str, member_id: str) -> CoordinatorResult[None]:
        group = self._table.classic(group_id)
        if group is None:
            return NOTHING
        if member_id in group.pending_join:
            group.remove(member_id)
            is_last = group.state is GroupState.PREPARING_REBALANCE and group.has_all_members_joined
            return self.complete_join(group) if is_last else NOTHING
        member = group.members.get(member_id)
        if member is None or member.has_satisfied_heartbeat:
            return NOTHING
        _log.info("group %s: session of member %s expired", group_id, member_id)
        self.remove_member(group, member)
        if group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            return self.prepare_or_complete(group, f"session of {member_id} expired")
        if group.state is GroupState.PREPARING_REBALANCE and group.has_all_members_joined:
            return self.complete_join(group)
        return NOTHING
