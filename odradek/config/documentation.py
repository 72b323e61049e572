"""One line about each property, loaded only when DescribeConfigs or tools/config_docs.py asks for it."""

from __future__ import annotations

from odradek.config.documentation_broker import BROKER_TEXTS
from odradek.config.documentation_security import SECURITY_TEXTS
from odradek.config.table import GROUP_SYNONYMS, TOPIC_SYNONYMS
from odradek.config.types import ResourceType

TOPIC_TEXTS = {
    "cleanup.policy": "Old records go by age and size (`delete`), all but the last of a key go (`compact`), or both.",
    "compression.gzip.level": "Level of gzip when the broker compresses, 1 (fast) to 9 (small); -1 is gzip's own.",
    "compression.lz4.level": "Level of lz4 when the broker itself compresses, from 1 to 17.",
    "compression.type": "Codec of stored batches; `producer` keeps what the producer chose.",
    "compression.zstd.level": "Level of zstd when the broker itself compresses, up to 22.",
    "delete.retention.ms": "How long compaction keeps the tombstones of deleted keys, in milliseconds.",
    "errors.deadletterqueue.group.enable": "Whether share groups may use this topic as a dead-letter queue.",
    "file.delete.delay.ms": "How long the file of a deleted segment stays on disk, in milliseconds.",
    "flush.messages": "Number of records after which the log is forced to disk.",
    "flush.ms": "Time after which written records are forced to disk, in milliseconds.",
    "follower.replication.throttled.replicas": "Replicas (PARTITION:BROKER, or *) whose fetching is throttled.",
    "index.interval.bytes": "Bytes of log between two entries of the offset index.",
    "internal.segment.bytes": "Segment size without a lower limit; for tests.",
    "leader.replication.throttled.replicas": "Replicas (PARTITION:BROKER, or *) whose leaders throttle what they send.",
    "local.retention.bytes": "Bytes that a tiered partition keeps on local disk; -2 means as much as retention.bytes.",
    "local.retention.ms": "How long a tiered partition keeps segments on local disk, in ms; -2 means as retention.ms.",
    "max.compaction.lag.ms": "Longest time that a record may wait for compaction, in milliseconds.",
    "max.decompressed.message.bytes": "Largest size that one record may have after decompression.",
    "max.message.bytes": "Largest batch of records, as compressed, that a producer may send.",
    "message.timestamp.after.max.ms": "How far ahead of the broker's clock a record's time stamp may be, in ms.",
    "message.timestamp.before.max.ms": "How far behind the broker's clock a record's time stamp may be, in ms.",
    "message.timestamp.type": "Whether records keep the producer's time stamp or get the time of the append.",
    "min.cleanable.dirty.ratio": "Share of the log that must be uncompacted before compaction starts.",
    "min.compaction.lag.ms": "Shortest time that a record stays uncompacted, in milliseconds.",
    "min.insync.replicas": "In-sync replicas that a write with acks=all needs; with fewer it fails.",
    "preallocate": "Whether a new segment's file gets its full size at once.",
    "remote.copy.lag.bytes": "Bytes by which a closed segment may lag before it is copied to the remote tier.",
    "remote.copy.lag.ms": "Time that a closed segment may lag before it is copied to the remote tier, in milliseconds.",
    "remote.log.copy.disable": "Stops copying to the remote tier; what is there can still be read.",
    "remote.log.delete.on.disable": "Whether switching tiered storage off deletes what is on the remote tier.",
    "remote.storage.enable": "Whether the topic's old segments move to the remote tier.",
    "retention.bytes": "Bytes that a partition may hold before its oldest segments go; -1 for no limit.",
    "retention.ms": "How long records are kept, in milliseconds; -1 for ever.",
    "segment.bytes": "Size at which a segment is closed and the next one begun.",
    "segment.index.bytes": "Largest size of a segment's offset index.",
    "segment.jitter.ms": "Random part, at most this many milliseconds, by which segments are rolled earlier.",
    "segment.ms": "Age at which a segment is closed even if it is not full, in milliseconds.",
    "unclean.leader.election.enable": "Whether a replica that is not in sync may lead, which can lose records.",
}

