"""Finding batches by offset, records by timestamp, aborted transactions by range: what Fetch and ListOffsets ask."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from odradek.storage.batches import CorruptBatchError, StoredBatch, check_crc, scan
from odradek.storage.file_pool import FilePool
from odradek.storage.log_results import LogSlice, TimestampOffset
from odradek.storage.segment import Segment
from odradek.storage.segment_file import FileRange, SegmentFile
from odradek.storage.segments import Segments
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.records.batch import iter_records
from odradek.wire.records.record import Record

_REHEARSAL_FILES = 64
MAX_OFFSET = 2**63 - 1


def read(
    segments: Segments, offset: int, until: int | None, max_bytes: int, *, min_one_message: bool, waits: bool,
    small_bytes: int = 0,
) -> LogSlice:  # fmt: skip
    """Batches of one segment from the one that holds `offset` or comes next, at most `max_bytes`.

    They end before the batch that holds `until`, if that is given. With `min_one_message` the first is whole.
    Up to `small_bytes` are read where that waits for no disk. Raises ColdLookupError instead of waiting for a disk if
    not `waits`.
    """
    for index in range(segments.floor(offset), len(segments)):
        segment = segments.at(index)
        located = segment.locate(offset, waits=waits)
        if located is None:
            continue
        end = segment.size if until is None else _position_of(segment, until, waits)
        size = min(end - located.position, max(max_bytes, located.size) if min_one_message else max_bytes)
        if size <= 0 or (size < located.size and max_bytes < located.size):
            # A part of the first batch is of no use to anybody.
            return LogSlice(b"", segment.base_offset, located.position, 0 < max_bytes < located.size)
        file = segment.log
        records: FileRange | bytes | None = _warm(file, size, located.position) if size <= small_bytes else None
        if records is None:
            records = file.range(located.position, size) if file.may_hold() else file.read(size, located.position)
        return LogSlice(records, segment.base_offset, located.position, size < located.size)
    return nothing(segments)


def nothing(segments: Segments) -> LogSlice:
    """What a read at the end of the log finds."""
    return LogSlice(b"", segments.active.base_offset, segments.active.size)


def find_timestamp(segments: Segments, timestamp_ms: int, from_offset: int) -> TimestampOffset | None:
    """The first record at or behind `from_offset` with at least this timestamp."""
    for segment in segments:
        if segment.max_timestamp_ms >= timestamp_ms:
            found = _find_in_segment(segment, timestamp_ms, from_offset)
            if found is not None:
                return found
    return None


def find_max_timestamp(segments: Segments) -> TimestampOffset | None:
    """The first record that has the largest timestamp of all; None where no record has one."""
    latest = max(segments, key=lambda segment: segment.max_timestamp_ms)
    maximum = latest.max_timestamp_ms
    if maximum < 0:
        return None
    _, position = latest.index.lookup(latest.offset_of_max_timestamp)
    for stored in scan(latest.log, position, latest.size):
        if stored.header.max_timestamp_ms == maximum:
            for record in _records(latest, stored):
                if record.timestamp_ms == maximum:
                    return _result(stored, record)
    return None


def rehearsal(segments: Segments, timestamp_ms: int | None, from_offset: int) -> Callable[[], None]:
    """Makes `find_timestamp`, or `find_max_timestamp` for None, on copies of the segments, for another thread.

    What is wrong with the files is for the look-up itself to meet.
    """
    pool = FilePool(segments.first.fs, _REHEARSAL_FILES)
    copies = Segments([segment.copy(pool) for segment in segments])

    def rehearse() -> None:
        with contextlib.suppress(OSError, CorruptBatchError):
            if timestamp_ms is None:
                find_max_timestamp(copies)
            else:
                find_timestamp(copies, timestamp_ms, from_offset)
        for copy in copies:
            copy.close()

    return rehearse


def offset_behind(segments: Segments, part: LogSlice) -> int:
    """An offset behind all of a slice, as near as the index knows: no record of the slice has it or a later one.

    A maximum where the index ends before the slice does, for there is nothing to read behind that.
    """
    index = segments.floor(part.segment_base_offset)
    found = segments.at(index).index.offset_behind(part.position + part.size)
    if found is not None:
        return found
    return segments.at(index + 1).base_offset if index + 1 < len(segments) else MAX_OFFSET


def may_have_aborted(segments: Segments, from_offset: int) -> bool:
    """Whether any transaction that ends at `from_offset` or behind was aborted."""
    return any(segment.txn_index.entries() for segment in segments.from_offset(from_offset))


def aborted_transactions(segments: Segments, from_offset: int, upto_offset: int) -> list[AbortedTransaction]:
    """The aborted transactions that a reader of [from_offset, upto_offset) has to leave out."""
    found = []
    for segment in segments.from_offset(from_offset):
        part, is_complete = segment.txn_index.collect(from_offset, upto_offset)
        found.extend(part)
        if is_complete:
            break
    return found


def _warm(file: SegmentFile, size: int, position: int) -> bytes | None:
    """So many bytes of a file, if all of them can be had without waiting for a disk."""
    try:
        data = file.read_warm(size, position)
    except OSError:
        return None  # which is met again when they are sent
    return None if data is None or len(data) != size else bytes(data)


def _position_of(segment: Segment, offset: int, waits: bool) -> int:
    """Where the batch that holds `offset` begins, the end if it is behind the segment."""
    located = segment.locate(offset, waits=waits)
    return located.position if located is not None else segment.size


def _find_in_segment(segment: Segment, timestamp_ms: int, from_offset: int) -> TimestampOffset | None:
    _, offset = segment.time_index.lookup(timestamp_ms)
    _, position = segment.index.lookup(max(offset, from_offset))
    for stored in scan(segment.log, position, segment.size):
        if stored.header.max_timestamp_ms >= timestamp_ms and stored.header.last_offset >= from_offset:
            for record in _records(segment, stored):
                if record.timestamp_ms >= timestamp_ms and record.offset >= from_offset:
                    return _result(stored, record)
    return None


def _records(segment: Segment, stored: StoredBatch) -> list[Record]:
    batch = segment.log.read(stored.header.size_bytes, stored.position)
    check_crc(memoryview(batch), stored.header, stored.position)
    return list(iter_records(batch))


def _result(stored: StoredBatch, record: Record) -> TimestampOffset:
    return TimestampOffset(record.timestamp_ms, record.offset, stored.header.leader_epoch)
