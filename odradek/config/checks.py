"""Kafka's rules that involve more than one broker key, applied when a node starts.

The wording is Kafka's; most of these rules are requirements in the sense of `ConfigError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odradek.config.types import ConfigError
from odradek.config.validators import parse_voter

if TYPE_CHECKING:
    from odradek.config.broker import BrokerConfig

_BYTES_PER_MIB = 1_048_576
_LARGEST_COMPRESSION_ID = 4


def check_broker(config: BrokerConfig) -> None:
    """Raise ConfigError for the first rule that the properties break."""
    for check in (_check_logs, _check_replication, _check_roles, _check_listeners, _check_connections, _check_groups):
        check(config)


def _require(condition: bool, name: str, message: str) -> None:
    if not condition:
        raise ConfigError(name, message, requirement=True)


def _refuse(condition: bool, name: str, message: str) -> None:
    if condition:
        raise ConfigError(name, message)


def _check_logs(config: BrokerConfig) -> None:
    _refuse(
        config.node_id != config.int_("broker.id"),
        "broker.id",
        "`node.id` and `broker.id` must be set to the same value. `broker.id` is deprecated, "
        "please use `node.id` instead.",
    )
    _require(config.log_roll_ms >= 1, "log.roll.ms", "log.roll.ms must be greater than or equal to 1")
    _require(
        config.log_roll_jitter_ms >= 0, "log.roll.jitter.ms", "log.roll.jitter.ms must be greater than or equal to 0"
    )
    _require(
        config.log_retention_ms >= 1 or config.log_retention_ms == -1,
        "log.retention.ms",
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    )
    cleaner_threads = config.int_("log.cleaner.threads")
    _refuse(cleaner_threads < 1, "log.cleaner.threads", "log.cleaner.threads must be at least 1 when a node starts")
    _require(
        config.int_("log.cleaner.dedupe.buffer.size") // cleaner_threads > _BYTES_PER_MIB,
        "log.cleaner.dedupe.buffer.size",
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    )
    for name in ("offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"):
        codec = config.int_(name)
        _refuse(not 0 <= codec <= _LARGEST_COMPRESSION_ID, name, f"{name}: Unknown compression type id: {codec}")


def _check_replication(config: BrokerConfig) -> None:
    wait_max_ms = config.int_("replica.fetch.wait.max.ms")
    _require(
        wait_max_ms <= config.int_("replica.socket.timeout.ms"),
        "replica.socket.timeout.ms",
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary "
        "socket timeouts",
    )
    _require(
        wait_max_ms <= config.int_("replica.lag.time.max.ms"),
        "replica.lag.time.max.ms",
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent "
        "frequent changes in ISR",
    )


def _check_roles(config: BrokerConfig) -> None:
    voters = [parse_voter("controller.quorum.voters", text)[0] for text in config.list_("controller.quorum.voters")]
    _refuse(
        not (voters or config.list_("controller.quorum.bootstrap.servers")),
        "controller.quorum.bootstrap.servers",
        "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap "
        "controllers or controller.quorum.voters must contain a parseable set of controllers.",
    )
    shown = f"controller.quorum.voters=Set({', '.join(map(str, voters))})"
    if "controller" not in config.list_("process.roles"):
        _check_broker_role(config, voters, shown)
        return
    _require(
        not voters or config.node_id in voters,
        "controller.quorum.voters",
        f"If process.roles contains the 'controller' role, the node id {config.node_id} must be included in the set "
        f"of voters {shown}",
    )
    if "broker" not in config.list_("process.roles"):
        _check_controller_role(config)
    _require(
        bool(config.advertised_controller_listeners),
        "controller.listener.names",
        "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when "
        "running the KRaft controller role",
    )
    names = {listener.name for listener in config.listeners}
    _require(
        names.issuperset(config.controller_listener_names),
        "controller.listener.names",
        "controller.listener.names must only contain values appearing in the 'listeners' configuration when running "
        "the KRaft controller role",
    )


def _check_controller_role(config: BrokerConfig) -> None:
    _require(
        len(config.advertised_controller_listeners) == len(config.listeners),
        "listeners",
        "The listeners config must only contain KRaft controller listeners from controller.listener.names when "
        "process.roles=controller",
    )
    _require(
        not config.is_set("inter.broker.listener.name")
        or config.inter_broker_listener_name not in config.controller_listener_names,
        "inter.broker.listener.name",
        "controller.listener.names must not contain an explicitly set inter.broker.listener.name configuration value "
        "when process.roles=controller'",
    )


def _check_broker_role(config: BrokerConfig, voters: list[int], shown: str) -> None:
    names = config.controller_listener_names
    _require(
        config.node_id not in voters,
        "controller.quorum.voters",
        f"If process.roles contains just the 'broker' role, the node id {config.node_id} must not be included in the "
        f"set of voters {shown}",
    )
    _require(
        not config.controller_listeners,
        "controller.listener.names",
        "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running "
        "KRaft with just the broker role",
    )
    protocols = config.security_protocol_map
    for name in names:
        _refuse(
            name.upper() not in protocols,
            "controller.listener.names",
            f"Controller listener with name {name.upper()} defined in controller.listener.names not found in "
            "listener.security.protocol.map  (an explicit security mapping for each controller listener is required if "
            "listener.security.protocol.map is non-empty, or if there are security protocols other than PLAINTEXT in "
            "use)",
        )
    _require(
        not config.bool_("controller.quorum.auto.join.enable"),
        "controller.quorum.auto.join.enable",
        "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role.",
    )


def _check_listeners(config: BrokerConfig) -> None:
    advertised = config.advertised_listeners
    inter_broker_protocol = config.inter_broker_security_protocol
    if "broker" in config.list_("process.roles"):
        hint = " Perhaps all listeners appear in controller.listener.names?"
        _require(bool(advertised), "listeners", f"There must be at least one broker advertised listener.{hint}")
        _check_advertised_names(config)
        _check_cordoned(config)
    for listener in (*advertised, *config.listeners_said_to_be_advertised):
        _require(
            listener.host != "0.0.0.0",
            "advertised.listeners",
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
        )
    known = {listener.name for listener in config.listeners} | set(config.controller_listener_names)
    for name in config.list_("early.start.listeners"):
        _refuse(
            name not in known,
            "early.start.listeners",
            f"early.start.listeners contains listener {name}, but this is not contained in listeners or "
            "controller.listener.names",
        )
    if inter_broker_protocol.name.startswith("SASL"):
        mechanisms = config.for_listener(config.inter_broker_listener_name, "sasl.enabled.mechanisms")
        _require(
            isinstance(mechanisms, tuple) and config.string("sasl.mechanism.inter.broker.protocol") in mechanisms,
            "sasl.mechanism.inter.broker.protocol",
            "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for "
            "inter-broker communication",
        )


def _check_advertised_names(config: BrokerConfig) -> None:
    names = [listener.name for listener in config.advertised_listeners]
    shown = ",".join(names)
    _require(
        config.inter_broker_listener_name in names,
        "inter.broker.listener.name",
        "inter.broker.listener.name must be a listener name defined in advertised.listeners. "
        f"The valid options based on currently configured listeners are {shown}",
    )
    listener_names = [listener.name for listener in config.listeners]
    _require(
        set(names).issubset(listener_names),
        "advertised.listeners",
        f"advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. "
        f"Found {shown}. The valid options based on the current configuration are {','.join(listener_names)}",
    )


def _check_cordoned(config: BrokerConfig) -> None:
    cordoned = config.list_("cordoned.log.dirs")
    if "*" in cordoned:
        _require(
            len(cordoned) == 1,
            "cordoned.log.dirs",
            "When cordoned.log.dirs is set to *, it must not contain other values",
        )
        return
    missing = [each for each in cordoned if each not in config.log_dirs]
    _require(
        not missing,
        "cordoned.log.dirs",
        "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : "
        + ", ".join(missing),
    )


def _check_connections(config: BrokerConfig) -> None:
    queued_bytes = config.int_("queued.max.request.bytes")
    _require(
        queued_bytes <= 0 or queued_bytes >= config.int_("socket.request.max.bytes"),
        "queued.max.request.bytes",
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
    )
    overrides = config.max_connections_per_ip_overrides
    _require(
        config.int_("max.connections.per.ip") != 0 or bool(overrides),
        "max.connections.per.ip",
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
    )
    invalid = [host for host in overrides if not host or not _HOST_CHARACTERS.issuperset(host)]
    _refuse(
        bool(invalid),
        "max.connections.per.ip.overrides",
        "max.connections.per.ip.overrides contains invalid addresses : " + ",".join(invalid),
    )
    max_idle_ms = config.int_("connections.max.idle.ms")
    delay_ms = config.int_("connection.failed.authentication.delay.ms")
    _require(
        max_idle_ms < 0 or delay_ms < max_idle_ms,
        "connections.max.idle.ms",
        f"connection.failed.authentication.delay.ms={delay_ms} should always be less than "
        f"connections.max.idle.ms={max_idle_ms} to prevent failed authentication responses from timing out",
    )


_HOST_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-%._:")


CONSUMER_ASSIGNORS = (
    "uniform",
    "range",
    "org.apache.kafka.coordinator.group.assignor.UniformAssignor",
    "org.apache.kafka.coordinator.group.assignor.RangeAssignor",
)
"""Kafka also loads assignors that are given as Java classes."""


def _check_groups(config: BrokerConfig) -> None:
    _refuse(
        "classic" not in config.list_("group.coordinator.rebalance.protocols"),
        "group.coordinator.rebalance.protocols",
        "Disabling the 'classic' protocol is not supported.",
    )
    unknown = [name for name in config.list_("group.consumer.assignors") if name not in CONSUMER_ASSIGNORS]
    _refuse(
        bool(unknown),
        "group.consumer.assignors",
        f"group.consumer.assignors can hold {', '.join(CONSUMER_ASSIGNORS)} only, not {', '.join(unknown)}",
    )
    for kind in ("consumer", "share", "streams"):
        for name in ("heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"):
            _check_bounds(config, f"group.{kind}.", name)
        heartbeat, session = (f"group.{kind}.{name}" for name in ("heartbeat.interval.ms", "session.timeout.ms"))
        _refuse(config.int_(heartbeat) >= config.int_(session), heartbeat, f"{heartbeat} must be less than {session}")
    for name in ("delivery.count.limit", "partition.max.record.locks", "record.lock.duration.ms"):
        _at_least(config, f"group.share.max.{name}", f"group.share.{name}")
        _at_least(config, f"group.share.{name}", f"group.share.min.{name}")
    _at_least(config, "group.share.max.share.sessions", "group.share.max.size")
    for name in ("num.standby.replicas", "num.warmup.replicas"):
        _at_most(config, f"group.streams.{name}", f"group.streams.max.{name.removeprefix('num.')}")
    _at_least(config, "group.streams.task.offset.interval.ms", "group.streams.min.task.offset.interval.ms")


def _check_bounds(config: BrokerConfig, prefix: str, name: str) -> None:
    _at_least(config, f"{prefix}max.{name}", f"{prefix}min.{name}")
    _at_least(config, f"{prefix}{name}", f"{prefix}min.{name}")
    _at_most(config, f"{prefix}{name}", f"{prefix}max.{name}")


def _at_least(config: BrokerConfig, larger: str, smaller: str) -> None:
    _refuse(config.int_(larger) < config.int_(smaller), larger, f"{larger} must be greater than or equal to {smaller}")


def _at_most(config: BrokerConfig, smaller: str, larger: str) -> None:
    _refuse(config.int_(smaller) > config.int_(larger), smaller, f"{smaller} must be less than or equal to {larger}")
