"""Which log is cleaned next, and what of it: decided from what logs know of their segments (KIP-58, KIP-354)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from odradek.storage.cleaner.plan import CleanerLimits, CleaningPlan, LastRecord, SegmentToClean
from odradek.storage.log import Log
from odradek.storage.log_config import INFINITE
from odradek.storage.segment import Segment

_log = logging.getLogger(__name__)


class LogToClean(NamedTuple):
    """A compacted log that has closed segments, and how dirty these are."""

    log: Log
    first_dirty_offset: int
    first_uncleanable_offset: int
    """Where the first segment begins that must not be cleaned yet."""
    clean_bytes: int
    cleanable_bytes: int
    is_overdue: bool
    """Dirty records are older than `max.compaction.lag.ms`."""

    @property
    def ratio(self) -> float:
        """Cleanable bytes to all that would be read, 0 to 1."""
        total = self.clean_bytes + self.cleanable_bytes
        return self.cleanable_bytes / total if total else 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is dirty enough, or has to be cleaned anyway."""
        if self.is_overdue and self.cleanable_bytes > 0:
            return True
        return self.ratio > self.log.config.min_cleanable_dirty_ratio


def look_at(log: Log, now_ms: int) -> LogToClean | None:
    """What could be cleaned of a log; None for one with nothing but its active segment. Raises KafkaError, OSError."""
    segments = log.segments
    if len(segments) == 1:
        return None
    dirty = _first_dirty_offset(log)
    # What is not synced must not supersede what is: a power cut would take both.
    limit = min(log.last_stable_offset, segments.active.base_offset, log.recovery_point)
    if log.config.min_compaction_lag_ms > 0:
        lagging = _first_younger(log, dirty, now_ms - log.config.min_compaction_lag_ms)
        limit = limit if lagging is None else min(limit, lagging)
    uncleanable = segments.at(max(segments.floor(max(dirty, limit)), 0)).base_offset
    clean_bytes = cleanable_bytes = 0
    first_dirty_base = segments.at(max(segments.floor(min(dirty, uncleanable)), 0)).base_offset
    for segment in segments:
        if segment.base_offset < dirty:
            clean_bytes += segment.size
        if first_dirty_base <= segment.base_offset < uncleanable:
            cleanable_bytes += segment.size
    return LogToClean(log, dirty, uncleanable, clean_bytes, cleanable_bytes, _is_overdue(log, dirty, now_ms))


def dirtiest(candidates: Iterable[LogToClean]) -> LogToClean | None:
    """The one of those that are due with the largest share of dirty bytes."""
    return max((candidate for candidate in candidates if candidate.is_due), key=lambda each: each.ratio, default=None)


def plan_for(chosen: LogToClean, now_ms: int, limits: CleanerLimits) -> CleaningPlan:
    """What whoever cleans has to know. Raises KafkaError."""
    log, config = chosen.log, chosen.log.config
    end_offset = chosen.first_uncleanable_offset
    segments = [segment for segment in log.segments if segment.base_offset < end_offset]
    return CleaningPlan(
        directory=log.directory,
        segments=tuple(SegmentToClean(segment.base_offset, segment.size) for segment in segments),
        first_dirty_offset=chosen.first_dirty_offset,
        first_uncleanable_offset=end_offset,
        high_watermark=log.high_watermark,
        now_ms=now_ms,
        delete_retention_ms=config.delete_retention_ms,
        max_record_bytes=config.max_decompressed_message_bytes,
        segment_bytes=config.segment_bytes,
        segment_index_bytes=config.segment_index_bytes,
        index_interval_bytes=config.index_interval_bytes,
        aborted=tuple(log.aborted_transactions(segments[0].base_offset, end_offset)),
        producers={
            producer.producer_id: LastRecord(producer.last_offset, producer.producer_epoch)
            for producer in log.producers.active_producers()
            if producer.last_offset < end_offset
        },
        limits=limits,
    )


def _first_dirty_offset(log: Log) -> int:
    """The offset that the checkpoint says, unless the log does not have it (any more)."""
    cleaned = log.cleaned_offset
    start = log.log_start_offset
    if cleaned is None:
        return start
    if start <= cleaned <= log.log_end_offset:
        return cleaned
    if cleaned > log.log_end_offset or not log.config.is_deleted_by_retention:
        _log.warning("%s is cleaned from its start %d on, for it does not have %d", log.topic_partition, start, cleaned)
    log.cleaned_offset = start
    return start


def _dirty_closed(log: Log, dirty: int) -> list[Segment]:
    return [segment for segment in log.segments.from_offset(dirty) if segment is not log.segments.active]


def _first_younger(log: Log, dirty: int, oldest_ms: int) -> int | None:
    """Where the first dirty segment begins that has a record younger than `min.compaction.lag.ms`."""
    for segment in _dirty_closed(log, dirty):
        latest_ms = segment.max_timestamp_ms
        if (latest_ms if latest_ms >= 0 else segment.created_ms) > oldest_ms:
            return segment.base_offset
    return None


def _is_overdue(log: Log, dirty: int, now_ms: int) -> bool:
    max_lag_ms = log.config.max_compaction_lag_ms
    if max_lag_ms >= INFINITE:
        return False
    return any(0 < segment.first_timestamp_ms < now_ms - max_lag_ms for segment in _dirty_closed(log, dirty))
