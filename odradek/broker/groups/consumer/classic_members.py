"""Members of the classic protocol in a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

A rebalance is theirs alone: each is told to join again when its own target moves, and is answered at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.groups.classic.join import FIRST_WITH_REQUIRED_MEMBER_ID, UNKNOWN_MEMBER, Join
from odradek.broker.groups.consumer.fencing import Fencing
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.joining import check_not_fenced, check_room, known_static, replace_static
from odradek.broker.groups.consumer.member import ClassicMetadata, ConsumerMember, MemberState, Target, subscription
from odradek.broker.groups.consumer.migration import Migration, Replacement, classic_metadata
from odradek.broker.groups.consumer.protocol import encode_assignment, read_subscription
from odradek.broker.groups.consumer.reconciliation import Owned
from odradek.broker.groups.consumer.sessions import Sessions
from odradek.broker.groups.consumer.targets import TargetOf
from odradek.broker.groups.consumer.updates import RegexChange, Update, Updates
from odradek.broker.groups.options import MigrationPolicy
from odradek.broker.groups.subscriptions import CONSUMER_PROTOCOL_TYPE
from odradek.broker.groups.table import NOTHING, GroupTable
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.consumer_protocol import ConsumerProtocolSubscription
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from odradek.wire.uuids import uuid_to_string

_log = logging.getLogger(__name__)

_NO_TIMEOUT = -1


class ClassicMembers:
    """Answers the classic protocol for one shard's consumer groups."""

    def __init__(
        self, table: GroupTable, updates: Updates, sessions: Sessions, fencing: Fencing, migration: Migration
    ) -> None:
        self._table = table
        self._updates = updates
        self._sessions = sessions
        self._fencing = fencing
        self._migration = migration

    def join(self, join: Join, group: ConsumerGroup) -> CoordinatorResult[None]:
        """Handle one JoinGroup to a group that has members; `join.reply` is settled once the records are committed.

        Raises INCONSISTENT_GROUP_PROTOCOL, GROUP_MAX_SIZE_REACHED, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID.
        """
        request = join.request
        is_unknown = request.member_id == UNKNOWN_MEMBER
        member_id = uuid_to_string(self._table.random.uuid()) if is_unknown else request.member_id
        self._check_join(join, group, member_id)
        if is_unknown and request.group_instance_id is None and join.version >= FIRST_WITH_REQUIRED_MEMBER_ID:
            response = JoinGroupResponse(member_id=member_id, error_code=ErrorCode.MEMBER_ID_REQUIRED)
            self._table.context.reply(join.reply, response)
            return NOTHING
        if not is_unknown and request.group_instance_id is not None:
            check_not_fenced(known_static(group, request.group_instance_id), member_id, request.group_instance_id)
        said = _subscription(request.protocols)
        records: list[CoordinatorRecord] = []
        replaced = group.static_member(request.group_instance_id)
        old = self._member(group, join, member_id, records)
        update = Update(group, old, _updated(old, join, said), records)
        names_changed = self._updates.store_member(update)
        regex_changed = self._updates.change_regex(update, lambda _: True) is not RegexChange.NONE
        changed = names_changed or regex_changed
        epoch = group.head.epoch
        if changed or group.is_stale:
            epoch = self._updates.bump_epoch(update, bump=changed)
        owned = self._owned(said)
        if replaced is not None and self._migration.can_downgrade_with(group, replaced):
            return self._join_downgraded(join, update, replaced, epoch, changed, owned)
        target = self._updates.compute_target(update, epoch)
        member = self._updates.reconcile(update, target, subscription_changed=changed, owned=owned)

        def stored(error: KafkaError | None) -> None:
            if error is None:
                self._sessions.schedule(group.group_id, member)
                self._sessions.joined(group.group_id, member)
                self._table.context.reply(join.reply, _joined(member))

        return CoordinatorResult(records, None, on_committed=stored)

    def sync(
        self, request: SyncGroupRequest, reply: Promise[SyncGroupResponse], group: ConsumerGroup
    ) -> CoordinatorResult[None]:
        """Handle one SyncGroup; `reply` is settled with what the member was given once that is committed.

        Raises UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL or
        REBALANCE_IN_PROGRESS.
        """
        member, classic = _classic_member(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        if request.protocol_type not in (None, CONSUMER_PROTOCOL_TYPE) or request.protocol_name not in (
            None,
            classic.protocol,
        ):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        if group.head.assignment_epoch > member.epoch and member.state is not MemberState.UNREVOKED_PARTITIONS:
            self._sessions.await_join(group.group_id, member)
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        assigned: Target = {topic_id: tuple(sorted(held)) for topic_id, held in member.assigned.items()}
        topics = self._table.environment.image().topics
        response = SyncGroupResponse(
            protocol_type=request.protocol_type,
            protocol_name=request.protocol_name,
            assignment=encode_assignment(assigned, topics, classic.protocols[0][1]),
        )

        def committed(error: KafkaError | None) -> None:
            if error is None:
                self._sessions.synced(group.group_id, member.member_id)
                self._sessions.schedule(group.group_id, member)
                self._table.context.reply(reply, response)

        return CoordinatorResult((), None, on_committed=committed)

    def heartbeat(self, request: HeartbeatRequest, group: ConsumerGroup) -> HeartbeatResponse:
        """Handle one Heartbeat; raises UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID or ILLEGAL_GENERATION."""
        member, _ = _classic_member(group, request.member_id, request.group_instance_id)
        _check_generation(member, request.generation_id)
        self._sessions.schedule(group.group_id, member)
        has_more_to_do = (
            member.epoch < group.head.assignment_epoch
            or member.state is MemberState.UNREVOKED_PARTITIONS
            or (member.state is MemberState.UNRELEASED_PARTITIONS and not group.is_waiting_for_others(member))
        )
        if has_more_to_do:
            self._sessions.await_join(group.group_id, member)
        return HeartbeatResponse(error_code=ErrorCode.REBALANCE_IN_PROGRESS if has_more_to_do else ErrorCode.NONE)

    def leave(self, request: LeaveGroupRequest, group: ConsumerGroup) -> CoordinatorResult[LeaveGroupResponse]:
        """Handle one LeaveGroup, by which administrators also take members of the consumer protocol out."""
        answers: list[MemberResponse] = []
        leaving: dict[str, ConsumerMember] = {}
        for identity in request.members:
            answer = MemberResponse(member_id=identity.member_id, group_instance_id=identity.group_instance_id)
            answers.append(answer)
            try:
                member = _leaving(group, identity)
            except KafkaError as error:
                answer.error_code = error.code
                continue
            leaving[member.member_id] = member
            reason = f": {identity.reason}" if identity.reason else ""
            _log.info("group %s: member %s left%s", group.group_id, member.member_id, reason)
        result = self._fencing.fence(group, list(leaving.values()))
        return CoordinatorResult(result.records, LeaveGroupResponse(members=answers), replay=result.replay)

    def _check_join(self, join: Join, group: ConsumerGroup, member_id: str) -> None:
        request, options = join.request, self._table.options
        if options.migration is MigrationPolicy.DISABLED:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        check_room(group, member_id, request.group_instance_id, options.consumer_max_size)
        if not group.supports_classic(request.protocol_type, [protocol.name for protocol in request.protocols]):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)

    def _member(
        self, group: ConsumerGroup, join: Join, member_id: str, records: list[CoordinatorRecord]
    ) -> ConsumerMember:
        instance_id = join.request.group_instance_id
        if instance_id is None:
            return group.members.get(member_id) or ConsumerMember(member_id)
        if join.request.member_id != UNKNOWN_MEMBER:
            return known_static(group, instance_id)
        present = group.static_member(instance_id)
        if present is None:
            return ConsumerMember(member_id)
        self._sessions.cancel(group.group_id, present.member_id)
        return replace_static(group, present, member_id, records)

    def _join_downgraded(
        self, join: Join, update: Update, replaced: ConsumerMember, epoch: int, changed: bool, owned: Owned | None
    ) -> CoordinatorResult[None]:
        """The last member of the consumer protocol comes back as one of the classic: so does the group."""
        group, member = update.group, update.new
        is_stale = group.head.assignment_epoch < epoch
        if not is_stale:
            target = TargetOf(group.head.assignment_epoch, group.target(member.member_id, member.instance_id))
            member = self._updates.reconcile(update, target, subscription_changed=changed, owned=owned)
        reason = "the targets of the consumer group are out of date" if is_stale else None
        update.records.extend(
            self._migration.downgrade(group, joining=Replacement(replaced, member), rebalance_for=reason)
        )

        def stored(error: KafkaError | None) -> None:
            if error is None:
                self._table.context.reply(join.reply, _joined(member))

        return CoordinatorResult(update.records, None, replay=False, on_committed=stored)

    def _owned(self, said: ConsumerProtocolSubscription) -> Owned:
        by_name = self._table.environment.image().topics.by_name
        found = ((by_name.get(topic.topic), topic.partitions) for topic in said.owned_partitions)
        return {image.id: partitions for image, partitions in found if image is not None}


