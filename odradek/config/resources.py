"""`TopicConfig` and `GroupConfig`: what was set on a topic or a group, over what the broker gives as default."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from odradek.config.broker import BrokerConfig
from odradek.config.table import GROUP, GROUP_SYNONYMS, TOPIC, TOPIC_SYNONYMS
from odradek.config.types import ConfigError, ConfigValue, parse_value
from odradek.config.values import TypedValues

_log = logging.getLogger(__name__)

# Group key -> the broker keys of its smallest and largest value, where there are such.
GROUP_BOUNDS: Mapping[str, tuple[str | None, str | None]] = MappingProxyType(
    {
        "consumer.heartbeat.interval.ms": (
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ),
        "consumer.session.timeout.ms": (
            "group.consumer.min.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ),
        "consumer.assignment.interval.ms": (
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ),
        "share.heartbeat.interval.ms": (
            "group.share.min.heartbeat.interval.ms",
            "group.share.max.heartbeat.interval.ms",
        ),
        "share.session.timeout.ms": ("group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
        "share.record.lock.duration.ms": (
            "group.share.min.record.lock.duration.ms",
            "group.share.max.record.lock.duration.ms",
        ),
        "share.delivery.count.limit": ("group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
        "share.partition.max.record.locks": (
            "group.share.min.partition.max.record.locks",
            "group.share.max.partition.max.record.locks",
        ),
        "share.assignment.interval.ms": (
            "group.share.min.assignment.interval.ms",
            "group.share.max.assignment.interval.ms",
        ),
        "streams.heartbeat.interval.ms": (
            "group.streams.min.heartbeat.interval.ms",
            "group.streams.max.heartbeat.interval.ms",
        ),
        "streams.session.timeout.ms": ("group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"),
        "streams.num.standby.replicas": (None, "group.streams.max.standby.replicas"),
        "streams.assignment.interval.ms": (
            "group.streams.min.assignment.interval.ms",
            "group.streams.max.assignment.interval.ms",
        ),
        "streams.task.offset.interval.ms": ("group.streams.min.task.offset.interval.ms", None),
        "streams.num.warmup.replicas": (None, "group.streams.max.warmup.replicas"),
    }
)


class TopicConfig(TypedValues):
    """The configuration in force of one topic: its own overrides, else the broker's value, else the default.

    Immutable and cheap to read repeatedly; make another one when the overrides or the broker's properties change.
    """

    __slots__ = ("_broker", "_values", "overrides")

    def __init__(self, broker: BrokerConfig, overrides: Mapping[str, str]) -> None:
        """Raise ConfigError for an override that does not parse."""
        self.overrides: Mapping[str, str] = MappingProxyType(dict(overrides))
        self._broker = broker
        self._values: dict[str, ConfigValue] = {
            name: parse_value(TOPIC[name], text) for name, text in overrides.items() if name in TOPIC
        }

    @classmethod
    def stored(cls, broker: BrokerConfig, overrides: Mapping[str, str]) -> TopicConfig:
        """From what the metadata holds.

        A value that does not parse, which another version may have let pass, is left out with a warning: it must not
        keep a broker from starting, or the topic from being used.
        """
        try:
            return cls(broker, overrides)
        except ConfigError:
            return cls(broker, {name: text for name, text in overrides.items() if _is_usable(name, text)})

    def value(self, name: str) -> ConfigValue:
        """The value in force of a topic key; KeyError for another name."""
        if name not in self._values:
            self._values[name] = broker_default_of_topic_key(self._broker, name)
        return self._values[name]

    @property
    def is_compacted(self) -> bool:
        """Whether only the last record of each key has to be kept."""
        return "compact" in self.list_("cleanup.policy")

    @property
    def is_deleted(self) -> bool:
        """Whether old segments go away by age and size."""
        return "delete" in self.list_("cleanup.policy")


def _is_usable(name: str, text: str) -> bool:
    try:
        if name in TOPIC:
            parse_value(TOPIC[name], text)
    except ConfigError as error:
        _log.warning("a topic's setting is ignored, and the default taken: %s", error)
        return False
    return True


def broker_default_of_topic_key(broker: BrokerConfig, name: str) -> ConfigValue:
    """What a topic takes when it does not set the key itself; KeyError for an unknown name."""
    known = broker.topic_defaults
    if name not in known:
        known[name] = _topic_default(broker, name)
    return known[name]


def _topic_default(broker: BrokerConfig, name: str) -> ConfigValue:
    key = TOPIC[name]
    for synonym, factor in TOPIC_SYNONYMS.get(name, ()):
        value = broker.value(synonym)
        if value is None:
            continue
        if name == "retention.ms":
            return broker.log_retention_ms
        return value * factor if isinstance(value, int) and not isinstance(value, bool) else value
    return key.default


class GroupConfig(TypedValues):
    """The configuration in force of one group: its overrides within the broker's bounds, else the broker's value."""

    __slots__ = ("_broker", "_values", "overrides")

    def __init__(self, broker: BrokerConfig, overrides: Mapping[str, str]) -> None:
        """Raise ConfigError for an override that does not parse."""
        self.overrides: Mapping[str, str] = MappingProxyType(dict(overrides))
        self._broker = broker
        self._values: dict[str, ConfigValue] = {}
        for name, text in overrides.items():
            if name in GROUP:
                self._values[name] = self._clamped(name, parse_value(GROUP[name], text))

    def value(self, name: str) -> ConfigValue:
        """The value in force of a group key; KeyError for another name."""
        if name in self._values:
            return self._values[name]
        return broker_default_of_group_key(self._broker, name)

    def _clamped(self, name: str, value: ConfigValue) -> ConfigValue:
        """Bounds may have moved since the override was accepted: the nearest allowed value holds."""
        if not isinstance(value, int) or isinstance(value, bool) or name not in GROUP_BOUNDS:
            return value
        lowest, highest = GROUP_BOUNDS[name]
        if lowest is not None:
            value = max(value, self._broker.int_(lowest))
        if highest is not None:
            value = min(value, self._broker.int_(highest))
        return value


def broker_default_of_group_key(broker: BrokerConfig, name: str) -> ConfigValue:
    """What a group takes when it does not set the key itself; KeyError for an unknown name."""
    key = GROUP[name]
    synonym = GROUP_SYNONYMS.get(name)
    if synonym is None:
        return key.default
    value = broker.value(synonym)
    # A group has one assignor where the broker has a list of them.
    return value[0] if isinstance(value, tuple) and value and name == "streams.assignor.name" else value
