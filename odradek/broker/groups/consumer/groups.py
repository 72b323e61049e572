"""The consumer groups of one shard: the parts put together."""

from __future__ import annotations

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.rebalance import Rebalances
from odradek.broker.groups.consumer.classic_members import ClassicMembers
from odradek.broker.groups.consumer.describe import describe
from odradek.broker.groups.consumer.environment import TopicsChange
from odradek.broker.groups.consumer.fencing import Fencing
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.heartbeat import Heartbeats
from odradek.broker.groups.consumer.metadata_hash import TopicHashes
from odradek.broker.groups.consumer.migration import Migration
from odradek.broker.groups.consumer.replay import ConsumerGroupKey, is_group_tombstone, replay
from odradek.broker.groups.consumer.sessions import Sessions
from odradek.broker.groups.consumer.updates import Updates
from odradek.broker.groups.table import NOTHING, GroupTable
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.consumer_group_describe import DescribedGroup


class ConsumerGroups:
    """Wires the operations, replays records, and starts what a loaded shard needs."""

    def __init__(self, table: GroupTable, rebalances: Rebalances) -> None:
        self._table = table
        self._hashes = TopicHashes(table.environment.image)
        self._sessions = Sessions(table)
        migration = Migration(table, rebalances, self._hashes, self._sessions)
        fencing = Fencing(self._hashes, migration, self._sessions)
        self._updates = Updates(table, self._hashes, self._sessions)
        self.heartbeats = Heartbeats(table, self._updates, self._sessions, fencing, migration)
        self.classic_members = ClassicMembers(table, self._updates, self._sessions, fencing, migration)

    def replay(self, key: ConsumerGroupKey, record: CoordinatorRecord) -> None:
        """Apply a record of a consumer group."""
        group_id = key.group_id
        group = self._table.groups.get(group_id)
        if isinstance(group, ConsumerGroup):
            if is_group_tombstone(record):
                self._table.groups.remove(group_id)
            else:
                replay(group, key, record.value)
        elif record.value is not None:
            if isinstance(group, ClassicGroup) and not group.is_simple:
                raise RuntimeError(f"record of a consumer group, but {group_id} is a classic group")
            group = ConsumerGroup(group_id, self._table.context.timeline)
            self._table.groups.set(group_id, group)
            replay(group, key, record.value)

    def on_loaded(self) -> None:
        """Give every member its session time-out anew, and its rebalance time-out if it has partitions to give up."""
        self._updates.newest_topics_version = self._table.environment.image().offset
        for group_id, group in self._groups():
            for member in group.members.values():
                self._sessions.schedule(group_id, member)
                self._sessions.follow_revocation(group_id, member)

    def topics_changed(self, change: TopicsChange) -> CoordinatorResult[None]:
        """Groups that read one of the topics look at them with their next heartbeat."""
        if change.has_new:
            self._updates.newest_topics_version = self._table.environment.image().offset
        self._hashes.forget(change.deleted)
        for _, group in self._groups():
            if not change.changed.isdisjoint(group.subscriptions.topics):
                group.refreshed_in_epoch = None
        return NOTHING

    def describe(self, group_id: str) -> DescribedGroup:
        """ConsumerGroupDescribe of one group; one that is none has GROUP_ID_NOT_FOUND."""
        group = self._table.groups.committed(group_id)
        if isinstance(group, ConsumerGroup):
            assignor = self._table.options.consumer_assignors[0]
            return describe(group, assignor, self._table.environment.image().topics)
        text = f"Group {group_id} not found." if group is None else f"Group {group_id} is not a consumer group."
        return DescribedGroup(group_id=group_id, error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=text)

    def _groups(self) -> list[tuple[str, ConsumerGroup]]:
        items = self._table.groups.items()
        return [(group_id, group) for group_id, group in items if isinstance(group, ConsumerGroup)]
