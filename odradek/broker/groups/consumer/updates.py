"""What a heartbeat, or a JoinGroup of a member of the classic protocol, changes in a group: records, step by step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.groups.consumer.assignors import ASSIGNORS
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.member import ConsumerMember
from odradek.broker.groups.consumer.metadata_hash import TopicHashes
from odradek.broker.groups.consumer.reconciliation import Owned, Step, next_step
from odradek.broker.groups.consumer.records import (
    assignment_record,
    epoch_record,
    member_record,
    partition_metadata_tombstone,
    regex_record,
    regex_tombstone,
)
from odradek.broker.groups.consumer.regexes import REFRESH_PAUSE_MS, Resolution, compile_subscription
from odradek.broker.groups.consumer.sessions import Sessions
from odradek.broker.groups.consumer.subscriptions import count_all
from odradek.broker.groups.consumer.targets import TargetOf, is_due, next_targets, topic_ids
from odradek.broker.groups.table import NOTHING, GroupTable

_log = logging.getLogger(__name__)

_SLICE_MS = 1.0
"""How long one turn of resolving expressions may keep the thread from other work."""


class RegexChange(Enum):
    """What became of a member's expression."""

    NONE = "none"
    CHANGED = "changed"
    """To one that has yet to be resolved."""
    RESOLVED = "resolved"
    """To none, or to one whose topics are known."""


class Update(NamedTuple):
    """A member before and after what it says now, and the records so far; `old` is as its group has it."""

    group: ConsumerGroup
    old: ConsumerMember
    new: ConsumerMember
    records: list[CoordinatorRecord]


