"""JoinGroup (KIP-345 static members, KIP-394 member ids, KIP-814 static leaders, KIP-800 reasons)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from odradek.broker.coordinator.errors import client_error
from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.member import ClassicMember
from odradek.broker.groups.classic.rebalance import Rebalances
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.options import NEW_MEMBER_JOIN_TIMEOUT_MS
from odradek.broker.groups.records import group_record, new_group_record
from odradek.broker.groups.table import NOTHING, GroupTable
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from odradek.wire.messages.sync_group import SyncGroupResponse

FIRST_WITH_REQUIRED_MEMBER_ID = 4
FIRST_WITH_SKIP_ASSIGNMENT = 9
UNKNOWN_MEMBER = ""


class Join(NamedTuple):
    """A JoinGroup request, who sent it, and where its answer goes."""

    request: JoinGroupRequest
    version: int
    client_id: str
    client_host: str
    reply: Promise[JoinGroupResponse]

    @property
    def rebalance_timeout_ms(self) -> int:
        """That of the request; version 0 has only a session timeout."""
        return self.request.session_timeout_ms if self.version == 0 else self.request.rebalance_timeout_ms


class Joining:
    """Takes members in, or takes them along into the next generation."""

    def __init__(self, table: GroupTable, rebalances: Rebalances) -> None:
        self._table = table
        self._rebalances = rebalances

    def join(self, join: Join, in_place_of: Sequence[CoordinatorRecord] = ()) -> CoordinatorResult[None]:
        """Handle one JoinGroup; `join.reply` is settled now or when the generation is formed.

        `in_place_of` are records that remove an empty group of another kind, if there is one.
        """
        request = join.request
        group = self._table.classic(request.group_id)
        is_unknown = request.member_id == UNKNOWN_MEMBER
        if group is None:
            if not is_unknown:
                return self._refuse(join, ErrorCode.UNKNOWN_MEMBER_ID, request.member_id)
            group = self._table.create(request.group_id)
            result = self._join_group(join, group)
            if not result.records:
                result = self._store_new_group(join, group)
            return result._replace(records=(*in_place_of, *result.records))
        return self._join_group(join, group)

    def _join_group(self, join: Join, group: ClassicGroup) -> CoordinatorResult[None]:
        member_id = join.request.member_id
        if not self._has_room(group, member_id):
            group.remove(member_id)
            return self._refuse(join, ErrorCode.GROUP_MAX_SIZE_REACHED)
        if not group.supports(join.request.protocol_type, join.request.protocols):
            return self._refuse(join, ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id)
        return self._join_new(join, group) if member_id == UNKNOWN_MEMBER else self._rejoin(join, group)

    def _store_new_group(self, join: Join, group: ClassicGroup) -> CoordinatorResult[None]:
        """Write the group down although it has no generation yet, so that reads find it."""

        def stored(error: KafkaError | None) -> None:
            if error is not None:
                self._table.context.reply(join.reply, JoinGroupResponse(error_code=client_error(error).code))

        return CoordinatorResult((new_group_record(group),), None, replay=False, on_committed=stored)

    def _join_new(self, join: Join, group: ClassicGroup) -> CoordinatorResult[None]:
        request = join.request
        member_id = self._table.new_member_id(join.client_id, request.group_instance_id)
        if request.group_instance_id is not None:
            current = group.static_members.get(request.group_instance_id)
            if current is not None:
                return self._replace_static(join, group, group.members[current], member_id)
        elif join.version >= FIRST_WITH_REQUIRED_MEMBER_ID:
            group.pending_join[member_id] = None
            self._rebalances.schedule_member(group.group_id, member_id, request.session_timeout_ms)
            return self._refuse(join, ErrorCode.MEMBER_ID_REQUIRED, member_id)
        return self._add(join, group, member_id)

    def _rejoin(self, join: Join, group: ClassicGroup) -> CoordinatorResult[None]:
        request = join.request
        if request.member_id in group.pending_join:
            if request.group_instance_id is not None:
                raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "a static member cannot be pending")
            return self._add(join, group, request.member_id)
        try:
            member = group.check_member(request.member_id, request.group_instance_id)
        except KafkaError as error:
            return self._refuse(join, error.code, request.member_id)
        if group.is_empty:
            return self._refuse(join, ErrorCode.UNKNOWN_MEMBER_ID, request.member_id)
        if self._is_up_to_date(group, member, request):
            self._table.context.reply(join.reply, self._rebalances.current_generation(group, member))
            return NOTHING
        self._update(join, group, member)
        return self._rebalances.prepare_or_complete(group, f"member {member.member_id} joined again{_why(request)}")

    def _is_up_to_date(self, group: ClassicGroup, member: ClassicMember, request: JoinGroupRequest) -> bool:
        """Whether the member has missed the answer for this generation only, so that it can be told again.

        The leader of a stable group joins to cause a rebalance, such as after a change of the topics.
        """
        if not member.matches(request.protocols):
            return False
        if group.state is GroupState.COMPLETING_REBALANCE:
            return True
        return group.state is GroupState.STABLE and group.leader != member.member_id

    def _add(self, join: Join, group: ClassicGroup, member_id: str) -> CoordinatorResult[None]:
        request = join.request
        member = ClassicMember(
            member_id=member_id,
            group_instance_id=request.group_instance_id,
            client_id=join.client_id,
            client_host=join.client_host,
            rebalance_timeout_ms=join.rebalance_timeout_ms,
            session_timeout_ms=request.session_timeout_ms,
            protocol_type=request.protocol_type,
            protocols=request.protocols,
        )
        member.is_new = True
        member.join_reply = join.reply
        if group.state is GroupState.PREPARING_REBALANCE and group.previous_state is GroupState.EMPTY:
            group.new_member_added = True
        group.add(member)
        self._rebalances.schedule_session(group, member, NEW_MEMBER_JOIN_TIMEOUT_MS)
        return self._rebalances.prepare_or_complete(group, f"member {member_id} joined{_why(request)}")

    def _update(self, join: Join, group: ClassicGroup, member: ClassicMember) -> None:
        """Take over what the member says now, and park its request."""
        if member.join_reply is not None:
            # The connection of the earlier request is most likely gone; were it not, it must not wait for ever.
            response = JoinGroupResponse(member_id=member.member_id, error_code=ErrorCode.REBALANCE_IN_PROGRESS)
            self._rebalances.answer_join(group, member, response)
        group.update_protocols(member, join.request.protocols)
        member.rebalance_timeout_ms = join.rebalance_timeout_ms
        member.session_timeout_ms = join.request.session_timeout_ms
        member.join_reply = join.reply
        group.count_awaiting_join(1)

    def _replace_static(
        self, join: Join, group: ClassicGroup, old: ClassicMember, member_id: str
    ) -> CoordinatorResult[None]:
        """A static member came back under its instance id: it gets a new member id, and whoever has the old is out."""
        self._rebalances.answer_join(
            group, old, JoinGroupResponse(member_id=old.member_id, error_code=ErrorCode.FENCED_INSTANCE_ID)
        )
        self._rebalances.answer_sync(old, SyncGroupResponse(error_code=ErrorCode.FENCED_INSTANCE_ID))
        old_leader = group.leader
        new = ClassicMember(
            member_id=member_id,
            group_instance_id=old.group_instance_id,
            client_id=old.client_id,
            client_host=old.client_host,
            rebalance_timeout_ms=old.rebalance_timeout_ms,
            session_timeout_ms=old.session_timeout_ms,
            protocol_type=old.protocol_type,
            protocols=old.protocols,
            assignment=old.assignment,
        )
        group.replace_static(old, new)
        self._rebalances.schedule_session(group, new)
        self._update(join, group, new)
        if group.state is GroupState.STABLE and group.select_protocol() == group.protocol:
            return self._store_replacement(join, group, old, new, old_leader)
        if group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            # In CompletingRebalance the leader may have been told of the old id already.
            reason = f"static member {member_id} replaced {old.member_id}{_why(join.request)}"
            return self._rebalances.prepare(group, reason)
        return self._rebalances.maybe_complete_join(group)

    def _store_replacement(
        self, join: Join, group: ClassicGroup, old: ClassicMember, new: ClassicMember, old_leader: str | None
    ) -> CoordinatorResult[None]:
        """The group goes on as it is: only the new member id has to be written down."""

        def stored(error: KafkaError | None) -> None:
            if error is not None:
                self._take_back(group, old, new, error)
                return
            if group.state is not GroupState.STABLE:
                return  # a rebalance has begun since: its end answers the request
            response = self._rebalances.current_generation(group, new)
            if join.version >= FIRST_WITH_SKIP_ASSIGNMENT:
                response.skip_assignment = group.leader == new.member_id
            else:
                # Before KIP-814 a leader could not be told to leave the assignment alone: it must not know.
                response.members = []
                response.leader = old_leader or ""
            self._rebalances.answer_join(group, new, response)

        assignments = {member.member_id: member.assignment for member in group.members.values()}
        return CoordinatorResult((group_record(group, assignments),), None, replay=False, on_committed=stored)

    def _take_back(self, group: ClassicGroup, old: ClassicMember, new: ClassicMember, error: KafkaError) -> None:
        response = self._rebalances.current_generation(group, new)
        response.members = []
        response.member_id = UNKNOWN_MEMBER
        response.error_code = client_error(error).code
        self._rebalances.answer_join(group, new, response)
        if group.members.get(new.member_id) is new:
            group.replace_static(new, old)
            self._rebalances.schedule_session(group, old)

    def _has_room(self, group: ClassicGroup, member_id: str) -> bool:
        """Whether `group.max.size` lets this member in; members who are in, or are waiting, stay."""
        limit = self._table.options.max_size
        if group.state in (GroupState.EMPTY, GroupState.DEAD):
            return True
        member = group.members.get(member_id)
        if group.state is GroupState.PREPARING_REBALANCE:
            return (member is not None and member.is_awaiting_join) or group.awaiting_join_count < limit
        return member is not None or len(group.members) < limit

    def _refuse(self, join: Join, code: ErrorCode, member_id: str = UNKNOWN_MEMBER) -> CoordinatorResult[None]:
        self._table.context.reply(join.reply, JoinGroupResponse(member_id=member_id, error_code=code))
        return NOTHING


def _why(request: JoinGroupRequest) -> str:
    return f": {request.reason}" if request.reason else ""
