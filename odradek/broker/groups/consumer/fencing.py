"""Members who leave a consumer group, or whose time is over."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.groups.consumer.group import NEVER_ASSIGNED_MS, ConsumerGroup
from odradek.broker.groups.consumer.member import ConsumerMember
from odradek.broker.groups.consumer.metadata_hash import TopicHashes
from odradek.broker.groups.consumer.migration import Migration
from odradek.broker.groups.consumer.records import (
    assignment_epoch_record,
    epoch_record,
    member_tombstones,
    regex_tombstone,
)
from odradek.broker.groups.consumer.sessions import Sessions
from odradek.broker.groups.consumer.subscriptions import count_all
from odradek.broker.groups.table import NOTHING

_log = logging.getLogger(__name__)


class Fencing:
    """Takes members out of the groups of one shard."""

    def __init__(self, hashes: TopicHashes, migration: Migration, sessions: Sessions) -> None:
        self._hashes = hashes
        self._migration = migration
        self._sessions = sessions
        sessions.fence = lambda group, member: self.fence(group, [member])

    def fence(self, group: ConsumerGroup, members: Sequence[ConsumerMember]) -> CoordinatorResult[None]:
        """Take members out; a group of which only members of the classic protocol are left becomes a classic one."""
        if not members:
            return NOTHING
        if self._migration.can_downgrade(group, members):
            reason = "the last member of the consumer protocol is gone"
            return CoordinatorResult(
                self._migration.downgrade(group, members, rebalance_for=reason), None, replay=False
            )
        return CoordinatorResult(self._remove(group, members), None)

    def _remove(self, group: ConsumerGroup, members: Sequence[ConsumerMember]) -> list[CoordinatorRecord]:
        group_id = group.group_id
        records: list[CoordinatorRecord] = []
        users: dict[str, int] = {}
        for member in members:
            records += member_tombstones(group_id, member.member_id)
            count_all(users, (member.topic_regex,) if member.topic_regex else (), 1)
        unused = [regex for regex, count in users.items() if group.subscriptions.regexes.get(regex) == count]
        records += [regex_tombstone(group_id, regex) for regex in unused]
        resolved = {regex: found for regex in unused if (found := group.regexes.get(regex)) is not None}
        topics = group.subscriptions.topics_after([(member, None) for member in members], resolved)
        epoch = group.head.epoch + 1
        records.append(epoch_record(group_id, epoch, self._hashes.group_hash(topics)))
        if len(members) == len(group.members):
            # Nobody is there whose target could be too old: the next member's is computed at once.
            records.append(assignment_epoch_record(group_id, epoch, NEVER_ASSIGNED_MS))
        _log.info("group %s: epoch %d, without %s", group_id, epoch, [member.member_id for member in members])
        for member in members:
            self._sessions.cancel(group_id, member.member_id)
        return records
