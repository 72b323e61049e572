"""ConsumerGroupHeartbeat: members join, go on, and leave."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.consumer.fencing import Fencing
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.joining import check_not_fenced, check_room, known_static, replace_static
from odradek.broker.groups.consumer.member import (
    JOINING_EPOCH,
    LEAVING_EPOCH,
    NO_PARTITIONS,
    STATIC_LEAVING_EPOCH,
    ConsumerMember,
    Partitions,
    subscription,
)
from odradek.broker.groups.consumer.migration import Migration
from odradek.broker.groups.consumer.reconciliation import Owned
from odradek.broker.groups.consumer.records import assignment_record
from odradek.broker.groups.consumer.sessions import Sessions
from odradek.broker.groups.consumer.updates import RegexChange, Update, Updates
from odradek.broker.groups.records import group_tombstone
from odradek.broker.groups.table import GroupTable
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatResponseTopicPartitions,
)
from odradek.wire.uuids import uuid_to_string

_log = logging.getLogger(__name__)

FIRST_WITH_MEMBER_ID_OF_CLIENT = 1
_NO_TIMEOUT = -1


class Beat(NamedTuple):
    """A heartbeat, who sent it, and which topics that one may see."""

    request: ConsumerGroupHeartbeatRequest
    client_id: str
    client_host: str
    may_describe: Callable[[str], bool]


class Heartbeats:
    """Answers heartbeats of one shard's groups."""

    def __init__(
        self, table: GroupTable, updates: Updates, sessions: Sessions, fencing: Fencing, migration: Migration
    ) -> None:
        self._table = table
        self._updates = updates
        self._sessions = sessions
        self._fencing = fencing
        self._migration = migration

    def heartbeat(self, beat: Beat) -> CoordinatorResult[ConsumerGroupHeartbeatResponse]:
        """Handle one heartbeat that `check_heartbeat` lets pass.

        Raises GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID,
        UNRELEASED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED or INVALID_REGULAR_EXPRESSION.
        """
        if beat.request.member_epoch in (LEAVING_EPOCH, STATIC_LEAVING_EPOCH):
            return self._leave(beat.request)
        member = self._unchanged(beat)
        if member is not None:
            return CoordinatorResult((), self._alive(beat.request.group_id, member))
        return self._go_on(beat)

    def _unchanged(self, beat: Beat) -> ConsumerMember | None:
        """The sender of a heartbeat that nothing follows from, as from nearly all; None for any other.

        It says nothing new, its sender has its target, and there is no later one to be computed.
        """
        request = beat.request
        group = self._table.groups.get(request.group_id)
        if not isinstance(group, ConsumerGroup) or _says_something(request):
            return None
        head = group.head
        if group.is_stale or group.subscriptions.regexes or head.assignment_epoch < head.epoch:
            return None
        member = group.members.get(request.member_id)
        if (
            member is None
            or member.epoch != request.member_epoch
            or member.classic is not None
            or member.client_id != beat.client_id
            or member.client_host != beat.client_host
            or not member.is_reconciled_to(head.assignment_epoch)
        ):
            return None
        return member

    def _alive(self, group_id: str, member: ConsumerMember) -> ConsumerGroupHeartbeatResponse:
        """Note that the member has shown life, and answer it without an assignment."""
        self._sessions.schedule(group_id, member)
        return ConsumerGroupHeartbeatResponse(
            member_id=member.member_id,
            member_epoch=member.epoch,
            heartbeat_interval_ms=self._table.environment.group_config(group_id).heartbeat_interval_ms,
        )

    def _go_on(self, beat: Beat) -> CoordinatorResult[ConsumerGroupHeartbeatResponse]:
        request = beat.request
        records: list[CoordinatorRecord] = []
        classic = self._table.classic(request.group_id)
        group = self._group(request, records)
        check_room(group, request.member_id, request.instance_id, self._table.options.consumer_max_size)
        member_id = request.member_id or uuid_to_string(self._table.random.uuid())
        owned = _owned(request)
        old = self._member(group, request, member_id, owned, records)
        new = _updated(old, beat)
        update = Update(group, old, new, records)
        names_changed = self._updates.store_member(update)
        regex_change = self._updates.change_regex(update, beat.may_describe)
        replaced = group.static_member(request.instance_id)
        if replaced is not None and request.member_epoch == JOINING_EPOCH:
            # Not earlier: one who is refused takes nobody's place.
            self._sessions.cancel(group.group_id, replaced.member_id)
        assignor_changed = self._assignor_changed(update)
        bump = names_changed or regex_change is RegexChange.RESOLVED or assignor_changed
        epoch = group.head.epoch
        if bump or group.is_stale:
            epoch = self._updates.bump_epoch(update, bump=bump)
        target = self._updates.compute_target(update, epoch)
        changed = names_changed or regex_change is not RegexChange.NONE
        member = self._updates.reconcile(update, target, subscription_changed=changed, owned=owned)
        response = self._alive(group.group_id, member)
        if request.member_epoch == JOINING_EPOCH or _is_full(request) or member.assigned != old.assigned:
            response.assignment = _assignment(member.assigned)
        taken_over = None if classic is None else self._migration.take_over(classic, group)
        return CoordinatorResult(records, response, on_committed=taken_over)

    def _leave(self, request: ConsumerGroupHeartbeatRequest) -> CoordinatorResult[ConsumerGroupHeartbeatResponse]:
        group = self._existing(request.group_id)
        response = ConsumerGroupHeartbeatResponse(member_id=request.member_id, member_epoch=request.member_epoch)
        if request.instance_id is None:
            member = group.member(request.member_id)
        else:
            member = known_static(group, request.instance_id)
            check_not_fenced(member, request.member_id, request.instance_id)
            if request.member_epoch == STATIC_LEAVING_EPOCH:
                _log.info("group %s: static member %s left for a while", group.group_id, member.member_id)
                return CoordinatorResult((assignment_record(group.group_id, _away(member)),), response)
        _log.info("group %s: member %s left", group.group_id, member.member_id)
        result = self._fencing.fence(group, [member])
        return CoordinatorResult(result.records, response, replay=result.replay)

    def _group(self, request: ConsumerGroupHeartbeatRequest, records: list[CoordinatorRecord]) -> ConsumerGroup:
        """The group, which a joining member may create, or make of a classic one."""
        group_id = request.group_id
        group = self._table.groups.get(group_id)
        if isinstance(group, ConsumerGroup):
            return group
        if request.member_epoch != JOINING_EPOCH:
            raise _not_found(group_id, is_classic=group is not None)
        if isinstance(group, ClassicGroup):
            if not group.is_empty:
                return self._migration.upgrade(group, records)
            records.append(group_tombstone(group_id))
        return self._migration.draft(group_id)

    def _existing(self, group_id: str) -> ConsumerGroup:
        group = self._table.existing(group_id)
        if isinstance(group, ClassicGroup):
            raise _not_found(group_id, is_classic=True)
        return group

    def _member(
        self,
        group: ConsumerGroup,
        request: ConsumerGroupHeartbeatRequest,
        member_id: str,
        owned: Owned | None,
        records: list[CoordinatorRecord],
    ) -> ConsumerMember:
        """The sender as the group has it; a new member, or one that takes a static member's place, if it joins."""
        joins = request.member_epoch == JOINING_EPOCH
        if request.instance_id is None:
            member = group.members.get(member_id)
            if member is None and joins:
                _log.info("group %s: member %s joins", group.group_id, member_id)
            member = (member or ConsumerMember(member_id)) if joins else group.member(member_id)
            _check_epoch(member, request.member_epoch, owned)
            return member
        if not joins:
            member = known_static(group, request.instance_id)
            check_not_fenced(member, member_id, request.instance_id)
            _check_epoch(member, request.member_epoch, owned)
            return member
        present = group.static_member(request.instance_id)
        if present is None:
            _log.info("group %s: static member %s joins as %s", group.group_id, request.instance_id, member_id)
            return group.members.get(member_id) or ConsumerMember(member_id)
        if present.classic is None and present.epoch != STATIC_LEAVING_EPOCH:
            raise KafkaError(
                ErrorCode.UNRELEASED_INSTANCE_ID,
                f"Static member {member_id} with instance id {request.instance_id} cannot join the group because the "
                f"instance id is owned by {present.member_id} member.",
            )
        return replace_static(group, present, member_id, records)

    def _assignor_changed(self, update: Update) -> bool:
        subscriptions, default = update.group.subscriptions, self._updates.default_assignor
        now = subscriptions.preferred_assignor(default, None, None)
        return now != subscriptions.preferred_assignor(default, update.old, update.new)


