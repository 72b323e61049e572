"""AlterConfigs and IncrementalAlterConfigs (KIP-133, KIP-339): what changes, and what Kafka refuses and how.

Everything raises `KafkaError` with the code and the text of Apache Kafka 4.4.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, NoReturn

from odradek.config.broker import BrokerConfig
from odradek.config.resources import GROUP_BOUNDS, TopicConfig
from odradek.config.table import (
    BROKER,
    BROKER_QUOTAS,
    CLIENT_METRICS,
    CLUSTER_LISTENER_KEYS,
    DYNAMIC_SECURITY_KEYS,
    GROUP,
    GROUP_SYNONYMS,
    TOPIC,
    is_dynamic,
    listener_base_name,
)
from odradek.config.types import ConfigError, ConfigKey, ConfigType, ConfigValue, ResourceType, Scope, parse_value
from odradek.wire.errors import ErrorCode, KafkaError

# The longest value, in characters, that fits into a configuration record.
MAX_VALUE_LENGTH = 32_767

# Keys whose value may at most double or halve in one change while a node runs.
_THREAD_KEYS = ("background.threads", "num.io.threads", "num.network.threads", "num.replica.fetchers")

_MIN_INTERVAL_MS = 100
_MAX_INTERVAL_MS = 3_600_000
_MATCH_PARAMETERS = (
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)


class AlterOp(IntEnum):
    """What happens to a key, with the codes of IncrementalAlterConfigs."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


class Alteration(NamedTuple):
    """One operation on one key; `op` is as on the wire, DELETE has no value."""

    name: str
    op: int
    value: str | None


def check_request(alterations: Sequence[Alteration]) -> None:
    """What a broker refuses before it looks at the kind of resource: a key twice, a missing value."""
    names = [each.name for each in alterations]
    if len(set(names)) != len(names):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    without_value = [each.name for each in alterations if each.op != AlterOp.DELETE and each.value is None]
    if without_value:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Null value not supported for : " + ", ".join(without_value))
    for each in alterations:
        if each.op not in AlterOp.__members__.values():
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown operations type {each.op}")


def check_broker_name(resource_name: str, node_id: int) -> None:
    """A broker takes changes for the cluster (an empty name) and for itself only."""
    if not resource_name:
        return
    try:
        number = int(resource_name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {resource_name}") from None
    if number != node_id:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {node_id}, but received {resource_name}"
        )


def apply_alterations(
    kind: ResourceType, current: Mapping[str, str], alterations: Iterable[Alteration]
) -> dict[str, str | None]:
    """The new values of the altered keys, None where one is removed; `current` is what is set on the resource."""
    changes: dict[str, str | None] = {}
    for name, op, value in alterations:
        if op == AlterOp.DELETE:
            changes[name] = None
        elif op == AlterOp.SET:
            changes[name] = value
        else:
            changes[name] = _alter_list(kind, name, AlterOp(op), current.get(name), value or "")
        text = changes[name]
        if text is not None and len(text) > MAX_VALUE_LENGTH:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG,
                "The configuration value cannot be added because it exceeds the maximum value size of "
                f"{MAX_VALUE_LENGTH} bytes.",
            )
    return changes


def _alter_list(kind: ResourceType, name: str, op: AlterOp, current: str | None, value: str) -> str:
    key = _list_key(kind, name, op)
    text = key.default_text if current is None else current
    items = [item for item in (text or "").split(",") if item]
    for item in _java_split(value):
        if op is AlterOp.APPEND and item not in items:
            items.append(item)
        elif op is AlterOp.SUBTRACT and item in items:
            items.remove(item)
    return ",".join(items)


def _java_split(text: str) -> list[str]:
    """`String.split(",")`: items at the end that are empty do not count, except that of an empty text."""
    items = text.split(",")
    while len(items) > 1 and not items[-1]:
        items.pop()
    return items if text.strip(",") or not text else []


def _list_key(kind: ResourceType, name: str, op: AlterOp) -> ConfigKey:
    """The list that is appended to; Kafka knows the types of broker and topic keys only."""
    if kind is ResourceType.BROKER:
        key = BROKER.get(name)
        if key is None:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown config name: {name}")
        if key.type is not ConfigType.LIST:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG, f"Config value {op.name.lower()} is not allowed for config key: {name}"
            )
        return key
    key = TOPIC.get(name) if kind is ResourceType.TOPIC else None
    if key is None or key.type is not ConfigType.LIST:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Can't {op.name} to key {name} because its type is not LIST.")
    return key


