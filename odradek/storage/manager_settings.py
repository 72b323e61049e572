"""What the broker's configuration says about all logs."""

from __future__ import annotations

from typing import NamedTuple

from odradek.storage.environment import DEFAULT_PRODUCER_EXPIRATION_MS
from odradek.storage.log_cleaner import CleanerSettings
from odradek.storage.log_config import INFINITE


class LogManagerSettings(NamedTuple):
    """The broker's settings for all logs, by Kafka's names; milliseconds."""

    retention_check_interval_ms: int = 300_000
    """`log.retention.check.interval.ms`"""
    initial_delay_ms: int = 30_000
    """`log.initial.task.delay.ms`: when background work begins"""
    flush_check_interval_ms: int = INFINITE
    """`log.flush.scheduler.interval.ms`"""
    recovery_point_interval_ms: int = 60_000
    """`log.flush.offset.checkpoint.interval.ms`"""
    log_start_interval_ms: int = 60_000
    """`log.flush.start.offset.checkpoint.interval.ms`"""
    high_watermark_interval_ms: int = 5_000
    """`replica.high.watermark.checkpoint.interval.ms`"""
    producer_expiration_ms: int = DEFAULT_PRODUCER_EXPIRATION_MS
    """`producer.id.expiration.ms`"""
    producer_expiration_check_ms: int = 600_000
    """`producer.id.expiration.check.interval.ms`"""
    file_delete_delay_ms: int = 60_000
    """`log.segment.delete.delay.ms`: how long a deleted topic's directory stays"""
    cordoned_log_dirs: tuple[str, ...] = ()
    """`cordoned.log.dirs`"""
    max_open_files: int | None = None
    """What the file system allows by default"""
    cleaner: CleanerSettings = CleanerSettings()