def check_heartbeat(request: ConsumerGroupHeartbeatRequest, version: int, assignors: Sequence[str]) -> None:
    """Raise INVALID_REQUEST or UNSUPPORTED_ASSIGNOR for a request that no group needs to be asked about."""
    epoch = request.member_epoch
    if version >= FIRST_WITH_MEMBER_ID_OF_CLIENT or epoch > JOINING_EPOCH or epoch == LEAVING_EPOCH:
        _refuse_blank(request.member_id, "MemberId")
    _refuse_blank(request.group_id, "GroupId")
    _refuse_blank(request.instance_id, "InstanceId")
    _refuse_blank(request.rack_id, "RackId")
    if epoch == JOINING_EPOCH:
        _check_joining(request)
    elif epoch == STATIC_LEAVING_EPOCH:
        _refuse(request.instance_id is None, "InstanceId can't be null.")
    _refuse(epoch < STATIC_LEAVING_EPOCH, "MemberEpoch is invalid.")
    if request.server_assignor is not None and request.server_assignor not in assignors:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_ASSIGNOR,
            f"ServerAssignor {request.server_assignor} is not supported. Supported assignors: {', '.join(assignors)}.",
        )


def _check_joining(request: ConsumerGroupHeartbeatRequest) -> None:
    _refuse(request.rebalance_timeout_ms == _NO_TIMEOUT, "RebalanceTimeoutMs must be provided in first request.")
    _refuse(
        request.topic_partitions is None or bool(request.topic_partitions),
        "TopicPartitions must be empty when (re-)joining.",
    )
    _refuse(
        request.subscribed_topic_names is None and request.subscribed_topic_regex is None,
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
    )


