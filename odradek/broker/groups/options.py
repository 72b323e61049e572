"""The broker's configuration as far as the group coordinator reads it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from odradek.broker.groups.consumer.assignors import ASSIGNORS, assignor_name
from odradek.broker.topic_creation import internal_topic
from odradek.config.broker import BrokerConfig
from odradek.wire.messages.create_topics import CreatableTopic
from odradek.wire.records.compression import Codec

GROUP_METADATA_TOPIC = "__consumer_offsets"
_MS_PER_MINUTE = 60_000

NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60_000
"""How long a JoinGroup of a new member may be parked: it has no id to heartbeat with until it is answered."""


class MigrationPolicy(Enum):
    """Which ways groups with members may go between the protocols (`group.consumer.migration.policy`)."""

    DISABLED = "disabled"
    """Members of the classic protocol cannot join a consumer group either."""
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    BIDIRECTIONAL = "bidirectional"

    @property
    def may_upgrade(self) -> bool:
        """Whether a consumer turns a classic group that it joins into a consumer group."""
        return self in (MigrationPolicy.UPGRADE, MigrationPolicy.BIDIRECTIONAL)

    @property
    def may_downgrade(self) -> bool:
        """Whether a consumer group becomes a classic one when only members of the classic protocol are left."""
        return self in (MigrationPolicy.DOWNGRADE, MigrationPolicy.BIDIRECTIONAL)


class GroupOptions(NamedTuple):
    """Properties under Kafka's names (`group.*`, `offsets.*`, `offset.metadata.max.bytes`), units last."""

    min_session_timeout_ms: int = 6000
    max_session_timeout_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 3000
    max_size: int = 2**31 - 1
    offset_metadata_max_bytes: int = 4096
    offsets_retention_ms: int = 10_080 * _MS_PER_MINUTE
    offsets_retention_check_interval_ms: int = 600_000
    commit_timeout_ms: int = 5000
    load_buffer_bytes: int = 5_242_880
    topic_partitions: int = 50
    compression: Codec = Codec.NONE
    consumer_max_size: int = 2**31 - 1
    consumer_assignors: tuple[str, ...] = tuple(ASSIGNORS)
    """The first one serves members that ask for none."""
    consumer_regex_refresh_interval_ms: int = 600_000
    migration: MigrationPolicy = MigrationPolicy.BIDIRECTIONAL

    @classmethod
    def from_config(cls, config: BrokerConfig) -> GroupOptions:
        """Read them from the broker's configuration."""
        return cls(
            min_session_timeout_ms=config.int_("group.min.session.timeout.ms"),
            max_session_timeout_ms=config.int_("group.max.session.timeout.ms"),
            initial_rebalance_delay_ms=config.int_("group.initial.rebalance.delay.ms"),
            max_size=config.int_("group.max.size"),
            offset_metadata_max_bytes=config.int_("offset.metadata.max.bytes"),
            offsets_retention_ms=config.int_("offsets.retention.minutes") * _MS_PER_MINUTE,
            offsets_retention_check_interval_ms=config.int_("offsets.retention.check.interval.ms"),
            commit_timeout_ms=config.int_("offsets.commit.timeout.ms"),
            load_buffer_bytes=config.int_("offsets.load.buffer.size"),
            topic_partitions=config.int_("offsets.topic.num.partitions"),
            compression=Codec.of(config.int_("offsets.topic.compression.codec")),
            consumer_max_size=config.int_("group.consumer.max.size"),
            consumer_assignors=tuple(
                name for entry in config.list_("group.consumer.assignors") if (name := assignor_name(entry)) is not None
            ),
            consumer_regex_refresh_interval_ms=config.int_("group.consumer.regex.refresh.interval.ms"),
            migration=MigrationPolicy(config.string("group.consumer.migration.policy").lower()),
        )


def offsets_topic(config: BrokerConfig) -> CreatableTopic:
    """`__consumer_offsets` as it is created when the first group asks for its coordinator."""
    configs = {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": str(config.int_("offsets.topic.segment.bytes")),
    }
    return internal_topic(
        GROUP_METADATA_TOPIC,
        config.int_("offsets.topic.num.partitions"),
        config.int_("offsets.topic.replication.factor"),
        configs,
    )
