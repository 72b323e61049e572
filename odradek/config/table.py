"""The whole table: every property of Apache Kafka 4.4.0 by kind of resource, and which names stand for one another.

`tests/unit/config` compares it with Kafka's own jars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from odradek.config.group import GROUP_KEYS, GROUP_RESOURCE_KEYS
from odradek.config.log import LOG_KEYS
from odradek.config.quorum import QUORUM_KEYS
from odradek.config.remote import REMOTE_KEYS
from odradek.config.security import SECURITY_KEYS
from odradek.config.server import QUOTA_KEYS, SERVER_KEYS
from odradek.config.share import SHARE_KEYS
from odradek.config.topic import CLIENT_METRICS_KEYS, TOPIC_KEYS
from odradek.config.transaction import TRANSACTION_KEYS
from odradek.config.types import ConfigKey, ResourceType, Scope


def _by_name(*groups: Iterable[ConfigKey]) -> Mapping[str, ConfigKey]:
    return MappingProxyType({key.name: key for group in groups for key in group})


BROKER = _by_name(
    SERVER_KEYS,
    QUORUM_KEYS,
    LOG_KEYS,
    GROUP_KEYS,
    TRANSACTION_KEYS,
    SHARE_KEYS,
    SECURITY_KEYS,
    REMOTE_KEYS,
)
TOPIC = _by_name(TOPIC_KEYS)
GROUP = _by_name(GROUP_RESOURCE_KEYS)
CLIENT_METRICS = _by_name(CLIENT_METRICS_KEYS)
# What a broker takes only dynamically: it cannot stand in server.properties (KIP-73, KIP-113).
BROKER_QUOTAS = _by_name(QUOTA_KEYS)

TABLE: Mapping[ResourceType, Mapping[str, ConfigKey]] = MappingProxyType(
    {
        ResourceType.BROKER: BROKER,
        ResourceType.TOPIC: TOPIC,
        ResourceType.GROUP: GROUP,
        ResourceType.CLIENT_METRICS: CLIENT_METRICS,
    }
)

MS_PER_MINUTE = 60_000
MS_PER_HOUR = 3_600_000

# Topic key -> the broker keys that stand for it, first wins, each with the factor from its unit to milliseconds.
TOPIC_SYNONYMS: Mapping[str, tuple[tuple[str, int], ...]] = MappingProxyType(
    {
        "cleanup.policy": (("log.cleanup.policy", 1),),
        "compression.gzip.level": (("compression.gzip.level", 1),),
        "compression.lz4.level": (("compression.lz4.level", 1),),
        "compression.type": (("compression.type", 1),),
        "compression.zstd.level": (("compression.zstd.level", 1),),
        "delete.retention.ms": (("log.cleaner.delete.retention.ms", 1),),
        "file.delete.delay.ms": (("log.segment.delete.delay.ms", 1),),
        "flush.messages": (("log.flush.interval.messages", 1),),
        "flush.ms": (("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)),
        "index.interval.bytes": (("log.index.interval.bytes", 1),),
        "local.retention.bytes": (("log.local.retention.bytes", 1),),
        "local.retention.ms": (("log.local.retention.ms", 1),),
        "max.compaction.lag.ms": (("log.cleaner.max.compaction.lag.ms", 1),),
        "max.decompressed.message.bytes": (("max.decompressed.message.bytes", 1),),
        "max.message.bytes": (("message.max.bytes", 1),),
        "message.timestamp.after.max.ms": (("log.message.timestamp.after.max.ms", 1),),
        "message.timestamp.before.max.ms": (("log.message.timestamp.before.max.ms", 1),),
        "message.timestamp.type": (("log.message.timestamp.type", 1),),
        "min.cleanable.dirty.ratio": (("log.cleaner.min.cleanable.ratio", 1),),
        "min.compaction.lag.ms": (("log.cleaner.min.compaction.lag.ms", 1),),
        "min.insync.replicas": (("min.insync.replicas", 1),),
        "preallocate": (("log.preallocate", 1),),
        "remote.copy.lag.bytes": (("log.remote.copy.lag.bytes", 1),),
        "remote.copy.lag.ms": (("log.remote.copy.lag.ms", 1),),
        "retention.bytes": (("log.retention.bytes", 1),),
        "retention.ms": (
            ("log.retention.ms", 1),
            ("log.retention.minutes", MS_PER_MINUTE),
            ("log.retention.hours", MS_PER_HOUR),
        ),
        "segment.bytes": (("log.segment.bytes", 1),),
        "segment.index.bytes": (("log.index.size.max.bytes", 1),),
        "segment.jitter.ms": (("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", MS_PER_HOUR)),
        "segment.ms": (("log.roll.ms", 1), ("log.roll.hours", MS_PER_HOUR)),
        "unclean.leader.election.enable": (("unclean.leader.election.enable", 1),),
    }
)

_GROUP_KEYS_WITHOUT_SYNONYM = (
    "errors.deadletterqueue.copy.record.enable",
    "errors.deadletterqueue.topic.name",
    "share.auto.offset.reset",
    "share.isolation.level",
    "share.renew.acknowledge.enable",
)

# Group key -> the broker key that gives its default.
GROUP_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        name: "group.streams.assignors" if name == "streams.assignor.name" else f"group.{name}"
        for name in GROUP
        if name not in _GROUP_KEYS_WITHOUT_SYNONYM
    }
)

# Broker keys that set the same thing in different units, in the order in which they are looked at.
_UNIT_SYNONYMS = (
    ("log.roll.ms", "log.roll.hours"),
    ("log.roll.jitter.ms", "log.roll.jitter.hours"),
    ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
)

LISTENER_PREFIX = "listener.name."
# Listener overrides whose name holds the SASL mechanism too: listener.name.NAME.MECHANISM.KEY.
LISTENER_MECHANISM_KEYS = (
    "connections.max.reauth.ms",
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
)
# TLS keys that change at run time, and then only for one listener at a time.
DYNAMIC_SECURITY_KEYS = (
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
)
# Listener keys that are set for the cluster, unlike the other ones, which are set per broker.
CLUSTER_LISTENER_KEYS = ("max.connection.creation.rate", "max.connections", "num.network.threads")


def listener_base_name(name: str) -> str | None:
    """What follows `listener.name.NAME.` in a listener override; None when the name is not one."""
    if not name.startswith(LISTENER_PREFIX):
        return None
    listener, dot, base = name.removeprefix(LISTENER_PREFIX).partition(".")
    return base if dot and listener is not None else None


def broker_synonyms(name: str) -> tuple[str, ...]:
    """All broker keys that can give `name` its value, in the order in which they are looked at."""
    if name == "log.flush.interval.ms":
        return (name, "log.flush.scheduler.interval.ms")
    for synonyms in _UNIT_SYNONYMS:
        if name in synonyms:
            return synonyms
    base = listener_base_name(name)
    if base is None:
        return (name,)
    return (name, next((key for key in LISTENER_MECHANISM_KEYS if base.endswith(key)), base))


def is_dynamic(name: str) -> bool:
    """Whether a broker key may change at run time."""
    key = BROKER.get(name)
    return key is not None and key.scope is not Scope.READ_ONLY
