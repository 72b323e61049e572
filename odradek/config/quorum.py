"""Broker keys of the KRaft quorum, the roles of a node, the metadata log and the controller."""

from __future__ import annotations

from odradek.config.names import BOOLEAN, HIGH, INT, LIST, LONG, LONG_MAX, LOW, MEDIUM, STRING
from odradek.config.types import ConfigKey
from odradek.config.validators import BOOTSTRAP_SERVERS, QUORUM_VOTERS, ListOf, at_least

QUORUM_KEYS: tuple[ConfigKey, ...] = (
    ConfigKey("auto.leader.rebalance.enable", BOOLEAN, True, HIGH),
    ConfigKey("broker.heartbeat.interval.ms", INT, 2000, MEDIUM),
    ConfigKey("broker.id", INT, -1, HIGH),
    ConfigKey("broker.rack", STRING, None, MEDIUM),
    ConfigKey("broker.session.timeout.ms", INT, 9000, MEDIUM),
    ConfigKey("controlled.shutdown.enable", BOOLEAN, True, MEDIUM),
    ConfigKey("controller.listener.names", LIST, None, HIGH, ListOf(), required=True),
    ConfigKey(
        "controller.performance.always.log.threshold.ms",
        LONG,
        2000,
        MEDIUM,
        at_least(0),
        internal=True,
    ),
    ConfigKey("controller.performance.sample.period.ms", LONG, 60_000, MEDIUM, at_least(100), internal=True),
    ConfigKey("controller.quorum.append.linger.ms", INT, 25, MEDIUM, at_least(0)),
    ConfigKey("controller.quorum.auto.join.enable", BOOLEAN, False, LOW),
    ConfigKey("controller.quorum.bootstrap.servers", LIST, (), HIGH, BOOTSTRAP_SERVERS),
    ConfigKey("controller.quorum.election.backoff.max.ms", INT, 1000, HIGH, at_least(0)),
    ConfigKey("controller.quorum.election.timeout.ms", INT, 1000, HIGH, at_least(0)),
    ConfigKey("controller.quorum.fetch.max.bytes", INT, 1_048_576, LOW, at_least(1)),
    ConfigKey("controller.quorum.fetch.snapshot.max.bytes", INT, 1_048_576, LOW, at_least(1)),
    ConfigKey("controller.quorum.fetch.timeout.ms", INT, 2000, HIGH, at_least(0)),
    ConfigKey("controller.quorum.request.timeout.ms", INT, 2000, MEDIUM, at_least(0)),
    ConfigKey("controller.quorum.retry.backoff.ms", INT, 20, LOW, at_least(0)),
    ConfigKey("controller.quorum.voters", LIST, (), HIGH, QUORUM_VOTERS),
    ConfigKey("controller.socket.timeout.ms", INT, 30_000, MEDIUM),
    ConfigKey("early.start.listeners", LIST, None, HIGH, ListOf(allow_empty=True, allow_null=True)),
    ConfigKey("initial.broker.registration.timeout.ms", INT, 60_000, MEDIUM),
    ConfigKey("internal.metadata.delete.delay.millis", LONG, 60_000, LOW, internal=True),
    ConfigKey("internal.metadata.log.segment.bytes", INT, None, LOW, internal=True),
    ConfigKey("internal.metadata.max.batch.size.in.bytes", INT, 8_388_608, LOW, internal=True),
    ConfigKey("leader.imbalance.check.interval.seconds", LONG, 300, HIGH, at_least(1)),
    ConfigKey("metadata.log.dir", STRING, None, HIGH),
    ConfigKey("metadata.log.max.record.bytes.between.snapshots", LONG, 20_971_520, HIGH, at_least(1)),
    ConfigKey("metadata.log.max.snapshot.interval.ms", LONG, 3_600_000, HIGH, at_least(0)),
    ConfigKey("metadata.log.segment.bytes", INT, 1_073_741_824, HIGH, at_least(8_388_608)),
    ConfigKey("metadata.log.segment.ms", LONG, 604_800_000, HIGH),
    ConfigKey("metadata.max.idle.interval.ms", INT, 500, LOW, at_least(0)),
    ConfigKey("metadata.max.retention.bytes", LONG, 104_857_600, HIGH),
    ConfigKey("metadata.max.retention.ms", LONG, 604_800_000, HIGH),
    ConfigKey("node.id", INT, None, HIGH, at_least(0), required=True),
    ConfigKey("process.roles", LIST, None, HIGH, ListOf("broker", "controller"), required=True),
    ConfigKey("server.max.startup.time.ms", LONG, LONG_MAX, MEDIUM, at_least(0), internal=True),
    ConfigKey("unclean.leader.election.interval.ms", LONG, 300_000, MEDIUM, at_least(1), internal=True),
    ConfigKey("unstable.api.versions.enable", BOOLEAN, False, HIGH, internal=True),
    ConfigKey("unstable.feature.versions.enable", BOOLEAN, False, HIGH, internal=True),
)
