"""What the controller's decisions are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from odradek.config import BrokerConfig, ConfigError
from odradek.config.resources import TopicConfig
from odradek.config.types import ResourceType
from odradek.controller.sessions import BrokerSessions
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION
from odradek.metadata.image import MetadataImage
from odradek.metadata.snapshot import Writing
from odradek.metadata.topic_names import collision_key
from odradek.ports import Clock, Random
from odradek.wire.schema import Message

TRANSACTION_RECORDS = ("BeginTransactionRecord", "EndTransactionRecord", "AbortTransactionRecord")
"""They bracket other records; this controller's own transactions are whole, so they change nothing here."""


MAX_CACHED_TOPIC_CONFIGS = 4096
"""Topics whose parsed configuration is kept between decisions."""


class ControllerIdentity(NamedTuple):
    """Whose controller this is."""

    cluster_id: str
    node_id: int


class ControllerState:
    """The image with everything appended so far, committed or not, and what is derived from it or only in memory."""

    def __init__(self, identity: ControllerIdentity, config: BrokerConfig, clock: Clock, random: Random) -> None:
        self.static_config = config
        """This node's properties without what was set dynamically."""
        self.identity = identity
        self.clock = clock
        self.random = random
        self.image = MetadataImage.empty()
        self.sessions = self._no_sessions(config)
        self.next_offset = 0
        """The offset that the next record gets."""
        self.registration_offsets: dict[int, int] = {}
        """Where each broker's RegisterBrokerRecord is, as far as this process has seen it."""
        self._config = config
        self._config_source: tuple[object, object] = (None, None)
        self._colliding: dict[str, dict[str, None]] | None = None
        self._topic_configs_of: BrokerConfig | None = None
        self._topic_configs: dict[str, tuple[Mapping[str, str], TopicConfig]] = {}

    def reset(self, image: MetadataImage) -> None:
        """Go to another state altogether: one that was loaded, or the last committed one."""
        self.image = image
        self._colliding = None

    def begin(self, image: MetadataImage, *, is_alone: bool) -> None:
        """Decide from this image on. Nothing is left of an earlier time as active controller.

        Brokers that were alive under the last controller get a session time-out to be heard of by this one. Not the
        broker of this same node if its controller `is_alone`, which then begins to lead only as the process starts:
        the broker's last incarnation ended with the last process.
        """
        self.reset(image)
        self.registration_offsets = {}
        self.sessions = self._no_sessions(self.static_config)
        now_ms = self.clock.monotonic_ms()
        for broker in image.cluster.brokers.values():
            if not broker.fenced and not (is_alone and broker.id == self.identity.node_id):
                self.sessions.touch(broker.id, broker.epoch, now_ms)

    def _no_sessions(self, config: BrokerConfig) -> BrokerSessions:
        return BrokerSessions(config.int_("broker.session.timeout.ms"))

    def replay(self, records: Iterable[Message], base_offset: int, epoch: int, timestamp_ms: int) -> None:
        """Take in records that were just appended, or read from the log."""
        delta = MetadataDelta(self.image)
        offset = base_offset - 1
        for offset, record in enumerate(records, start=base_offset):
            if record.NAME not in TRANSACTION_RECORDS:
                delta.replay(record)
            if record.NAME == "RegisterBrokerRecord":
                self.registration_offsets[record.broker_id] = offset  # type: ignore[attr-defined] # by its NAME
        self.image = delta.apply(offset, epoch, timestamp_ms)
        if self._colliding is not None:
            for name, _topic_id in delta.deleted_topics:
                self._index(self._colliding, name, present=False)
            for name in delta.changed_topics:
                self._index(self._colliding, name, present=True)

    def colliding_topic(self, name: str) -> str | None:
        """A topic whose name cannot be told from `name` in metrics."""
        key = collision_key(name)
        if key is None:
            return None
        if self._colliding is None:
            self._colliding = {}
            for existing in self.image.topics.by_name:
                self._index(self._colliding, existing, present=True)
        return next(iter(self._colliding.get(key, ())), None)

    @property
    def config(self) -> BrokerConfig:
        """This node's properties with what was set dynamically for it and for the cluster."""
        node = str(self.identity.node_id)
        configs = self.image.configs
        cluster = configs.properties(ResourceType.BROKER, "")
        own = configs.properties(ResourceType.BROKER, node)
        if self._config_source[0] is not cluster or self._config_source[1] is not own:
            self._config_source = (cluster, own)
            try:
                self._config = self.static_config.with_dynamic(cluster, own)
            except ConfigError:
                self._config = self.static_config
        return self._config

    def topic_config(self, name: str) -> TopicConfig:
        """The configuration in force of a topic."""
        config = self.config
        if config is not self._topic_configs_of:
            self._topic_configs_of = config
            self._topic_configs = {}
        overrides = self.image.configs.properties(ResourceType.TOPIC, name)
        known = self._topic_configs.get(name)
        if known is None or known[0] is not overrides:
            if len(self._topic_configs) >= MAX_CACHED_TOPIC_CONFIGS:
                self._topic_configs = {}
            known = self._topic_configs[name] = (overrides, TopicConfig.stored(config, overrides))
        return known[1]

    @property
    def metadata_version(self) -> int:
        """The finalized level of metadata.version; 0 before the bootstrap records."""
        return self.image.features.finalized.get(METADATA_VERSION, 0)

    @property
    def writing(self) -> Writing:
        """How records are written now."""
        return Writing.of(self.image.features)

    @property
    def elr_enabled(self) -> bool:
        """Whether eligible leader replicas are kept (KIP-966)."""
        return self.image.features.finalized.get(ELIGIBLE_LEADER_REPLICAS_VERSION, 0) > 0

    def _index(self, colliding: dict[str, dict[str, None]], name: str, *, present: bool) -> None:
        key = collision_key(name)
        if key is None:
            return
        if present:
            colliding.setdefault(key, {})[name] = None
        elif key in colliding:
            colliding[key].pop(name, None)