def validate_topic_overrides(config: BrokerConfig, overrides: Mapping[str, str]) -> None:
    """All overrides that a topic would have after a change, or of a topic to create."""
    for name in overrides:
        if name not in TOPIC:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {name}")
    try:
        topic = TopicConfig(config, overrides)
    except ConfigError as error:
        _refuse(error)
    shortest, longest = topic.int_("min.compaction.lag.ms"), topic.int_("max.compaction.lag.ms")
    if shortest > longest:
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            f"conflict topic config setting min.compaction.lag.ms ({shortest}) > max.compaction.lag.ms ({longest})",
        )
    if topic.bool_("remote.storage.enable") and not config.bool_("remote.log.storage.system.enable"):
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            "Tiered Storage functionality is disabled in the broker. "
            "Topic cannot be configured with remote log storage.",
        )


def validate_group(config: BrokerConfig, group_id: str, overrides: Mapping[str, str]) -> None:
    """All overrides that a group would have after a change."""
    if not group_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
    for name in overrides:
        if name not in GROUP:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Unknown group config name: {name}")
    tags = [tag.strip() for tag in overrides.get("streams.rack.aware.assignment.tags", "").split(",")]
    if len(set(tags)) != len(tags):
        _invalid("streams.rack.aware.assignment.tags must not contain duplicate tag keys.")
    values = _parsed(GROUP, overrides)
    for name, bounds in GROUP_BOUNDS.items():
        if name in values:
            _check_bounds(config, name, values[name], bounds)
    assignors = config.list_("group.streams.assignors")
    assignor = values.get("streams.assignor.name")
    if assignor is not None and assignor not in assignors:
        _invalid(
            f"streams.assignor.name '{assignor}' is not a registered task assignor. "
            f"Registered assignors are: [{', '.join(assignors)}]."
        )
    for kind in ("consumer", "share", "streams"):
        _check_session(config, kind, values)
    dead_letter_topic = values.get("errors.deadletterqueue.topic.name")
    if isinstance(dead_letter_topic, str) and dead_letter_topic.startswith("__"):
        _invalid("errors.deadletterqueue.topic.name: DLQ topic name must not start with '__'")


def _check_bounds(config: BrokerConfig, name: str, value: ConfigValue, bounds: tuple[str | None, str | None]) -> None:
    if not isinstance(value, int):
        return
    lowest, highest = (None if bound is None else config.int_(bound) for bound in bounds)
    if (lowest is None or value >= lowest) and (highest is None or value <= highest):
        return
    if lowest is None:
        _invalid(f"{name} must be less than or equal to {highest}")
    if highest is None:
        _invalid(f"{name} must be greater than or equal to {lowest}")
    _invalid(f"{name} must be in the range {lowest} to {highest} inclusive.")


def _check_session(config: BrokerConfig, kind: str, values: Mapping[str, ConfigValue]) -> None:
    session, heartbeat = f"{kind}.session.timeout.ms", f"{kind}.heartbeat.interval.ms"
    if session not in values and heartbeat not in values:
        return
    session_ms, heartbeat_ms = (values.get(name, config.value(GROUP_SYNONYMS[name])) for name in (session, heartbeat))
    if isinstance(session_ms, int) and isinstance(heartbeat_ms, int) and session_ms <= heartbeat_ms:
        _invalid(f"{session} must be greater than {heartbeat}")


def validate_client_metrics(subscription: str, overrides: Mapping[str, str]) -> None:
    """All keys that a client-metrics subscription would have after a change (KIP-714)."""
    if not subscription:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Subscription name can't be empty")
    for name in overrides:
        if name not in CLIENT_METRICS:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown client metrics configuration: {name}")
    values = _parsed(CLIENT_METRICS, overrides)
    interval_ms = values.get("interval.ms")
    if isinstance(interval_ms, int) and not _MIN_INTERVAL_MS <= interval_ms <= _MAX_INTERVAL_MS:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"Invalid value {interval_ms} for interval.ms, interval must be between {_MIN_INTERVAL_MS} and "
            f"{_MAX_INTERVAL_MS} (1 hour)",
        )
    patterns = values.get("match")
    for pattern in patterns if isinstance(patterns, tuple) else ():
        if not _is_match_pattern(pattern):
            _invalid(f"Illegal client matching pattern: {pattern}")


