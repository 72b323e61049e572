"""What a broker's configuration says to its log manager."""

from __future__ import annotations

from odradek.config import BrokerConfig
from odradek.storage.log_cleaner import CleanerSettings
from odradek.storage.manager_settings import LogManagerSettings


def log_settings(config: BrokerConfig) -> LogManagerSettings:
    """The properties `log.*` that concern all logs together."""
    return LogManagerSettings(
        retention_check_interval_ms=config.int_("log.retention.check.interval.ms"),
        initial_delay_ms=config.int_("log.initial.task.delay.ms"),
        flush_check_interval_ms=config.int_("log.flush.scheduler.interval.ms"),
        recovery_point_interval_ms=config.int_("log.flush.offset.checkpoint.interval.ms"),
        log_start_interval_ms=config.int_("log.flush.start.offset.checkpoint.interval.ms"),
        high_watermark_interval_ms=config.int_("replica.high.watermark.checkpoint.interval.ms"),
        producer_expiration_ms=config.int_("producer.id.expiration.ms"),
        producer_expiration_check_ms=config.int_("producer.id.expiration.check.interval.ms"),
        file_delete_delay_ms=config.int_("log.segment.delete.delay.ms"),
        cordoned_log_dirs=_cordoned(config),
        cleaner=CleanerSettings(
            is_enabled=config.bool_("log.cleaner.enable"),
            threads=config.int_("log.cleaner.threads"),
            dedupe_buffer_bytes=config.int_("log.cleaner.dedupe.buffer.size"),
            io_buffer_bytes=config.int_("log.cleaner.io.buffer.size"),
            max_bytes_per_second=config.double("log.cleaner.io.max.bytes.per.second"),
            load_factor=config.double("log.cleaner.io.buffer.load.factor"),
            backoff_ms=config.int_("log.cleaner.backoff.ms"),
        ),
    )


def _cordoned(config: BrokerConfig) -> tuple[str, ...]:
    """The log directories that get no new partitions (KIP-1066)."""
    named = config.list_("cordoned.log.dirs")
    return tuple(path.rstrip("/") or "/" for path in config.log_dirs if path in named or "*" in named)
