"""A log's settings are Kafka's topic settings, by name and by default."""

from __future__ import annotations

from odradek.config.topic import TOPIC_KEYS
from odradek.storage.log_config import LogConfig


def test_the_defaults_are_kafkas() -> None:
    assert LogConfig.from_values({key.name: key.default for key in TOPIC_KEYS}) == LogConfig()


def test_values_go_to_the_fields_of_their_names() -> None:
    config = LogConfig.from_values(
        {"segment.bytes": 5, "cleanup.policy": ("compact", "delete"), "message.timestamp.type": "LogAppendTime"}
    )
    assert (config.segment_bytes, config.is_compacted, config.is_deleted_by_retention) == (5, True, True)
    assert config.uses_log_append_time


def test_the_internal_size_of_segments_comes_before_the_public_one() -> None:
    assert LogConfig.from_values({"segment.bytes": 1_048_576, "internal.segment.bytes": 100}).segment_bytes == 100
    assert (
        LogConfig.from_values({"segment.bytes": 1_048_576, "internal.segment.bytes": None}).segment_bytes == 1_048_576
    )


def test_a_compacted_segment_rolls_before_compaction_has_to_reach_it() -> None:
    assert LogConfig(segment_ms=100, max_compaction_lag_ms=50).max_segment_ms == 100
    assert LogConfig(segment_ms=100, max_compaction_lag_ms=50, cleanup_policy=("compact",)).max_segment_ms == 50
