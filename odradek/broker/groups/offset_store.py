"""The committed offsets of one shard's groups, and those of transactions that have not ended."""

from __future__ import annotations

from odradek.broker.coordinator.result import NO_PRODUCER_ID
from odradek.broker.coordinator.timeline import Timeline, TimelineMap
from odradek.broker.groups.committed_offset import CommittedOffset

TopicAndPartition = tuple[str, int]
Offsets = TimelineMap[TopicAndPartition, CommittedOffset]


class OffsetStore:
    """Changed by replay only."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._groups: dict[str, Offsets] = {}
        self._pending: dict[int, dict[str, dict[TopicAndPartition, CommittedOffset]]] = {}
        """By producer id and group: what becomes committed if the transaction does."""
        self._unstable: dict[str, dict[TopicAndPartition, int]] = {}
        """By group: in how many unfinished transactions each offset is committed."""

    def replay(
        self, group_id: str, key: TopicAndPartition, committed: CommittedOffset | None, producer_id: int
    ) -> None:
        """An offset was committed, committed inside a transaction (`producer_id`), or removed (None)."""
        if committed is None:
            self._remove(group_id, key)
        elif producer_id == NO_PRODUCER_ID:
            self._put(group_id, key, committed)
        else:
            pending = self._pending.setdefault(producer_id, {}).setdefault(group_id, {})
            if key not in pending:
                self._count(group_id, key, 1)
            pending[key] = committed

    def replay_end_of_transaction(self, producer_id: int, *, committed: bool) -> None:
        """The transaction of `producer_id` ended.

        Offsets that were committed outside of it after it wrote its own stay: the later record wins.
        """
        for group_id, pending in self._pending.pop(producer_id, {}).items():
            for key, offset in pending.items():
                self._count(group_id, key, -1)
                current = self.latest(group_id, key)
                if committed and (current is None or offset.record_offset > current.record_offset):
                    self._put(group_id, key, offset)

    def latest(self, group_id: str, key: TopicAndPartition) -> CommittedOffset | None:
        """The newest offset, committed to the log or not."""
        offsets = self._groups.get(group_id)
        return None if offsets is None else offsets.get(key)

    def latest_items(self, group_id: str) -> list[tuple[TopicAndPartition, CommittedOffset]]:
        """All newest offsets of a group."""
        offsets = self._groups.get(group_id)
        return [] if offsets is None else offsets.items()

    def readable(self, group_id: str, key: TopicAndPartition, *, latest: bool) -> CommittedOffset | None:
        """The offset as OffsetFetch sees it: committed to the log, or the newest."""
        offsets = self._groups.get(group_id)
        if offsets is None:
            return None
        return offsets.get(key) if latest else offsets.committed(key)

    def readable_items(self, group_id: str, *, latest: bool) -> list[tuple[TopicAndPartition, CommittedOffset]]:
        """All offsets of a group as OffsetFetch sees them."""
        offsets = self._groups.get(group_id)
        if offsets is None:
            return []
        return offsets.items() if latest else offsets.committed_items()

    def group_ids(self) -> list[str]:
        """The groups that have, or had until lately, offsets."""
        return list(self._groups)

    def has_pending(self, group_id: str) -> bool:
        """Whether an unfinished transaction has committed offsets for the group."""
        return group_id in self._unstable

    def is_pending(self, group_id: str, key: TopicAndPartition) -> bool:
        """Whether an unfinished transaction has committed this offset."""
        return key in self._unstable.get(group_id, ())

    def pending_keys(self, group_id: str | None = None) -> list[tuple[str, TopicAndPartition, CommittedOffset]]:
        """What unfinished transactions have committed, for one group or (None) for all, each key once."""
        found: dict[tuple[str, TopicAndPartition], CommittedOffset] = {}
        for groups in self._pending.values():
            for name, pending in groups.items():
                if group_id in (None, name):
                    for key, committed in pending.items():
                        found.setdefault((name, key), committed)
        return [(name, key, committed) for (name, key), committed in found.items()]

    def _count(self, group_id: str, key: TopicAndPartition, change: int) -> None:
        """A transaction has, or has no longer, an offset that is not decided."""
        counts = self._unstable.setdefault(group_id, {})
        counts[key] = counts.get(key, 0) + change
        if not counts[key]:
            del counts[key]
            if not counts:
                del self._unstable[group_id]

    def _put(self, group_id: str, key: TopicAndPartition, committed: CommittedOffset) -> None:
        offsets = self._groups.get(group_id)
        if offsets is None:
            offsets = self._groups[group_id] = TimelineMap(self._timeline)
        offsets.set(key, committed)

    def _remove(self, group_id: str, key: TopicAndPartition) -> None:
        for groups in self._pending.values() if self.is_pending(group_id, key) else ():
            if groups.get(group_id, {}).pop(key, None) is not None:
                self._count(group_id, key, -1)
        offsets = self._groups.get(group_id)
        if offsets is None:
            return
        offsets.remove(key)
        if offsets.is_gone:
            del self._groups[group_id]
