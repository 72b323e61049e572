"""Which properties Odradek acts upon: the one place to change when that changes. docs/configuration.md shows it.

Every property of the table is read, checked and described; this says whether it has an effect.
"""

from __future__ import annotations

from enum import Enum

from odradek.config.broker import BrokerConfig
from odradek.config.table import BROKER, GROUP_SYNONYMS, TOPIC_SYNONYMS
from odradek.config.types import ConfigType, ResourceType


class Support(Enum):
    """What setting a property does."""

    ACTED_UPON = "yes"
    NOT_YET = "not yet"
    NO_MEANING = "no meaning here"


_TOPIC_ACTED_UPON = frozenset(
    {
        "cleanup.policy",
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.type",
        "compression.zstd.level",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "follower.replication.throttled.replicas",
        "index.interval.bytes",
        "internal.segment.bytes",
        "leader.replication.throttled.replicas",
        "max.compaction.lag.ms",
        "max.decompressed.message.bytes",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
        "unclean.leader.election.enable",
    }
)

_BROKER_ACTED_UPON = frozenset(
    {
        # the node and its listeners
        "advertised.listeners",
        "broker.heartbeat.interval.ms",
        "broker.id",
        "broker.rack",
        "broker.session.timeout.ms",
        "connections.max.idle.ms",
        "controlled.shutdown.enable",
        "controller.listener.names",
        "controller.quorum.auto.join.enable",
        "controller.quorum.bootstrap.servers",
        "controller.quorum.election.backoff.max.ms",
        "controller.quorum.election.timeout.ms",
        "controller.quorum.fetch.max.bytes",
        "controller.quorum.fetch.snapshot.max.bytes",
        "controller.quorum.fetch.timeout.ms",
        "controller.quorum.request.timeout.ms",
        "controller.quorum.retry.backoff.ms",
        "controller.quorum.voters",
        "controller.socket.timeout.ms",
        "cordoned.log.dirs",
        "initial.broker.registration.timeout.ms",
        "inter.broker.listener.name",
        "listener.security.protocol.map",
        "listeners",
        "log.dir",
        "log.dirs",
        "max.connections",
        "max.connections.per.ip",
        "max.connections.per.ip.overrides",
        "metadata.log.dir",
        "metadata.log.max.record.bytes.between.snapshots",
        "metadata.log.max.snapshot.interval.ms",
        "metadata.log.segment.bytes",
        "metadata.log.segment.ms",
        "metadata.max.idle.interval.ms",
        "metadata.max.retention.bytes",
        "metadata.max.retention.ms",
        "node.id",
        "process.roles",
        "queued.max.request.bytes",
        "request.timeout.ms",
        "security.inter.broker.protocol",
        "socket.connection.setup.timeout.ms",
        "socket.listen.backlog.size",
        "socket.receive.buffer.bytes",
        "socket.request.max.bytes",
        "socket.send.buffer.bytes",
        # topics, produce, fetch
        "auto.create.topics.enable",
        "auto.leader.rebalance.enable",
        "default.replication.factor",
        "delete.topic.enable",
        "fetch.max.bytes",
        "follower.replication.throttled.rate",
        "leader.imbalance.check.interval.seconds",
        "leader.replication.throttled.rate",
        "log.cleaner.backoff.ms",
        "log.cleaner.dedupe.buffer.size",
        "log.cleaner.enable",
        "log.cleaner.io.buffer.load.factor",
        "log.cleaner.io.buffer.size",
        "log.cleaner.io.max.bytes.per.second",
        "log.cleaner.threads",
        "log.flush.offset.checkpoint.interval.ms",
        "log.flush.start.offset.checkpoint.interval.ms",
        "log.initial.task.delay.ms",
        "log.retention.check.interval.ms",
        "max.incremental.fetch.session.cache.slots",
        "max.request.partition.size.limit",
        "num.partitions",
        "num.replica.alter.log.dirs.threads",
        "num.replica.fetchers",
        "producer.id.expiration.check.interval.ms",
        "producer.id.expiration.ms",
        "replica.alter.log.dirs.io.max.bytes.per.second",
        "replica.fetch.backoff.ms",
        "replica.fetch.max.bytes",
        "replica.fetch.min.bytes",
        "replica.fetch.response.max.bytes",
        "replica.fetch.wait.max.ms",
        "replica.high.watermark.checkpoint.interval.ms",
        "replica.lag.time.max.ms",
        "replica.socket.timeout.ms",
        "replica.selector.class",
        "unclean.leader.election.interval.ms",
        # groups
        "group.consumer.assignors",
        "group.consumer.max.assignment.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
        "group.consumer.max.session.timeout.ms",
        "group.consumer.max.size",
        "group.consumer.migration.policy",
        "group.consumer.min.assignment.interval.ms",
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.min.session.timeout.ms",
        "group.consumer.regex.refresh.interval.ms",
        "group.coordinator.rebalance.protocols",
        "group.initial.rebalance.delay.ms",
        "group.max.session.timeout.ms",
        "group.max.size",
        "group.min.session.timeout.ms",
        "offset.metadata.max.bytes",
        "offsets.commit.timeout.ms",
        "offsets.load.buffer.size",
        "offsets.retention.check.interval.ms",
        "offsets.retention.minutes",
        "offsets.topic.compression.codec",
        "offsets.topic.num.partitions",
        "offsets.topic.replication.factor",
        "offsets.topic.segment.bytes",
        # transactions
        "add.partitions.to.txn.retry.backoff.max.ms",
        "add.partitions.to.txn.retry.backoff.ms",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "transaction.max.timeout.ms",
        "transaction.partition.verification.enable",
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "transaction.state.log.load.buffer.size",
        "transaction.state.log.min.isr",
        "transaction.state.log.num.partitions",
        "transaction.state.log.replication.factor",
        "transaction.state.log.segment.bytes",
        "transactional.id.expiration.ms",
    }
)

