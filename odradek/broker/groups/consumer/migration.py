"""Groups that go from the classic to the consumer protocol and back, with their members (KIP-848)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.broker.coordinator.result import CoordinatorRecord
from odradek.broker.coordinator.timeline import Timeline
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.member import ClassicMember
from odradek.broker.groups.classic.rebalance import Rebalances
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.consumer.group import NEVER_ASSIGNED_MS, ConsumerGroup
from odradek.broker.groups.consumer.member import ClassicMetadata, ConsumerMember, Target, subscription
from odradek.broker.groups.consumer.metadata_hash import TopicHashes
from odradek.broker.groups.consumer.protocol import (
    encode_assignment,
    read_assignment,
    read_subscription,
    target_of_assignment,
)
from odradek.broker.groups.consumer.records import (
    assignment_epoch_record,
    assignment_record,
    epoch_record,
    group_tombstones,
    member_record,
    target_record,
)
from odradek.broker.groups.consumer.sessions import Sessions
from odradek.broker.groups.records import group_record, group_tombstone
from odradek.broker.groups.subscriptions import CONSUMER_PROTOCOL_TYPE
from odradek.broker.groups.table import GroupTable
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.join_group import JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.sync_group import SyncGroupResponse

_log = logging.getLogger(__name__)


class Replacement(NamedTuple):
    """A static member, and the one of the classic protocol that takes its place."""

    replaced: ConsumerMember
    new: ConsumerMember


class Migration:
    """Conversions of one shard's groups."""

    def __init__(self, table: GroupTable, rebalances: Rebalances, hashes: TopicHashes, sessions: Sessions) -> None:
        self._table = table
        self._rebalances = rebalances
        self._hashes = hashes
        self._sessions = sessions

    def draft(self, group_id: str) -> ConsumerGroup:
        """A group that is not in the table: replaying the records that are decided upon with it puts it there."""
        return ConsumerGroup(group_id, Timeline())

    def upgrade(self, group: ClassicGroup, records: list[CoordinatorRecord]) -> ConsumerGroup:
        """Make a consumer group of a classic one that has members, who go on with what they have.

        Raises GROUP_ID_NOT_FOUND where that is not possible, and UNKNOWN_SERVER_ERROR where it is not possible yet.
        """
        self._check_upgrade(group)
        upgraded = self._upgraded(group)
        records.append(group_tombstone(group.group_id))
        records += _records_of(upgraded)
        return upgraded

    def take_over(self, classic: ClassicGroup, group: ConsumerGroup) -> Callable[[KafkaError | None], None]:
        """What happens once the records of a consumer group in the place of a classic one are in the log.

        Not before: whoever causes them may be refused yet, and then the classic group goes on as if nothing had been.
        Everyone whose request is parked has to join again.
        """

        def stored(error: KafkaError | None) -> None:
            if error is not None and error.code is not ErrorCode.REQUEST_TIMED_OUT:
                return
            self._answer_parked(classic)
            self._rebalances.cancel_timers(classic)
            for member in group.members.values():
                self._sessions.schedule(group.group_id, member)
            _log.info("group %s: becomes a consumer group with %d classic members", group.group_id, len(group.members))

        return stored

    def can_downgrade(self, group: ConsumerGroup, leaving: Sequence[ConsumerMember]) -> bool:
        """Whether only members of the classic protocol are left without `leaving`, and they may be a classic group."""
        left = len(group.members) - len(leaving)
        classic_left = group.classic_count - sum(member.classic is not None for member in leaving)
        return left > 0 and classic_left == left and self._may_downgrade(group, left)

    def can_downgrade_with(self, group: ConsumerGroup, replaced: ConsumerMember) -> bool:
        """The same where a member of the classic protocol takes the place of `replaced`."""
        others = len(group.members) - 1
        is_last = replaced.classic is None and group.classic_count == others
        return is_last and self._may_downgrade(group, others + 1)

    def downgrade(
        self,
        group: ConsumerGroup,
        leaving: Sequence[ConsumerMember] = (),
        joining: Replacement | None = None,
        *,
        rebalance_for: str | None,
    ) -> list[CoordinatorRecord]:
        """Put a classic group of those who stay and who join into the table; its records are not to be replayed.

        `rebalance_for` gives a reason to have everyone join again.
        """
        gone = {member.member_id: None for member in leaving}
        classic = self._downgraded(group, gone, joining)
        assignments = {member.member_id: member.assignment for member in classic.members.values()}
        renamed = None if joining is None else (joining.replaced.member_id, joining.new.member_id)
        records = [*group_tombstones(group, renamed), group_record(classic, assignments)]
        for member_id in group.members:
            self._sessions.cancel(group.group_id, member_id)
        self._table.groups.set(group.group_id, classic)
        for member in classic.members.values():
            self._rebalances.schedule_session(classic, member)
        _log.info("group %s: becomes a classic group with %d members", group.group_id, len(classic.members))
        if rebalance_for is not None:
            self._rebalances.prepare(classic, rebalance_for)
        return records

    def _may_downgrade(self, group: ConsumerGroup, size: int) -> bool:
        options = self._table.options
        if options.migration.may_downgrade and size <= options.max_size:
            return True
        _log.info("group %s: stays a consumer group, for migration.policy or group.max.size forbid", group.group_id)
        return False

    def _check_upgrade(self, group: ClassicGroup) -> None:
        reason = None
        if not self._table.options.migration.may_upgrade:
            reason = "online upgrade is disabled."
        elif not group.is_consumer_group:
            reason = "the group does not use the consumer embedded protocol."
        elif len(group.members) > self._table.options.consumer_max_size:
            reason = "the group size exceeds the consumer group maximum size."
        if reason is not None:
            raise _cannot_upgrade(group, reason)

    def _upgraded(self, group: ClassicGroup) -> ConsumerGroup:
        upgraded = self.draft(group.group_id)
        try:
            for member in group.members.values():
                self._add_upgraded(upgraded, group, member)
        except ProtocolError as error:
            raise _cannot_upgrade(group, "the embedded consumer protocol is malformed.") from error
        except ValueError as error:
            # The next generation, with a protocol that they all have, is not formed yet.
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR) from error
        upgraded.replay_epoch(group.generation, self._hashes.group_hash(upgraded.subscriptions.topics))
        upgraded.replay_assignment_epoch(group.generation, NEVER_ASSIGNED_MS)
        return upgraded

    def _add_upgraded(self, upgraded: ConsumerGroup, group: ClassicGroup, member: ClassicMember) -> None:
        said = read_subscription(member.metadata(group.protocol))
        target: Target = {}
        if member.assignment:
            assignment = read_assignment(member.assignment)
            if assignment.user_data:
                raise _cannot_upgrade(
                    group,
                    "an unsupported custom assignor is in use. Please refer to the documentation or switch to a "
                    "default assignor before re-attempting the upgrade.",
                )
            target = target_of_assignment(assignment, self._table.environment.image().topics)
        assigned = {topic_id: dict.fromkeys(indexes, group.generation) for topic_id, indexes in target.items()}
        upgraded.replay_target(member.member_id, target)
        upgraded.replay_member(
            ConsumerMember(
                member.member_id,
                epoch=group.generation,
                previous_epoch=group.generation,
                instance_id=member.group_instance_id,
                rack_id=said.rack_id or None,
                rebalance_timeout_ms=member.rebalance_timeout_ms,
                client_id=member.client_id,
                client_host=member.client_host,
                topic_names=subscription(said.topics),
                assigned=assigned,
                classic=classic_metadata(member.session_timeout_ms, member.protocols),
            )
        )

    def _answer_parked(self, group: ClassicGroup) -> None:
        code = ErrorCode.REBALANCE_IN_PROGRESS
        for member in group.members.values():
            self._rebalances.answer_join(group, member, JoinGroupResponse(member_id=member.member_id, error_code=code))
            self._rebalances.answer_sync(member, SyncGroupResponse(error_code=code))

    def _downgraded(
        self,
        group: ConsumerGroup,
        gone: dict[str, None],
        joining: Replacement | None,
    ) -> ClassicGroup:
        classic = ClassicGroup(
            group.group_id,
            state=GroupState.STABLE,
            generation=group.head.epoch,
            protocol_type=CONSUMER_PROTOCOL_TYPE,
            state_timestamp_ms=self._table.now_ms(),
        )
        targets: dict[str, Target] = {}
        for member in group.members.values():
            if member.member_id in gone or (joining is not None and member.member_id == joining.replaced.member_id):
                continue
            classic.add(_classic_member(member))
            targets[member.member_id] = group.target(member.member_id)
        if joining is not None:
            classic.add(_classic_member(joining.new))
            targets[joining.new.member_id] = group.target(joining.replaced.member_id)
        classic.protocol = classic.select_protocol()
        classic.subscribed_topics = classic.compute_subscribed_topics()
        topics = self._table.environment.image().topics
        for classic_member in classic.members.values():
            metadata = classic_member.metadata(classic.protocol)
            classic_member.assignment = encode_assignment(targets[classic_member.member_id], topics, metadata)
        return classic