class Updates:
    """The steps, for all consumer groups of one shard."""

    def __init__(self, table: GroupTable, hashes: TopicHashes, sessions: Sessions) -> None:
        self._table = table
        self._hashes = hashes
        self._sessions = sessions
        self._resolving: dict[str, Resolution] = {}
        self.newest_topics_version = -1
        """The metadata's offset when topics were created last; -1 while that is not known."""

    def store_member(self, update: Update) -> bool:
        """Write down what the member says; returns whether it names other topics now."""
        if update.new == update.old:
            return False
        update.records.append(member_record(update.group.group_id, update.new))
        return update.new.topic_names != update.old.topic_names

    def change_regex(self, update: Update, may_describe: Callable[[str], bool]) -> RegexChange:
        """Follow the member's expression, and have the group's expressions resolved where that is due.

        Raises INVALID_REGULAR_EXPRESSION.
        """
        group, old, new = update.group, update.old.topic_regex, update.new.topic_regex
        users = group.subscriptions.regexes
        change, is_new = RegexChange.NONE, False
        if old != new:
            change = RegexChange.RESOLVED if not new or new in group.regexes else RegexChange.CHANGED
            if old and users.get(old) == 1:
                update.records.append(regex_tombstone(group.group_id, old))
            if new and new not in users:
                compile_subscription(new)
                is_new, change = True, RegexChange.CHANGED
        if is_new or users:
            after = dict(users)
            count_all(after, (old,) if old else (), -1)
            count_all(after, (new,) if new else (), 1)
            if after and self._is_refresh_due(group, after, is_new):
                self._resolve(group.group_id, after, may_describe)
        return change

    def bump_epoch(self, update: Update, *, bump: bool) -> int:
        """Compare the topics that the group reads with its hash; returns the group's epoch, a new one if they differ.

        `bump` asks for a new one anyway.
        """
        group, (old, new) = update.group, (update.old, update.new)
        leaving = {}
        if old.topic_regex and old.topic_regex != new.topic_regex:
            resolved = group.regexes.get(old.topic_regex)
            if resolved is not None and group.subscriptions.regexes.get(old.topic_regex) == 1:
                leaving[old.topic_regex] = resolved
        metadata_hash = self._hashes.group_hash(group.subscriptions.topics_after([(old, new)], leaving))
        epoch = group.head.epoch
        if bump or metadata_hash != group.head.metadata_hash:
            epoch += 1
            update.records.append(epoch_record(group.group_id, epoch, metadata_hash))
            _log.info("group %s: epoch %d", group.group_id, epoch)
        group.refreshed_in_epoch = epoch
        if group.has_partition_metadata:
            update.records.append(partition_metadata_tombstone(group.group_id))
        return epoch

    def compute_target(self, update: Update, epoch: int) -> TargetOf:
        """The member's target: of `epoch` if it is time to compute that, else the last one."""
        group, new = update.group, update.new
        environment = self._table.environment
        now_ms = self._table.now_ms()
        interval_ms = environment.group_config(group.group_id).assignment_interval_ms
        if group.head.assignment_epoch >= epoch or not is_due(group, interval_ms, now_ms):
            return TargetOf(group.head.assignment_epoch, group.target(new.member_id, new.instance_id))
        assignor = group.subscriptions.preferred_assignor(self.default_assignor, update.old, new)
        topics = environment.image().topics
        records, target = next_targets(group, new, epoch, ASSIGNORS[assignor], topics, now_ms)
        _log.info("group %s: target for epoch %d by the %s assignor", group.group_id, epoch, assignor)
        update.records.extend(records)
        return target

    def reconcile(
        self, update: Update, target: TargetOf, *, subscription_changed: bool, owned: Owned | None
    ) -> ConsumerMember:
        """The member one step closer to its target."""
        group, new = update.group, update.new
        if not subscription_changed and new.is_reconciled_to(target.epoch):
            return new
        step = Step(
            target_epoch=target.epoch,
            target=target.target,
            subscribed=topic_ids(group, new, self._table.environment.image().topics),
            subscription_changed=subscription_changed,
            owned=owned,
            holding_epoch=group.holding_epoch,
        )
        reconciled = next_step(new, step)
        if reconciled != new:
            update.records.append(assignment_record(group.group_id, reconciled))
            self._sessions.follow_revocation(group.group_id, reconciled)
        return reconciled

    @property
    def default_assignor(self) -> str:
        """What serves groups whose members ask for none."""
        return self._table.options.consumer_assignors[0]

    def _is_refresh_due(self, group: ConsumerGroup, regexes: dict[str, int], is_new: bool) -> bool:
        if group.group_id in self._resolving:
            return False
        now_ms = self._table.now_ms()
        last = next(iter(group.regexes.values()), None)
        if last is None:
            return True
        if now_ms <= last.timestamp_ms + REFRESH_PAUSE_MS:
            return False
        return (
            is_new
            or len(regexes) != len(group.regexes)
            or last.version < self.newest_topics_version
            or now_ms > last.timestamp_ms + self._table.options.consumer_regex_refresh_interval_ms
        )

    def _resolve(self, group_id: str, regexes: dict[str, int], may_describe: Callable[[str], bool]) -> None:
        image = self._table.environment.image()
        resolution = Resolution(regexes, image, may_describe, self._table.now_ms())
        self._resolving[group_id] = resolution
        self._continue_resolving(group_id, resolution)

    def _continue_resolving(self, group_id: str, resolution: Resolution) -> None:
        timers = self._table.context.timers
        timers.schedule(f"regex-{group_id}", 0, lambda: self._run_resolution(group_id, resolution))

    def _run_resolution(self, group_id: str, resolution: Resolution) -> CoordinatorResult[None]:
        clock = self._table.context.clock
        until_ms = clock.monotonic_ms() + _SLICE_MS
        if not resolution.run(lambda: clock.monotonic_ms() >= until_ms):
            self._continue_resolving(group_id, resolution)
            return NOTHING
        del self._resolving[group_id]
        group = self._table.consumer(group_id)
        return NOTHING if group is None else CoordinatorResult(self._resolved(group, resolution), None)

    def _resolved(self, group: ConsumerGroup, resolution: Resolution) -> list[CoordinatorRecord]:
        """Records of what the expressions match now, and of a new epoch if that makes a difference."""
        records: list[CoordinatorRecord] = []
        topics = dict(group.subscriptions.topics)
        bump = False
        for regex, resolved in resolution.result().items():
            if regex not in group.subscriptions.regexes:
                continue
            known = group.regexes.get(regex)
            before = known.topics if known is not None else ()
            if before != resolved.topics:
                bump = True
                count_all(topics, before, -1)
                count_all(topics, resolved.topics, 1)
            records.append(regex_record(group.group_id, regex, resolved))
        metadata_hash = self._hashes.group_hash(topics)
        if bump or metadata_hash != group.head.metadata_hash:
            epoch = group.head.epoch + 1
            records.append(epoch_record(group.group_id, epoch, metadata_hash))
            group.refreshed_in_epoch = epoch
            _log.info("group %s: epoch %d, for its expressions match other topics", group.group_id, epoch)
        return records