# Things that this broker does not have: pools of threads and the queues between them, Java classes and their paths,
# and waiting for more appends to the metadata log: what comes during a flush shares the next one.
_NO_MEANING = frozenset(
    {
        "alter.log.dirs.replication.quota.window.num",
        "alter.log.dirs.replication.quota.window.size.seconds",
        "background.threads",
        "controller.performance.always.log.threshold.ms",
        "controller.performance.sample.period.ms",
        "controller.quorum.append.linger.ms",
        "delete.records.purgatory.purge.interval.requests",
        "fetch.purgatory.purge.interval.requests",
        "group.consumer.assignor.offload.enable",
        "group.coordinator.background.threads",
        "group.coordinator.cached.buffer.max.bytes",
        "group.coordinator.threads",
        "group.share.assignor.offload.enable",
        "group.share.dlq.manager.class.name",
        "group.share.persister.class.name",
        "group.streams.assignor.offload.enable",
        "kafka.metrics.polling.interval.secs",
        "kafka.metrics.reporters",
        "metric.reporters",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "producer.purgatory.purge.interval.requests",
        "queued.max.requests",
        "remote.log.metadata.manager.class.path",
        "remote.log.storage.manager.class.path",
        "security.providers",
        "share.coordinator.cached.buffer.max.bytes",
        "share.coordinator.threads",
        "share.fetch.purgatory.purge.interval.requests",
        "ssl.keymanager.algorithm",
        "ssl.provider",
        "ssl.secure.random.implementation",
        "ssl.trustmanager.algorithm",
    }
)

_GROUP_ACTED_UPON = frozenset(
    {"consumer.assignment.interval.ms", "consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"}
)
_GROUP_NO_MEANING = frozenset(
    {"consumer.assignor.offload.enable", "share.assignor.offload.enable", "streams.assignor.offload.enable"}
)
_CLIENT_METRICS_ACTED_UPON: frozenset[str] = frozenset()


def support_of(kind: ResourceType, name: str) -> Support:
    """What setting this property of the table does."""
    if kind is ResourceType.TOPIC:
        return _support(name in _TOPIC_ACTED_UPON)
    if kind is ResourceType.GROUP:
        return _support(name in _GROUP_ACTED_UPON, name in _GROUP_NO_MEANING)
    if kind is ResourceType.CLIENT_METRICS:
        return _support(name in _CLIENT_METRICS_ACTED_UPON)
    is_plugin = name in BROKER and BROKER[name].type is ConfigType.CLASS
    return _support(name in _BROKER_ACTED_UPON or _gives_default(name), name in _NO_MEANING or is_plugin)


def _gives_default(name: str) -> bool:
    """Whether topics or groups take a property that is acted upon from this one."""
    return any(
        name in (synonym for synonym, _ in synonyms) and topic_key in _TOPIC_ACTED_UPON
        for topic_key, synonyms in TOPIC_SYNONYMS.items()
    ) or any(name == synonym and group_key in _GROUP_ACTED_UPON for group_key, synonym in GROUP_SYNONYMS.items())


def ignored_properties(config: BrokerConfig) -> list[str]:
    """Properties of the file that differ from their default and have no effect, for a warning at start."""
    ignored = []
    for name in sorted(config.originals):
        key = BROKER.get(name)
        if key is None or support_of(ResourceType.BROKER, name) is Support.ACTED_UPON:
            continue
        if config.value(name) != key.default:
            ignored.append(name)
    return ignored


def _support(acted_upon: bool, no_meaning: bool = False) -> Support:
    if acted_upon:
        return Support.ACTED_UPON
    return Support.NO_MEANING if no_meaning else Support.NOT_YET
