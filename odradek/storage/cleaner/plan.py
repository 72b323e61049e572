"""What a cleaning is told, and what it tells: values that go to another process and back as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from odradek.storage.txn_index import AbortedTransaction


class CleanerLimits(NamedTuple):
    """What a cleaning may take."""

    dedupe_buffer_bytes: int = 128 * 1024 * 1024
    """For the map of keys."""
    load_factor: float = 0.9
    io_buffer_bytes: int = 256 * 1024
    """What is written at once."""
    bytes_per_second: float = float(2**63)
    """Read and written together."""


class LastRecord(NamedTuple):
    """What an active producer wrote last: its sequence and epoch must not be lost."""

    offset: int
    """Of its last data record, -1 if it wrote a marker only."""
    producer_epoch: int


class SegmentToClean(NamedTuple):
    """A closed segment; `size` is the bytes of its batches."""

    base_offset: int
    size: int


class CleaningPlan(NamedTuple):
    """A cleaning of one log. Offsets from `first_dirty_offset` to `first_uncleanable_offset` were not looked at yet."""

    directory: str
    segments: tuple[SegmentToClean, ...]
    """All that begin before `first_uncleanable_offset`, ascending."""
    first_dirty_offset: int
    first_uncleanable_offset: int
    high_watermark: int
    now_ms: int
    delete_retention_ms: int
    max_record_bytes: int
    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int
    aborted: tuple[AbortedTransaction, ...]
    """The aborted transactions that reach into these segments."""
    producers: Mapping[int, LastRecord]
    """The active producers, by producer id."""
    limits: CleanerLimits

    def to_json(self) -> str:
        """One line."""
        return json.dumps([*self[:-2], list(self.producers.items()), self.limits])

    @classmethod
    def from_json(cls, text: str) -> CleaningPlan:
        """What `to_json` made."""
        directory, segments, *numbers, aborted, producers, limits = json.loads(text)
        fields = [
            directory,
            tuple(SegmentToClean(*each) for each in segments),
            *numbers,
            tuple(AbortedTransaction(*each) for each in aborted),
            {producer_id: LastRecord(*last) for producer_id, last in producers},
            CleanerLimits(*limits),
        ]
        return cls(*fields)


class CleanedSegment(NamedTuple):
    """A `.cleaned` segment that is whole and synced: it takes the place of the segments that begin at `replaced`."""

    replaced: tuple[int, ...]
    """Base offsets; the first is the new segment's as well."""
    size: int
    max_timestamp_ms: int
    offset_of_max_timestamp: int


class CleaningResult(NamedTuple):
    """What a cleaning did. `end_offset` is the first offset that is dirty still."""

    end_offset: int
    bytes_read: int
    bytes_written: int
    keyless: int
    """Records that went because they have no key."""
