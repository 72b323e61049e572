"""DescribeConfigs (KIP-133, KIP-226, KIP-569): values with their sources and synonyms, by kind of resource.

Sources come in Kafka's order: the resource itself, then the broker's dynamic value, the cluster's dynamic value, the
broker's file and the default; within each, the names that stand for the key in the order of `broker_synonyms`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from odradek.config.broker import BrokerConfig
from odradek.config.own import OWN
from odradek.config.resources import GroupConfig, TopicConfig
from odradek.config.table import (
    BROKER,
    BROKER_QUOTAS,
    CLIENT_METRICS,
    GROUP,
    GROUP_SYNONYMS,
    TOPIC,
    TOPIC_SYNONYMS,
    broker_synonyms,
    is_dynamic,
)
from odradek.config.types import ConfigKey, ConfigSource, ConfigType, ResourceType, format_value
from odradek.wire.errors import ErrorCode, KafkaError

UNKNOWN_TYPE = 0


class ConfigSynonym(NamedTuple):
    """One place where the value of a key could come from."""

    name: str
    value: str | None
    source: ConfigSource


class ConfigEntry(NamedTuple):
    """One key of a DescribeConfigs response; `type` is a `ConfigType` code or 0 for a name that the table lacks."""

    name: str
    value: str | None
    source: ConfigSource
    sensitive: bool
    read_only: bool
    type: int
    synonyms: tuple[ConfigSynonym, ...] = ()
    documentation: str | None = None


def describe_broker(
    config: BrokerConfig, names: Collection[str] | None = None, *, documentation: bool = False
) -> list[ConfigEntry]:
    """All properties of this node, or those in `names`."""
    every: dict[str, None] = dict.fromkeys(name for name, key in BROKER.items() if not key.internal)
    for source in (config.originals, config.dynamic_default, config.dynamic_broker):
        every.update(dict.fromkeys(source))
    return [_broker_entry(config, name, documentation) for name in _selected(every, names)]


def describe_cluster_defaults(
    config: BrokerConfig, names: Collection[str] | None = None, *, documentation: bool = False
) -> list[ConfigEntry]:
    """What was set at run time for all brokers (the broker resource with an empty name)."""
    entries = []
    for name in _selected(config.dynamic_default, names):
        entry = _broker_entry(config, name, documentation)
        source = ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
        value = None if entry.sensitive else config.dynamic_default[name]
        synonyms = tuple(synonym for synonym in entry.synonyms if synonym.source is source)
        entries.append(entry._replace(value=value, source=source, synonyms=synonyms))
    return entries


def _broker_entry(config: BrokerConfig, name: str, documentation: bool) -> ConfigEntry:
    key = broker_key(name)
    # A name that is in no table could be a secret of a plug-in.
    sensitive = key is None or key.sensitive
    value = None if sensitive else _broker_value(config, name)
    synonyms = _broker_sources(config, name, broker_synonyms(name), sensitive)
    return ConfigEntry(
        name,
        value,
        synonyms[0].source if synonyms else ConfigSource.DEFAULT_CONFIG,
        sensitive,
        not (is_dynamic(name) or name in BROKER_QUOTAS),
        UNKNOWN_TYPE if key is None else key.type,
        synonyms,
        _documentation(ResourceType.BROKER, name) if documentation else None,
    )


def _broker_value(config: BrokerConfig, name: str) -> str | None:
    """The value as parsed, or the text as given for what is no key itself, such as a listener override."""
    if name in BROKER or name in OWN:
        return format_value(config.value(name))
    sources = (config.dynamic_broker, config.dynamic_default, config.originals)
    return next((values[name] for values in sources if name in values), None)


def broker_key(name: str) -> ConfigKey | None:
    """The key behind a broker property, also behind a listener override; None for a name that no table has."""
    for candidate in (name, broker_synonyms(name)[-1]):
        key = BROKER.get(candidate) or OWN.get(candidate) or BROKER_QUOTAS.get(candidate)
        if key is not None:
            return key
    return None


def _broker_sources(
    config: BrokerConfig, name: str, synonyms: Iterable[str], sensitive: bool
) -> tuple[ConfigSynonym, ...]:
    found: list[ConfigSynonym] = []
    names = tuple(synonyms)
    for source, values in (
        (ConfigSource.DYNAMIC_BROKER_CONFIG, config.dynamic_broker),
        (ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, config.dynamic_default),
        (ConfigSource.STATIC_BROKER_CONFIG, config.originals),
    ):
        found.extend(
            ConfigSynonym(each, None if sensitive else values[each], source) for each in names if each in values
        )
    for each in names:
        default = BROKER[each].default_text if each in BROKER else None
        if default is not None:
            found.append(ConfigSynonym(each, None if sensitive else default, ConfigSource.DEFAULT_CONFIG))
    # Kafka drops what comes before the key's own name: log.retention.hours alone does not explain log.retention.ms.
    for position, synonym in enumerate(found):
        if synonym.name == name:
            return tuple(found[position:])
    return ()


def describe_topic(
    config: BrokerConfig,
    overrides: Mapping[str, str],
    names: Collection[str] | None = None,
    *,
    documentation: bool = False,
) -> list[ConfigEntry]:
    """All keys of a topic with these overrides, or those in `names`."""
    topic = TopicConfig.stored(config, overrides)
    every = [name for name, key in TOPIC.items() if not key.internal or name in topic.overrides]
    entries = []
    for name in _selected(every, names):
        key = TOPIC[name]
        value = format_value(topic.value(name))
        sources: tuple[ConfigSynonym, ...] = ()
        if name in TOPIC_SYNONYMS:
            synonym = TOPIC_SYNONYMS[name][0][0]
            sources = _broker_sources(config, synonym, broker_synonyms(synonym), key.sensitive)
        if name in topic.overrides:
            sources = (ConfigSynonym(name, value, ConfigSource.TOPIC_CONFIG), *sources)
        entries.append(_resource_entry(ResourceType.TOPIC, key, value, sources, documentation))
    return entries


def describe_group(
    config: BrokerConfig,
    group_id: str,
    overrides: Mapping[str, str],
    names: Collection[str] | None = None,
    *,
    documentation: bool = False,
) -> list[ConfigEntry]:
    """All keys of a group with these overrides; raises KafkaError for an empty id."""
    if not group_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
    group = GroupConfig(config, overrides)
    every = [name for name, key in GROUP.items() if not key.internal or name in overrides]
    entries = []
    for name in _selected(every, names):
        key = GROUP[name]
        value = format_value(group.value(name))
        synonym = GROUP_SYNONYMS.get(name)
        if synonym is None:
            sources = _own_default(key)
        else:
            sources = _broker_sources(config, synonym, broker_synonyms(synonym), key.sensitive)
        if name in overrides:
            sources = (ConfigSynonym(name, value, ConfigSource.GROUP_CONFIG), *sources)
        entries.append(_resource_entry(ResourceType.GROUP, key, value, sources, documentation))
    return entries


def _own_default(key: ConfigKey) -> tuple[ConfigSynonym, ...]:
    return (ConfigSynonym(key.name, key.default_text, ConfigSource.DEFAULT_CONFIG),)


def describe_client_metrics(
    subscription: str,
    overrides: Mapping[str, str],
    names: Collection[str] | None = None,
    *,
    documentation: bool = False,
) -> list[ConfigEntry]:
    """The keys of a client-metrics subscription (KIP-714); raises KafkaError for an empty name."""
    if not subscription:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Client metrics subscription name must not be empty")
    entries = []
    for name in _selected(CLIENT_METRICS, names):
        key = CLIENT_METRICS[name]
        value = overrides.get(name, key.default_text)
        sources: tuple[ConfigSynonym, ...] = ()
        if name in overrides:
            sources = (ConfigSynonym(name, value, ConfigSource.CLIENT_METRICS_CONFIG),)
        entries.append(_resource_entry(ResourceType.CLIENT_METRICS, key, value, sources, documentation))
    return entries


def describe_broker_logger(
    config: BrokerConfig, resource_name: str, levels: Mapping[str, str], names: Collection[str] | None = None
) -> list[ConfigEntry]:
    """The levels of this node's loggers (KIP-412); raises KafkaError when another node is meant."""
    if not resource_name:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Broker id must not be empty")
    if _broker_id(resource_name) != config.node_id:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {config.node_id} but received {resource_name}"
        )
    source = ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG
    return [
        ConfigEntry(name, levels[name], source, sensitive=False, read_only=False, type=UNKNOWN_TYPE, documentation="")
        for name in _selected(levels, names)
    ]


