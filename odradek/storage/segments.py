"""The segments of one log, in order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from odradek.storage.segment import Segment


class Segments:
    """Segments by base offset. The last one is the active one."""

    __slots__ = ("_base_offsets", "_segments", "active")

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._base_offsets = [segment.base_offset for segment in segments]
        self.active = segments[-1]

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    @property
    def first(self) -> Segment:
        """The oldest."""
        return self._segments[0]

    def base_offsets(self) -> list[int]:
        """All base offsets, ascending."""
        return list(self._base_offsets)

    def size_bytes(self) -> int:
        """Bytes of all batches."""
        return sum(segment.size for segment in self._segments)

    def floor(self, offset: int) -> int:
        """The number of the segment that `offset` falls into; -1 if it is before the first."""
        if offset >= self.active.base_offset:
            return len(self._segments) - 1
        return bisect_right(self._base_offsets, offset) - 1

    def at(self, index: int) -> Segment:
        """The segment of that number."""
        return self._segments[index]

    def from_offset(self, offset: int) -> list[Segment]:
        """The segment that `offset` falls into, and all behind it."""
        return self._segments[max(self.floor(offset), 0) :]

    def add(self, segment: Segment) -> None:
        """Add one behind all others: the new active segment."""
        self._segments.append(segment)
        self._base_offsets.append(segment.base_offset)
        self.active = segment

    def remove_first(self, count: int) -> list[Segment]:
        """Take out the oldest `count`; at least one stays."""
        removed = self._segments[:count]
        del self._segments[:count]
        del self._base_offsets[:count]
        return removed

    def remove_from(self, base_offset: int) -> list[Segment]:
        """Take out those that begin at `base_offset` or behind. The caller sees to it that there is a last one."""
        index = bisect_left(self._base_offsets, base_offset)
        removed = self._segments[index:]
        del self._segments[index:]
        del self._base_offsets[index:]
        if self._segments:
            self.active = self._segments[-1]
        return removed

    def replace(self, old: list[Segment], new: Segment) -> None:
        """Put `new` in the place of neighbours, which the active segment is none of."""
        index = self._segments.index(old[0])
        self._segments[index : index + len(old)] = [new]
        self._base_offsets[index : index + len(old)] = [new.base_offset]
