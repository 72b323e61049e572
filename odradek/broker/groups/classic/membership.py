"""Heartbeat and LeaveGroup."""

from __future__ import annotations

import logging

from odradek.broker.coordinator.result import CoordinatorResult
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.rebalance import Rebalances
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.table import NOTHING, GroupTable, heartbeat_timer
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse

_log = logging.getLogger(__name__)


class Membership:
    """Members show that they are alive, or say that they are not any more."""

    def __init__(self, table: GroupTable, rebalances: Rebalances) -> None:
        self._table = table
        self._rebalances = rebalances

    def heartbeat(self, request: HeartbeatRequest) -> CoordinatorResult[HeartbeatResponse]:
        """Handle one Heartbeat; raises UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID or ILLEGAL_GENERATION."""
        group = self._group(request.group_id)
        member = group.check_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        self._rebalances.schedule_session(group, member)
        rebalancing = group.state is GroupState.PREPARING_REBALANCE
        code = ErrorCode.REBALANCE_IN_PROGRESS if rebalancing else ErrorCode.NONE
        return CoordinatorResult((), HeartbeatResponse(error_code=code))

    def leave(self, request: LeaveGroupRequest) -> CoordinatorResult[LeaveGroupResponse]:
        """Handle one LeaveGroup, each member on its own; raises UNKNOWN_MEMBER_ID if there is no such group."""
        group = self._group(request.group_id)
        answers = [self._leave(group, identity) for identity in request.members]
        left = [answer.member_id for answer in answers if answer.error_code == ErrorCode.NONE]
        result: CoordinatorResult[None] = NOTHING
        if left and group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            result = self._rebalances.prepare_or_complete(group, f"members {left} left")
        elif left:
            result = self._rebalances.maybe_complete_join(group)
        return CoordinatorResult(
            result.records,
            LeaveGroupResponse(members=answers),
            replay=result.replay,
            on_committed=result.on_committed,
        )

    def _leave(self, group: ClassicGroup, identity: MemberIdentity) -> MemberResponse:
        member_id = identity.member_id
        answer = MemberResponse(member_id=member_id, group_instance_id=identity.group_instance_id)
        if member_id in group.pending_join:
            group.remove(member_id)
            self._table.context.timers.cancel(heartbeat_timer(group.group_id, member_id))
            return answer
        if not member_id and identity.group_instance_id is not None:
            # An administrator removes a static member by the name of its instance.
            member_id = group.static_members.get(identity.group_instance_id, "")
        try:
            member = group.check_member(member_id, identity.group_instance_id)
        except KafkaError as error:
            answer.error_code = error.code
            return answer
        _log.info(
            "group %s: member %s left%s", group.group_id, member_id, f": {identity.reason}" if identity.reason else ""
        )
        self._rebalances.remove_member(group, member)
        return answer

    def _group(self, group_id: str) -> ClassicGroup:
        group = self._table.classic(group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return group
