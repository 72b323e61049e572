"""Which segments have had their time: by age, by size, and by log start offset."""

from __future__ import annotations

from collections.abc import Callable

from odradek.storage.log import Log
from odradek.storage.segment import Segment


def delete_old_segments(log: Log, now_ms: int, at_most: int | None = None) -> int:
    """Delete the oldest segments that `retention.ms`, `retention.bytes` or the log start offset let go; their number.

    Each of the three reasons lets `at_most` go at once: each segment costs the names of a few files. A segment that
    reaches to the high watermark or above stays. A log that is only compacted loses no more than what is before its
    start. Raises KafkaError KAFKA_STORAGE_ERROR.
    """
    deleted = _delete_while(log, _is_before_start(log), at_most)
    if log.config.is_deleted_by_retention:
        deleted += _delete_while(log, _is_over_size(log), at_most)
        deleted += _delete_while(log, _is_over_age(log, now_ms), at_most)
    return deleted


def _delete_while(log: Log, condition: Callable[[Segment, int], bool], at_most: int | None) -> int:
    segments = list(log.segments)
    count = 0
    for number, segment in enumerate(segments):
        is_last = number + 1 == len(segments)
        end_offset = log.log_end_offset if is_last else segments[number + 1].base_offset
        if log.high_watermark < end_offset or (is_last and segment.size == 0) or not condition(segment, end_offset):
            break
        count += 1
        if count == at_most:
            break
    if count:
        log.delete_oldest_segments(count)
    return count


def _is_before_start(log: Log) -> Callable[[Segment, int], bool]:
    def condition(segment: Segment, end_offset: int) -> bool:
        return segment is not log.segments.active and end_offset <= log.log_start_offset

    return condition


def _is_over_size(log: Log) -> Callable[[Segment, int], bool]:
    limit = log.config.retention_bytes
    excess = log.size_bytes - limit

    def condition(segment: Segment, _end_offset: int) -> bool:
        nonlocal excess
        if limit < 0 or excess < segment.size:
            return False
        excess -= segment.size
        return True

    return condition


def _is_over_age(log: Log, now_ms: int) -> Callable[[Segment, int], bool]:
    limit_ms = log.config.retention_ms

    def condition(segment: Segment, _end_offset: int) -> bool:
        if limit_ms < 0:
            return False
        latest_ms = segment.max_timestamp_ms
        return now_ms - (latest_ms if latest_ms >= 0 else segment.created_ms) > limit_ms

    return condition