_KINDS = {"consumer": "consumer group", "share": "share group", "streams": "streams group"}

GROUP_TEXTS = {
    "errors.deadletterqueue.copy.record.enable": "Whether the dead-letter topic gets the record besides its place.",
    "errors.deadletterqueue.topic.name": "Topic for records that a share group could not process; empty for none.",
    "share.auto.offset.reset": "Where a share group starts: `earliest`, `latest` or `by_duration:` and a duration.",
    "share.delivery.count.limit": "How often a record is given out before it counts as failed.",
    "share.isolation.level": "Whether a share group sees records of transactions that are open or aborted.",
    "share.partition.max.record.locks": "Records of one partition that may be out for processing at a time.",
    "share.record.lock.duration.ms": "How long a member holds a record that it was given, in milliseconds.",
    "share.renew.acknowledge.enable": "Whether members may prolong their hold on a record.",
    "streams.acceptable.recovery.lag": "Lag at which a task counts as caught up.",
    "streams.assignor.name": "Assignor of tasks that the group uses.",
    "streams.initial.rebalance.delay.ms": "Wait for more members before the first assignment of tasks, in ms.",
    "streams.num.standby.replicas": "Standby copies of each stateful task.",
    "streams.num.warmup.replicas": "Copies that may warm up at a time before tasks move to them.",
    "streams.rack.aware.assignment.tags": "Client tags over which standby copies are spread.",
    "streams.task.offset.interval.ms": "How often members report the offsets of their tasks, in milliseconds.",
}
for _kind, _label in _KINDS.items():
    GROUP_TEXTS |= {
        f"{_kind}.assignment.interval.ms": f"Shortest time between two assignments of a {_label}, in milliseconds.",
        f"{_kind}.assignor.offload.enable": f"Whether assignments of a {_label} are computed beside the coordinator.",
        f"{_kind}.heartbeat.interval.ms": f"How often members of a {_label} send heartbeats, in milliseconds.",
        f"{_kind}.session.timeout.ms": f"Silence after which a member of a {_label} is removed, in milliseconds.",
    }

CLIENT_METRICS_TEXTS = {
    "interval.ms": "How often matching clients push their metrics, in milliseconds.",
    "match": "Which clients are meant, as KEY=REGEX items; empty for all of them.",
    "metrics": "Prefixes of the metrics that clients push; `*` for all, empty for none.",
}


def documentation_of(kind: ResourceType, name: str) -> str | None:
    """One sentence about a property; None for a name that the table lacks."""
    if kind is ResourceType.TOPIC:
        return TOPIC_TEXTS.get(name)
    if kind is ResourceType.GROUP:
        return GROUP_TEXTS.get(name)
    if kind is ResourceType.CLIENT_METRICS:
        return CLIENT_METRICS_TEXTS.get(name)
    return BROKER_TEXTS.get(name) or SECURITY_TEXTS.get(name) or _bound(name) or _default_of(name)


def _bound(name: str) -> str | None:
    """Broker keys that limit what a group may set: group.consumer.min.session.timeout.ms and its like."""
    for word, adjective in (("min", "Smallest"), ("max", "Largest")):
        for kind, label in _KINDS.items():
            prefix = f"group.{kind}.{word}."
            rest = name.removeprefix(prefix)
            if name.startswith(prefix):
                for key in (f"{kind}.{rest}", f"{kind}.num.{rest}"):
                    if key in GROUP_TEXTS:
                        return f"{adjective} `{key}` that a {label} may have."
    return None


def _default_of(name: str) -> str | None:
    """Broker keys that give topics or groups their defaults."""
    for topic_key, synonyms in TOPIC_SYNONYMS.items():
        if name == synonyms[0][0]:
            return f"Default of topics' `{topic_key}`. {TOPIC_TEXTS[topic_key]}"
    for group_key, synonym in GROUP_SYNONYMS.items():
        if name == synonym:
            return f"Default of groups' `{group_key}`. {GROUP_TEXTS[group_key]}"
    return None