def _is_match_pattern(text: str) -> bool:
    import re

    parameter, equals, pattern = text.partition("=")
    if not (equals and pattern) or "=" in pattern or parameter.strip() not in _MATCH_PARAMETERS:
        return False
    try:
        re.compile(pattern.strip())
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def validate_dynamic_broker(config: BrokerConfig, new: Mapping[str, str], *, per_broker: bool) -> BrokerConfig:
    """All dynamic values that this broker (or the cluster) would have after a change; answers the new properties.

    The values that are in force now are those of `config`.
    """
    _check_names(new, per_broker=per_broker)
    try:
        if per_broker:
            changed = config.with_dynamic(config.dynamic_default, new)
        else:
            changed = config.with_dynamic(new, config.dynamic_broker)
        changed.check()
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, error.client_message) from error
    _check_threads(config, changed)
    _check_local_retention(changed)
    return changed


def _check_names(new: Mapping[str, str], *, per_broker: bool) -> None:
    fixed = [name for name in new if name in BROKER and not is_dynamic(name)]
    _refuse_names("Cannot update these configs dynamically", fixed)
    _refuse_names(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        [name for name in new if name in DYNAMIC_SECURITY_KEYS],
    )
    for name, text in new.items():
        key = BROKER.get(listener_base_name(name) or name) or BROKER_QUOTAS.get(name)
        if key is not None:
            try:
                parse_value(key, text)
            except ConfigError as error:
                raise KafkaError(ErrorCode.INVALID_REQUEST, error.message) from error
    if not per_broker:
        _refuse_names(
            "Cannot update these configs at default cluster level, broker id must be specified",
            [name for name in new if _is_per_broker(name)],
        )


def _is_per_broker(name: str) -> bool:
    base = listener_base_name(name)
    if base is not None:
        return base not in CLUSTER_LISTENER_KEYS
    return name in BROKER and BROKER[name].scope is Scope.PER_BROKER


def _refuse_names(reason: str, names: Sequence[str]) -> None:
    if names:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{reason}: [{', '.join(names)}]")


def _check_threads(config: BrokerConfig, changed: BrokerConfig) -> None:
    for name in _THREAD_KEYS:
        old, new = config.int_(name), changed.int_(name)
        prefix = f"Dynamic thread count update validation failed for {name}={new}"
        if new < old // 2:
            _refuse_reconfiguration(f"{prefix}, value should be at least half the current value {old}")
        if new > old * 2:
            _refuse_reconfiguration(f"{prefix}, value should not be greater than double the current value {old}")
    old, new = config.int_("log.cleaner.threads"), changed.int_("log.cleaner.threads")
    if new < old // 2:
        _refuse_reconfiguration(f"Log cleaner threads cannot be reduced to less than half the current value {old}")
    if new > old * 2:
        _refuse_reconfiguration(f"Log cleaner threads cannot be increased to more than double the current value {old}")


def _check_local_retention(changed: BrokerConfig) -> None:
    """What a topic keeps on the broker's disk can be no more than what it keeps at all (KIP-405)."""
    for local_name, total_name, total in (
        ("log.local.retention.ms", "log.retention.ms", changed.log_retention_ms),
        ("log.local.retention.bytes", "log.retention.bytes", changed.int_("log.retention.bytes")),
    ):
        local = changed.int_(local_name)
        if total == -1 or local == -2:
            continue
        invalid = f"Invalid value {local} for configuration {local_name}"
        if local == -1:
            _refuse_reconfiguration(f"{invalid}: Value must not be -1 as {total_name} value is set as {total}.")
        if local > total:
            _refuse_reconfiguration(f"{invalid}: Value must not be more than {total_name} property value: {total}")


def _refuse_reconfiguration(reason: str) -> NoReturn:
    raise KafkaError(
        ErrorCode.INVALID_REQUEST,
        f"Invalid value org.apache.kafka.common.config.ConfigException: {reason} for configuration Invalid dynamic "
        "configuration",
    )


def _parsed(table: Mapping[str, ConfigKey], overrides: Mapping[str, str]) -> dict[str, ConfigValue]:
    try:
        return {name: parse_value(table[name], text) for name, text in overrides.items()}
    except ConfigError as error:
        _refuse(error)


def _refuse(error: ConfigError) -> NoReturn:
    raise KafkaError(ErrorCode.INVALID_CONFIG, error.message) from error


def _invalid(message: str) -> NoReturn:
    raise KafkaError(ErrorCode.INVALID_CONFIG, message)
