"""The settings of one log: a topic's configuration, with Kafka's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from odradek.config.types import ConfigValue

INFINITE = 2**63 - 1
INT_MAX = 2**31 - 1
MAX_DECOMPRESSED_MESSAGE_BYTES = 2**31 - 9
"""No limit: what Java could allocate at all."""

_DAY_MS = 24 * 60 * 60 * 1000
_NAMES = {
    "segment_bytes": "segment.bytes",
    "segment_ms": "segment.ms",
    "segment_jitter_ms": "segment.jitter.ms",
    "segment_index_bytes": "segment.index.bytes",
    "index_interval_bytes": "index.interval.bytes",
    "retention_ms": "retention.ms",
    "retention_bytes": "retention.bytes",
    "cleanup_policy": "cleanup.policy",
    "message_timestamp_type": "message.timestamp.type",
    "message_timestamp_before_max_ms": "message.timestamp.before.max.ms",
    "message_timestamp_after_max_ms": "message.timestamp.after.max.ms",
    "max_message_bytes": "max.message.bytes",
    "max_decompressed_message_bytes": "max.decompressed.message.bytes",
    "compression_type": "compression.type",
    "compression_gzip_level": "compression.gzip.level",
    "compression_lz4_level": "compression.lz4.level",
    "compression_zstd_level": "compression.zstd.level",
    "flush_messages": "flush.messages",
    "flush_ms": "flush.ms",
    "file_delete_delay_ms": "file.delete.delay.ms",
    "min_insync_replicas": "min.insync.replicas",
    "unclean_leader_election_enable": "unclean.leader.election.enable",
    "min_compaction_lag_ms": "min.compaction.lag.ms",
    "max_compaction_lag_ms": "max.compaction.lag.ms",
    "min_cleanable_dirty_ratio": "min.cleanable.dirty.ratio",
    "delete_retention_ms": "delete.retention.ms",
}


class LogConfig(NamedTuple):
    """What a log needs to know. Sizes are bytes, times milliseconds, -1 is 'no limit' where Kafka says so."""

    segment_bytes: int = 1024 * 1024 * 1024
    segment_ms: int = 7 * _DAY_MS
    segment_jitter_ms: int = 0
    segment_index_bytes: int = 10 * 1024 * 1024
    index_interval_bytes: int = 4096
    retention_ms: int = 7 * _DAY_MS
    retention_bytes: int = -1
    cleanup_policy: tuple[str, ...] = ("delete",)
    message_timestamp_type: str = "CreateTime"
    message_timestamp_before_max_ms: int = INFINITE
    message_timestamp_after_max_ms: int = 3_600_000
    max_message_bytes: int = 1_048_588
    max_decompressed_message_bytes: int = MAX_DECOMPRESSED_MESSAGE_BYTES
    compression_type: str = "producer"
    compression_gzip_level: int = -1
    compression_lz4_level: int = 9
    compression_zstd_level: int = 3
    flush_messages: int = INFINITE
    flush_ms: int = INFINITE
    file_delete_delay_ms: int = 60_000
    min_insync_replicas: int = 1
    unclean_leader_election_enable: bool = False
    min_compaction_lag_ms: int = 0
    max_compaction_lag_ms: int = INFINITE
    min_cleanable_dirty_ratio: float = 0.5
    delete_retention_ms: int = _DAY_MS

    @classmethod
    def from_values(cls, values: Mapping[str, ConfigValue]) -> LogConfig:
        """From a topic's settings by Kafka's names, parsed already; what is missing has Kafka's default.

        `internal.segment.bytes`, which tests set, comes before `segment.bytes`, which has a lower limit (KIP-1030).
        """
        known: dict[str, object] = {}
        for field, name in _NAMES.items():
            value = values.get(name)
            if value is not None:
                known[field] = value
        segment_bytes = values.get("internal.segment.bytes")
        if segment_bytes is not None:
            known["segment_bytes"] = segment_bytes
        return cls(**known)  # type: ignore[arg-type] # the values were parsed to these types with the same table

    @property
    def is_compacted(self) -> bool:
        """Whether `cleanup.policy` has compact."""
        return "compact" in self.cleanup_policy

    @property
    def is_deleted_by_retention(self) -> bool:
        """Whether `cleanup.policy` has delete."""
        return "delete" in self.cleanup_policy

    @property
    def uses_log_append_time(self) -> bool:
        """Whether the broker stamps the records."""
        return self.message_timestamp_type == "LogAppendTime"

    @property
    def max_segment_ms(self) -> int:
        """The age at which a segment rolls: no later than compaction has to reach its records."""
        return min(self.max_compaction_lag_ms, self.segment_ms) if self.is_compacted else self.segment_ms