def _refuse(is_invalid: bool, text: str) -> None:
    if is_invalid:
        raise KafkaError(ErrorCode.INVALID_REQUEST, text)


def _refuse_blank(value: str | None, name: str) -> None:
    _refuse(value is not None and not value.strip(), f"{name} can't be empty.")


def _not_found(group_id: str, *, is_classic: bool) -> KafkaError:
    text = f"Group {group_id} is not a consumer group." if is_classic else f"Consumer group {group_id} not found."
    return KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, text)


def _check_epoch(member: ConsumerMember, epoch: int, owned: Owned | None) -> None:
    """Raise FENCED_MEMBER_EPOCH, unless the member has merely missed the answer that told it of its epoch."""
    if epoch in (JOINING_EPOCH, member.epoch):
        return
    if epoch < member.epoch and epoch == member.previous_epoch and _has_all(member, owned):
        return
    comparison = "greater" if epoch > member.epoch else "smaller"
    raise KafkaError(
        ErrorCode.FENCED_MEMBER_EPOCH,
        f"The consumer group member has a {comparison} member epoch ({epoch}) than the one known by the group "
        f"coordinator ({member.epoch}). The member must abandon all its partitions and rejoin.",
    )


def _has_all(member: ConsumerMember, owned: Owned | None) -> bool:
    """Whether what the member says it owns is part of what it was given."""
    if owned is None:
        return False
    return all(
        topic_id in member.assigned and all(index in member.assigned[topic_id] for index in indexes)
        for topic_id, indexes in owned.items()
    )


def _owned(request: ConsumerGroupHeartbeatRequest) -> Owned | None:
    if request.topic_partitions is None:
        return None
    owned: dict[bytes, list[int]] = {}
    for topic in request.topic_partitions:
        owned.setdefault(topic.topic_id, []).extend(topic.partitions)
    return owned


def _updated(member: ConsumerMember, beat: Beat) -> ConsumerMember:
    """The member with what the heartbeat says; what it leaves out stays."""
    request = beat.request
    names, timeout_ms = request.subscribed_topic_names, request.rebalance_timeout_ms
    return member._replace(
        instance_id=_or(request.instance_id, member.instance_id),
        rack_id=_or(request.rack_id, member.rack_id),
        rebalance_timeout_ms=member.rebalance_timeout_ms if timeout_ms == _NO_TIMEOUT else timeout_ms,
        assignor=_or(request.server_assignor, member.assignor),
        topic_names=member.topic_names if names is None else subscription(names),
        topic_regex=member.topic_regex if request.subscribed_topic_regex is None else request.subscribed_topic_regex,
        client_id=beat.client_id,
        client_host=beat.client_host,
        classic=None,
    )


def _or(said: str | None, known: str | None) -> str | None:
    return known if said is None else said


def _says_something(request: ConsumerGroupHeartbeatRequest) -> bool:
    """Whether it says more than that the member is alive, and what it has."""
    return (
        request.rebalance_timeout_ms != _NO_TIMEOUT
        or request.subscribed_topic_names is not None
        or request.subscribed_topic_regex is not None
        or request.server_assignor is not None
        or request.instance_id is not None
        or request.rack_id is not None
    )


def _is_full(request: ConsumerGroupHeartbeatRequest) -> bool:
    """Whether the member says everything, as it does when it is not sure that it was understood."""
    subscribes = request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None
    return request.rebalance_timeout_ms != _NO_TIMEOUT and subscribes and request.topic_partitions is not None


def _away(member: ConsumerMember) -> ConsumerMember:
    """A static member that is to come back: whoever does has its partitions in every epoch."""
    assigned = {topic_id: dict.fromkeys(held, 0) for topic_id, held in member.assigned.items()}
    return member._replace(epoch=STATIC_LEAVING_EPOCH, assigned=assigned, pending_revocation=NO_PARTITIONS)


def _assignment(assigned: Partitions) -> Assignment:
    return Assignment(
        topic_partitions=[
            ConsumerGroupHeartbeatResponseTopicPartitions(topic_id=topic_id, partitions=sorted(held))
            for topic_id, held in assigned.items()
        ]
    )