def _subscription(protocols: Sequence[JoinGroupRequestProtocol]) -> ConsumerProtocolSubscription:
    try:
        return read_subscription(protocols[0].metadata)
    except ProtocolError as error:
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL) from error


def _updated(member: ConsumerMember, join: Join, said: ConsumerProtocolSubscription) -> ConsumerMember:
    """The member with what its JoinGroup says."""
    request = join.request
    timeout_ms = join.rebalance_timeout_ms
    return member._replace(
        instance_id=member.instance_id if request.group_instance_id is None else request.group_instance_id,
        rack_id=said.rack_id or member.rack_id,
        rebalance_timeout_ms=member.rebalance_timeout_ms if timeout_ms == _NO_TIMEOUT else timeout_ms,
        topic_names=subscription(said.topics),
        topic_regex="",
        client_id=join.client_id,
        client_host=join.client_host,
        classic=classic_metadata(request.session_timeout_ms, request.protocols),
    )


def _joined(member: ConsumerMember) -> JoinGroupResponse:
    """Nobody leads: the coordinator assigns."""
    assert member.classic is not None, "who joins by JoinGroup speaks the classic protocol"
    return JoinGroupResponse(
        member_id=member.member_id,
        generation_id=member.epoch,
        protocol_type=CONSUMER_PROTOCOL_TYPE,
        protocol_name=member.classic.protocol,
    )


def _classic_member(
    group: ConsumerGroup, member_id: str, instance_id: str | None
) -> tuple[ConsumerMember, ClassicMetadata]:
    if instance_id is None:
        member = group.member(member_id)
    else:
        member = known_static(group, instance_id)
        check_not_fenced(member, member_id, instance_id)
    if member.classic is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} does not use the classic protocol.")
    return member, member.classic


def _check_generation(member: ConsumerMember, generation: int) -> None:
    if generation != member.epoch:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)


def _leaving(group: ConsumerGroup, identity: MemberIdentity) -> ConsumerMember:
    if identity.group_instance_id is None:
        return group.member(identity.member_id)
    member = known_static(group, identity.group_instance_id)
    if identity.member_id:
        check_not_fenced(member, identity.member_id, identity.group_instance_id)
    return member
