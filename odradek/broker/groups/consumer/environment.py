"""What the coordinator of consumer groups reads of the world: the metadata and the configuration, as they are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from odradek.config.broker import BrokerConfig
from odradek.config.resources import GroupConfig
from odradek.config.types import ResourceType
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage

_SESSION = "consumer.session.timeout.ms"
_HEARTBEAT = "consumer.heartbeat.interval.ms"
_ASSIGNMENT = "consumer.assignment.interval.ms"


class ConsumerGroupConfig(NamedTuple):
    """What may be set on one group at run time."""

    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 5000
    assignment_interval_ms: int = 1000
    """For how long after a target no other one is computed."""


class Environment(NamedTuple):
    """Of one broker."""

    image: Callable[[], MetadataImage]
    group_config: Callable[[str], ConsumerGroupConfig]


def fixed_environment() -> Environment:
    """No topics, and every group with the defaults."""
    config = ConsumerGroupConfig()
    return Environment(MetadataImage.empty, lambda _: config)


class TopicsChange(NamedTuple):
    """Names of topics that a change of the metadata is about."""

    changed: frozenset[str]
    """All of them: those that are new, that have other partitions or replicas, and that are gone."""
    deleted: tuple[str, ...]
    has_new: bool
    """Whether a topic was created."""


def topics_change(delta: MetadataDelta) -> TopicsChange:
    """What `delta` does to topics."""
    deleted = tuple(name for name, _ in delta.deleted_topics)
    known = delta.image.topics.by_id
    return TopicsChange(
        changed=frozenset((*delta.changed_topics, *deleted)),
        deleted=deleted,
        has_new=any(topic_id not in known for topic_id in delta.topics.changed),
    )


class GroupConfigs:
    """Configurations of groups, each parsed anew only when it has changed."""

    def __init__(self, image: Callable[[], MetadataImage], broker: Callable[[], BrokerConfig]) -> None:
        self._image = image
        self._broker = broker
        self._parsed_for: BrokerConfig | None = None
        self._parsed: dict[str, tuple[Mapping[str, str], ConsumerGroupConfig]] = {}
        self._default = ConsumerGroupConfig()

    def of(self, group_id: str) -> ConsumerGroupConfig:
        """The configuration in force of one group."""
        broker = self._broker()
        if broker is not self._parsed_for:
            self._parsed_for = broker
            self._parsed.clear()
            self._default = _parse(broker, {})
        overrides = self._image().configs.properties(ResourceType.GROUP, group_id)
        if not overrides:
            self._parsed.pop(group_id, None)
            return self._default
        known = self._parsed.get(group_id)
        if known is None or known[0] is not overrides:
            known = self._parsed[group_id] = (overrides, _parse(broker, overrides))
        return known[1]


def _parse(broker: BrokerConfig, overrides: Mapping[str, str]) -> ConsumerGroupConfig:
    known = {name: overrides[name] for name in (_SESSION, _HEARTBEAT, _ASSIGNMENT) if name in overrides}
    config = GroupConfig(broker, known)
    return ConsumerGroupConfig(config.int_(_SESSION), config.int_(_HEARTBEAT), config.int_(_ASSIGNMENT))
