"""Keys of topics and of client-metrics subscriptions."""

from __future__ import annotations

from odradek.config.names import BOOLEAN, DOUBLE, INT, LIST, LONG, LONG_MAX, MEDIUM, STRING
from odradek.config.types import ConfigKey
from odradek.config.validators import GZIP_LEVEL, THROTTLED_REPLICAS, ListOf, OneOf, at_least, between

TOPIC_KEYS: tuple[ConfigKey, ...] = (
    ConfigKey("cleanup.policy", LIST, ("delete",), MEDIUM, ListOf("compact", "delete", allow_empty=True)),
    ConfigKey("compression.gzip.level", INT, -1, MEDIUM, GZIP_LEVEL),
    ConfigKey("compression.lz4.level", INT, 9, MEDIUM, between(1, 17)),
    ConfigKey(
        "compression.type",
        STRING,
        "producer",
        MEDIUM,
        OneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
    ),
    ConfigKey("compression.zstd.level", INT, 3, MEDIUM, between(-131_072, 22)),
    ConfigKey("delete.retention.ms", LONG, 86_400_000, MEDIUM, at_least(0)),
    ConfigKey("errors.deadletterqueue.group.enable", BOOLEAN, False, MEDIUM),
    ConfigKey("file.delete.delay.ms", LONG, 60_000, MEDIUM, at_least(0)),
    ConfigKey("flush.messages", LONG, LONG_MAX, MEDIUM, at_least(1)),
    ConfigKey("flush.ms", LONG, LONG_MAX, MEDIUM, at_least(0)),
    ConfigKey("follower.replication.throttled.replicas", LIST, (), MEDIUM, THROTTLED_REPLICAS),
    ConfigKey("index.interval.bytes", INT, 4096, MEDIUM, at_least(0)),
    ConfigKey("internal.segment.bytes", INT, None, MEDIUM, internal=True),
    ConfigKey("leader.replication.throttled.replicas", LIST, (), MEDIUM, THROTTLED_REPLICAS),
    ConfigKey("local.retention.bytes", LONG, -2, MEDIUM, at_least(-2)),
    ConfigKey("local.retention.ms", LONG, -2, MEDIUM, at_least(-2)),
    ConfigKey("max.compaction.lag.ms", LONG, LONG_MAX, MEDIUM, at_least(1)),
    ConfigKey("max.decompressed.message.bytes", INT, 2_147_483_639, MEDIUM, between(1, 2_147_483_639)),
    ConfigKey("max.message.bytes", INT, 1_048_588, MEDIUM, at_least(0)),
    ConfigKey("message.timestamp.after.max.ms", LONG, 3_600_000, MEDIUM, at_least(0)),
    ConfigKey("message.timestamp.before.max.ms", LONG, LONG_MAX, MEDIUM, at_least(0)),
    ConfigKey("message.timestamp.type", STRING, "CreateTime", MEDIUM, OneOf("CreateTime", "LogAppendTime")),
    ConfigKey("min.cleanable.dirty.ratio", DOUBLE, 0.5, MEDIUM, between(0, 1)),
    ConfigKey("min.compaction.lag.ms", LONG, 0, MEDIUM, at_least(0)),
    ConfigKey("min.insync.replicas", INT, 1, MEDIUM, at_least(1)),
    ConfigKey("preallocate", BOOLEAN, False, MEDIUM),
    ConfigKey("remote.copy.lag.bytes", LONG, -1, MEDIUM, at_least(-1)),
    ConfigKey("remote.copy.lag.ms", LONG, 0, MEDIUM, at_least(-1)),
    ConfigKey("remote.log.copy.disable", BOOLEAN, False, MEDIUM),
    ConfigKey("remote.log.delete.on.disable", BOOLEAN, False, MEDIUM),
    ConfigKey("remote.storage.enable", BOOLEAN, False, MEDIUM),
    ConfigKey("retention.bytes", LONG, -1, MEDIUM),
    ConfigKey("retention.ms", LONG, 604_800_000, MEDIUM, at_least(-1)),
    ConfigKey("segment.bytes", INT, 1_073_741_824, MEDIUM, at_least(1_048_576)),
    ConfigKey("segment.index.bytes", INT, 10_485_760, MEDIUM, at_least(4)),
    ConfigKey("segment.jitter.ms", LONG, 0, MEDIUM, at_least(0)),
    ConfigKey("segment.ms", LONG, 604_800_000, MEDIUM, at_least(1)),
    ConfigKey("unclean.leader.election.enable", BOOLEAN, False, MEDIUM),
)

CLIENT_METRICS_KEYS: tuple[ConfigKey, ...] = (
    ConfigKey("interval.ms", INT, 300_000, MEDIUM),
    ConfigKey("match", LIST, (), MEDIUM, ListOf(allow_empty=True)),
    ConfigKey("metrics", LIST, (), MEDIUM, ListOf(allow_empty=True)),
)
