"""State that is read as of the last committed offset while it is already changed ahead of that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar, cast

K = TypeVar("K")
V = TypeVar("V")


class _Missing:
    """What stood under a key that was not there."""


_MISSING = _Missing()


class Timeline:
    """Remembers what uncommitted changes replaced, in the order of the log.

    `next_offset` is the offset that changes made now belong to; a change is committed once the offset it belongs
    to is below `committed_end`. Changes from `mark` on can be taken back, which is for operations whose records
    could not be appended.
    """

    def __init__(self) -> None:
        self.next_offset = 0
        self.committed_end = 0
        self._changes: deque[_Change] = deque()

    @property
    def is_settled(self) -> bool:
        """Whether everything is committed."""
        return not self._changes

    def commit(self, end: int) -> None:
        """Everything below `end` is committed."""
        self.committed_end = max(self.committed_end, end)
        while self._changes and self._changes[0].offset < self.committed_end:
            change = self._changes.popleft()
            change.map.forget_oldest(change.key)

    def mark(self) -> int:
        """A place to which `revert` can go back, as long as nothing is committed in between."""
        return len(self._changes)

    def revert(self, mark: int) -> None:
        """Take back what was changed since `mark`."""
        while len(self._changes) > mark:
            change = self._changes.pop()
            change.map.take_back(change.key)

    def changed(self, map_: TimelineMap[K, V], key: K) -> bool:
        """Note a change of `key`; returns whether its old value has to be kept."""
        if self.next_offset < self.committed_end:
            return False
        self._changes.append(_Change(self.next_offset, cast("TimelineMap[object, object]", map_), key))
        return True


class _Change:
    __slots__ = ("key", "map", "offset")

    def __init__(self, offset: int, map_: TimelineMap[object, object], key: object) -> None:
        self.offset = offset
        self.map = map_
        self.key = key


class TimelineMap(Generic[K, V]):
    """A mapping with two views: the latest, and (methods that say so) the committed one.

    Costs what a dict costs once everything is committed. Values are replaced, never changed in place, where the
    committed view matters.
    """

    __slots__ = ("_history", "_latest", "_timeline")

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._latest: dict[K, V] = {}
        self._history: dict[K, deque[V | _Missing]] = {}

    def __len__(self) -> int:
        return len(self._latest)

    def __contains__(self, key: object) -> bool:
        return key in self._latest

    def __iter__(self) -> Iterator[K]:
        return iter(self._latest)

    @property
    def is_gone(self) -> bool:
        """Whether neither view holds anything, so that the map itself can be dropped."""
        return not self._latest and not self._history

    def get(self, key: K) -> V | None:
        """The latest value, or None."""
        return self._latest.get(key)

    def items(self) -> list[tuple[K, V]]:
        """The latest content."""
        return list(self._latest.items())

    def values(self) -> list[V]:
        """The latest values."""
        return list(self._latest.values())

    def set(self, key: K, value: V) -> None:
        """Put `value` under `key`."""
        self._keep(key)
        self._latest[key] = value

    def remove(self, key: K) -> V | None:
        """Take `key` out and return what it held; None if it is not there."""
        if key not in self._latest:
            return None
        self._keep(key)
        return self._latest.pop(key)

    def committed(self, key: K) -> V | None:
        """The value as of the last committed offset, or None."""
        history = self._history.get(key)
        if history is None:
            return self._latest.get(key)
        value = history[0]
        return None if isinstance(value, _Missing) else value

    def committed_items(self) -> list[tuple[K, V]]:
        """The content as of the last committed offset."""
        if not self._history:
            return list(self._latest.items())
        items = [(key, value) for key, value in self._latest.items() if key not in self._history]
        for key, history in self._history.items():
            value = history[0]
            if not isinstance(value, _Missing):
                items.append((key, value))
        return items

    def forget_oldest(self, key: K) -> None:
        """The oldest change of `key` is committed (called by the timeline)."""
        history = self._history[key]
        history.popleft()
        if not history:
            del self._history[key]

    def take_back(self, key: K) -> None:
        """Undo the newest change of `key` (called by the timeline)."""
        history = self._history[key]
        value = history.pop()
        if isinstance(value, _Missing):
            self._latest.pop(key, None)
        else:
            self._latest[key] = value
        if not history:
            del self._history[key]

    def _keep(self, key: K) -> None:
        if self._timeline.changed(self, key):
            self._history.setdefault(key, deque()).append(self._latest.get(key, _MISSING))
