"""JoinGroup (11), SyncGroup (14), Heartbeat (12) and LeaveGroup (13): life in a classic group."""

from __future__ import annotations

from odradek.broker.groups.service import GroupCoordinator
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import MAX_DECIDED_OBJECTS, AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse

FIRST_WITH_NULLABLE_PROTOCOL = 7
"""JoinGroup responses before it say "" for no protocol."""
_REPLACED = (
    "A parked request that a later one of the same member replaces is answered REBALANCE_IN_PROGRESS; "
    "Kafka never answers it.",
)
_FIRST_STAYS = (
    "Of two assignments that a leader hands in for one generation the first is written and handed out; Kafka hands out "
    "the first and writes both, so that the second one comes into force when another coordinator takes over.",
)
FIRST_WITH_MEMBER_LIST = 3
FIRST_WITH_MANDATORY_PROTOCOL = 5


class GroupMembershipApi:
    """Checks and adapts requests of all versions for the group coordinator."""

    def __init__(self, groups: GroupCoordinator) -> None:
        self._groups = groups

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(Handler(JoinGroupRequest, self._join, Operation.READ, ResourceType.GROUP, _join_failed, _REPLACED)),
            erase(
                Handler(
                    SyncGroupRequest,
                    self._sync,
                    Operation.READ,
                    ResourceType.GROUP,
                    differences=_REPLACED + _FIRST_STAYS,
                )
            ),
            erase(Handler(HeartbeatRequest, self._heartbeat, Operation.READ, ResourceType.GROUP)),
            erase(
                Handler(
                    LeaveGroupRequest, self._leave, Operation.READ, ResourceType.GROUP, max_objects=MAX_DECIDED_OBJECTS
                )
            ),
        ]

    def _join(self, context: RequestContext, request: JoinGroupRequest) -> Promise[JoinGroupResponse]:
        check_group(context, Operation.READ, request.group_id)
        answer = self._groups.join(request, context.api_version, context.client_id or "", f"/{context.client_host}")
        return answer.then(lambda response: _in_version(response, context.api_version))

    def _sync(self, context: RequestContext, request: SyncGroupRequest) -> Promise[SyncGroupResponse]:
        if context.api_version >= FIRST_WITH_MANDATORY_PROTOCOL and None in (
            request.protocol_type,
            request.protocol_name,
        ):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        check_group(context, Operation.READ, request.group_id)
        return self._groups.sync(request)

    def _heartbeat(self, context: RequestContext, request: HeartbeatRequest) -> Promise[HeartbeatResponse]:
        check_group(context, Operation.READ, request.group_id)
        return self._groups.heartbeat(request)

    def _leave(self, context: RequestContext, request: LeaveGroupRequest) -> Promise[LeaveGroupResponse]:
        check_group(context, Operation.READ, request.group_id)
        if context.api_version >= FIRST_WITH_MEMBER_LIST:
            return self._groups.leave(request)
        request.members = [MemberIdentity(member_id=request.member_id)]
        return self._groups.leave(request).then(_of_one_member)


def check_group(context: RequestContext, operation: Operation, group_id: str) -> None:
    """Raise GROUP_AUTHORIZATION_FAILED unless the sender may do this to the group."""
    if not context.allows(operation, ResourceType.GROUP, group_id):
        raise KafkaError(ErrorCode.GROUP_AUTHORIZATION_FAILED)


def _of_one_member(response: LeaveGroupResponse) -> LeaveGroupResponse:
    """Before version 3 there is one member, whose error is the response's."""
    if response.error_code == ErrorCode.NONE and response.members:
        response.error_code = response.members[0].error_code
    response.members = []
    return response


def _in_version(response: JoinGroupResponse, version: int) -> JoinGroupResponse:
    if not response.protocol_name or response.error_code != ErrorCode.NONE:
        response.protocol_name = None if version >= FIRST_WITH_NULLABLE_PROTOCOL else ""
    return response


def _join_failed(_request: JoinGroupRequest, version: int, error: KafkaError) -> JoinGroupResponse:
    return _in_version(JoinGroupResponse(error_code=error.code), version)