def classic_metadata(session_timeout_ms: int, protocols: Sequence[JoinGroupRequestProtocol]) -> ClassicMetadata:
    """What is kept of a JoinGroup of a member of the classic protocol."""
    return ClassicMetadata(session_timeout_ms, tuple((entry.name, entry.metadata) for entry in protocols))


def _classic_member(member: ConsumerMember) -> ClassicMember:
    assert member.classic is not None, "a member of the consumer protocol cannot be in a classic group"
    return ClassicMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        session_timeout_ms=member.classic.session_timeout_ms,
        protocol_type=CONSUMER_PROTOCOL_TYPE,
        protocols=[JoinGroupRequestProtocol(name=name, metadata=said) for name, said in member.classic.protocols],
    )


def _records_of(group: ConsumerGroup) -> list[CoordinatorRecord]:
    """A whole group."""
    group_id, head, members = group.group_id, group.head, group.members.values()
    return [
        *(member_record(group_id, member) for member in members),
        epoch_record(group_id, head.epoch, head.metadata_hash),
        *(target_record(group_id, member.member_id, group.target(member.member_id)) for member in members),
        assignment_epoch_record(group_id, head.assignment_epoch, head.assignment_timestamp_ms),
        *(assignment_record(group_id, member) for member in members),
    ]


def _cannot_upgrade(group: ClassicGroup, reason: str) -> KafkaError:
    return KafkaError(
        ErrorCode.GROUP_ID_NOT_FOUND,
        f"Cannot upgrade classic group {group.group_id} to consumer group because {reason}",
    )
