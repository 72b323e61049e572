"""Finding records by timestamp, and aborted transactions by range: what ListOffsets and Fetch ask a log."""

from __future__ import annotations

from odradek.storage.batches import StoredBatch, check_crc, scan
from odradek.storage.log_results import TimestampOffset
from odradek.storage.segment import Segment
from odradek.storage.segments import Segments
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.records.batch import iter_records
from odradek.wire.records.record import Record


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


def aborted_transactions(segments: Segments, from_offset: int, upto_offset: int) -> list[AbortedTransaction]:
    """The aborted transactions that a reader of [from_offset, upto_offset) has to leave out."""
    found = []
    for segment in segments.from_offset(from_offset):
        part, is_complete = segment.txn_index.collect(from_offset, upto_offset)
        found.extend(part)
        if is_complete:
            break
    return found


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