def describe_broker_resource(
    config: BrokerConfig, resource_name: str, names: Collection[str] | None = None, *, documentation: bool = False
) -> list[ConfigEntry]:
    """The broker resource by its name on the wire: this node's id, or empty for the cluster's defaults."""
    if not resource_name:
        return describe_cluster_defaults(config, names, documentation=documentation)
    if _broker_id(resource_name) != config.node_id:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"Unexpected broker id, expected {config.node_id} or empty string, but received {resource_name}",
        )
    return describe_broker(config, names, documentation=documentation)


def _broker_id(resource_name: str) -> int:
    try:
        return int(resource_name)
    except ValueError:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"Broker id must be an integer, but it is: {resource_name}"
        ) from None


def _selected(every: Iterable[str], names: Collection[str] | None) -> list[str]:
    """The names to describe, sorted; an empty request means all, as in Kafka."""
    return sorted(name for name in every if not names or name in names)


def _resource_entry(
    kind: ResourceType, key: ConfigKey, value: str | None, sources: tuple[ConfigSynonym, ...], documentation: bool
) -> ConfigEntry:
    return ConfigEntry(
        key.name,
        None if key.type is ConfigType.PASSWORD else value,
        sources[0].source if sources else ConfigSource.DEFAULT_CONFIG,
        sensitive=key.sensitive,
        read_only=False,
        type=key.type,
        synonyms=sources,
        documentation=_documentation(kind, key.name) if documentation else None,
    )


def _documentation(kind: ResourceType, name: str) -> str | None:
    # The texts are large and seldom asked for.
    from odradek.config.documentation import documentation_of

    return documentation_of(kind, name)
