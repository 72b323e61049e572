"""The state machine of one partition of `__consumer_offsets`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.coordinator.shard import ShardContext
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.join import Join, Joining
from odradek.broker.groups.classic.member import ClassicMember
from odradek.broker.groups.classic.membership import Membership
from odradek.broker.groups.classic.rebalance import Rebalances
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.classic.sync import Syncing
from odradek.broker.groups.committed_offset import CommittedOffset, from_record
from odradek.broker.groups.consumer.environment import Environment
from odradek.broker.groups.consumer.groups import ConsumerGroups
from odradek.broker.groups.consumer.records import group_tombstones
from odradek.broker.groups.consumer.replay import ConsumerGroupKey
from odradek.broker.groups.descriptions import Descriptions
from odradek.broker.groups.offset_commit import OffsetCommits
from odradek.broker.groups.offset_fetch import OffsetFetches
from odradek.broker.groups.offset_store import OffsetStore
from odradek.broker.groups.options import GroupOptions
from odradek.broker.groups.records import group_tombstone
from odradek.broker.groups.table import NOTHING, Group, GroupTable
from odradek.ports import Promise, Random
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.delete_groups import DeletableGroupResult
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from odradek.wire.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchResponseGroup
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from odradek.wire.persistent.group.group_metadata import GroupMetadataKey, GroupMetadataValue, MemberMetadata
from odradek.wire.persistent.group.legacy_offset_commit import LegacyOffsetCommitKey, LegacyOffsetCommitValue
from odradek.wire.persistent.group.offset_commit import OffsetCommitKey, OffsetCommitValue

_log = logging.getLogger(__name__)

_EXPIRY_TIMER = "expire-offsets"
_NO_REBALANCE_TIMEOUT = -1
_NO_TIMESTAMP = -1


class GroupShard:
    """Groups and offsets of one shard. Its parts are the operations; it replays, loads, and cleans up."""

    def __init__(
        self, context: ShardContext[GroupShard], options: GroupOptions, random: Random, environment: Environment
    ) -> None:
        self.table = GroupTable(context, options, random, environment)
        self.offsets = OffsetStore(context.timeline)
        self.rebalances = Rebalances(self.table)
        self.joining = Joining(self.table, self.rebalances)
        self.syncing = Syncing(self.table, self.rebalances)
        self.membership = Membership(self.table, self.rebalances)
        self.commits = OffsetCommits(self.table, self.rebalances, self.offsets)
        self.fetches = OffsetFetches(self.table, self.offsets)
        self.descriptions = Descriptions(self.table)
        self.consumers = ConsumerGroups(self.table, self.rebalances)

    def replay(self, offset: int, producer_id: int, record: CoordinatorRecord) -> None:
        """Apply a record of `__consumer_offsets`."""
        key, value = record.key, record.value
        if isinstance(key, GroupMetadataKey):
            self._replay_group(key.group, value if isinstance(value, GroupMetadataValue) else None)
        elif isinstance(key, OffsetCommitKey):
            committed = from_record(value, offset) if isinstance(value, OffsetCommitValue) else None
            self._replay_offset(key.group, key.topic, key.partition, committed, producer_id)
        elif isinstance(key, LegacyOffsetCommitKey):
            upgraded = None
            if isinstance(value, LegacyOffsetCommitValue):
                upgraded = OffsetCommitValue(
                    offset=value.offset, metadata=value.metadata, commit_timestamp=value.commit_timestamp
                )
            committed = None if upgraded is None else from_record(upgraded, offset)
            self._replay_offset(key.group, key.topic, key.partition, committed, producer_id)
        elif isinstance(key, ConsumerGroupKey):
            self.consumers.replay(key, record)

    def replay_end_of_transaction(self, producer_id: int, *, committed: bool) -> None:
        """The offsets that a transaction committed become visible, or are forgotten."""
        self.offsets.replay_end_of_transaction(producer_id, committed=committed)

    def on_loaded(self) -> None:
        """Give every member its session time-out anew, and start to look for expired offsets."""
        self.consumers.on_loaded()
        for group_id, group in self._classic_groups():
            for member in group.members.values():
                self.rebalances.schedule_session(group, member)
            if len(group.members) > self.table.options.max_size:
                self.rebalances.prepare(group, f"{group_id} was loaded with more than group.max.size members")
        self._schedule_expiry()

    def on_unloaded(self) -> None:
        """Tell everyone who is parked to look for the new coordinator."""
        code = ErrorCode.NOT_COORDINATOR
        for _, group in self._classic_groups():
            group.transition(GroupState.DEAD, self.table.now_ms())
            for member in group.members.values():
                response = JoinGroupResponse(member_id=member.member_id, error_code=code)
                self.rebalances.answer_join(group, member, response)
                self.rebalances.answer_sync(member, SyncGroupResponse(error_code=code))

    def join(self, join: Join) -> CoordinatorResult[None]:
        """JoinGroup, to a group of either kind; an empty consumer group becomes a classic one."""
        group = self.table.consumer(join.request.group_id)
        if group is None:
            return self.joining.join(join)
        if not group.is_empty:
            return self.consumers.classic_members.join(join, group)
        return self.joining.join(join, in_place_of=group_tombstones(group))

    def sync(self, request: SyncGroupRequest, reply: Promise[SyncGroupResponse]) -> CoordinatorResult[None]:
        """SyncGroup, to a group of either kind."""
        group = self.table.consumer(request.group_id)
        if group is None or group.is_empty:
            return self.syncing.sync(request, reply)
        return self.consumers.classic_members.sync(request, reply, group)

    def heartbeat(self, request: HeartbeatRequest) -> CoordinatorResult[HeartbeatResponse]:
        """Heartbeat, to a group of either kind."""
        group = self.table.consumer(request.group_id)
        if group is None:
            return self.membership.heartbeat(request)
        return CoordinatorResult((), self.consumers.classic_members.heartbeat(request, group))

    def leave(self, request: LeaveGroupRequest) -> CoordinatorResult[LeaveGroupResponse]:
        """LeaveGroup, to a group of either kind."""
        group = self.table.consumer(request.group_id)
        if group is None:
            return self.membership.leave(request)
        return self.consumers.classic_members.leave(request, group)

    def fetch_stable(self, request: OffsetFetchRequestGroup) -> CoordinatorResult[OffsetFetchResponseGroup]:
        """OffsetFetch with `require_stable`: the newest offsets, told once they are committed."""
        return CoordinatorResult((), self.fetches.fetch(request, stable=True))

    async def delete_groups(self, group_ids: Sequence[str]) -> CoordinatorResult[list[DeletableGroupResult]]:
        """Remove empty groups with all their offsets."""
        records: list[CoordinatorRecord] = []
        results = []
        async for group_id in self.table.context.slices().each(group_ids):
            result = DeletableGroupResult(group_id=group_id)
            results.append(result)
            try:
                group = self.table.existing(group_id)
            except KafkaError as error:
                result.error_code = error.code
                continue
            if not group.is_empty:
                result.error_code = ErrorCode.NON_EMPTY_GROUP
                continue
            records += self.commits.delete_all(group_id)
            records += self._removal(group)
        return CoordinatorResult(records, results)

    async def expire_offsets(self) -> CoordinatorResult[None]:
        """Remove expired offsets, and empty groups that have none left; comes again after the check interval."""
        self._schedule_expiry()
        records: list[CoordinatorRecord] = []
        slices = self.table.context.slices()
        for group_id, group in self.table.groups.items():
            await slices.pause()
            tombstones, nothing_left = self.commits.expire(group_id)
            records += tombstones
            if nothing_left and group.is_empty:
                records += self._removal(group)
        if not records:
            return NOTHING
        _log.info("removing expired offsets and groups: %d records", len(records))
        return CoordinatorResult(records, None, atomic=False)

    def _classic_groups(self) -> list[tuple[str, ClassicGroup]]:
        items = self.table.groups.items()
        return [(group_id, group) for group_id, group in items if isinstance(group, ClassicGroup)]

    def _removal(self, group: Group) -> list[CoordinatorRecord]:
        """Records that remove an empty group."""
        if isinstance(group, ClassicGroup):
            self.rebalances.cancel_timers(group)
            return [group_tombstone(group.group_id)]
        return group_tombstones(group)

    def _schedule_expiry(self) -> None:
        interval_ms = self.table.options.offsets_retention_check_interval_ms
        self.table.context.timers.schedule(_EXPIRY_TIMER, interval_ms, self.expire_offsets, recurring=True)

    def _replay_offset(
        self, group_id: str, topic: str, partition: int, committed: CommittedOffset | None, producer_id: int
    ) -> None:
        if committed is not None and group_id not in self.table.groups:
            self.table.create(group_id)
        self.offsets.replay(group_id, (topic, partition), committed, producer_id)

    def _replay_group(self, group_id: str, value: GroupMetadataValue | None) -> None:
        if value is None:
            self.table.groups.remove(group_id)
            return
        group = ClassicGroup(
            group_id,
            state=GroupState.STABLE if value.members else GroupState.EMPTY,
            generation=value.generation,
            protocol_type=value.protocol_type or None,
            protocol=value.protocol,
            leader=value.leader if any(member.member_id == value.leader for member in value.members) else None,
            state_timestamp_ms=None
            if value.current_state_timestamp == _NO_TIMESTAMP
            else value.current_state_timestamp,
        )
        for member in value.members:
            group.add(_loaded_member(member, value))
        group.subscribed_topics = group.compute_subscribed_topics()
        self.table.groups.set(group_id, group)


def _loaded_member(member: MemberMetadata, value: GroupMetadataValue) -> ClassicMember:
    """A member as the log has it: with the one protocol that its group had agreed on."""
    has_timeout = member.rebalance_timeout != _NO_REBALANCE_TIMEOUT
    return ClassicMember(
        member_id=member.member_id,
        group_instance_id=member.group_instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout if has_timeout else member.session_timeout,
        session_timeout_ms=member.session_timeout,
        protocol_type=value.protocol_type,
        protocols=[JoinGroupRequestProtocol(name=value.protocol or "", metadata=member.subscription)],
        assignment=member.assignment,
    )
