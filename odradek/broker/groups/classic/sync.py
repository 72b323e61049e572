"""SyncGroup: the leader hands in the assignment, everyone gets their part."""

from __future__ import annotations

import logging

from odradek.broker.coordinator.result import CoordinatorResult
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.member import NO_ASSIGNMENT, ClassicMember
from odradek.broker.groups.classic.rebalance import Rebalances
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.records import group_record
from odradek.broker.groups.table import NOTHING, GroupTable
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse

_log = logging.getLogger(__name__)


class Syncing:
    """Parks SyncGroup requests until the leader's assignment is written."""

    def __init__(self, table: GroupTable, rebalances: Rebalances) -> None:
        self._table = table
        self._rebalances = rebalances

    def sync(self, request: SyncGroupRequest, reply: Promise[SyncGroupResponse]) -> CoordinatorResult[None]:
        """Handle one SyncGroup; `reply` is settled now or when the assignment is there.

        Raises KafkaError UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL or
        REBALANCE_IN_PROGRESS.
        """
        group, member = self._check(request)
        if group.state is GroupState.PREPARING_REBALANCE:
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        if group.state is GroupState.STABLE:
            self._rebalances.synced(group, member.member_id)
            response = SyncGroupResponse(
                protocol_type=group.protocol_type, protocol_name=group.protocol, assignment=member.assignment
            )
            self._table.context.reply(reply, response)
            return NOTHING
        self._rebalances.answer_sync(member, SyncGroupResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS))
        member.sync_reply = reply
        self._rebalances.synced(group, member.member_id)
        # A leader that asks again, perhaps with another assignment, gets the one that is on its way into the log. Kafka
        # writes both and hands out the first, and a coordinator that takes over hands out the last.
        if group.leader != member.member_id or group.stores_generation == group.generation:
            return NOTHING
        return self._store(group, request)

    def _check(self, request: SyncGroupRequest) -> tuple[ClassicGroup, ClassicMember]:
        group = self._table.classic(request.group_id)
        if group is None or group.is_empty:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        member = group.check_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        if _differ(request.protocol_type, group.protocol_type) or _differ(request.protocol_name, group.protocol):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        return group, member

    def _store(self, group: ClassicGroup, request: SyncGroupRequest) -> CoordinatorResult[None]:
        assignments = dict.fromkeys(group.members, NO_ASSIGNMENT)
        assignments.update({entry.member_id: entry.assignment for entry in request.assignments})
        generation = group.stores_generation = group.generation
        _log.info("group %s: assignment of generation %d from %s", group.group_id, generation, request.member_id)

        def stored(error: KafkaError | None) -> None:
            if group.stores_generation == generation:
                group.stores_generation = None
            if group.state is not GroupState.COMPLETING_REBALANCE or group.generation != generation:
                return  # overtaken by another rebalance, which has answered everyone
            if error is None:
                self._rebalances.assign(group, assignments)
            else:
                self._rebalances.assignment_failed(group, error)

        return CoordinatorResult((group_record(group, assignments),), None, replay=False, on_committed=stored)


def _differ(claimed: str | None, actual: str | None) -> bool:
    return claimed is not None and actual is not None and claimed != actual
