"""`BrokerConfig`: the properties of one node, checked as a whole, with typed access to each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from odradek.config.listeners import (
    Listener,
    SecurityProtocol,
    parse_listener_name,
    parse_listeners,
    parse_map,
    parse_protocol_map,
    parse_security_protocol,
)
from odradek.config.own import OWN
from odradek.config.table import (
    BROKER,
    BROKER_QUOTAS,
    LISTENER_PREFIX,
    MS_PER_HOUR,
    MS_PER_MINUTE,
    broker_synonyms,
)
from odradek.config.types import ConfigError, ConfigKey, ConfigValue, parse_value
from odradek.config.unknown import is_known, unknown_property
from odradek.config.values import TypedValues

# In the order in which Kafka complains.
_REQUIRED = ("process.roles", "node.id", "controller.listener.names")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class ProcessRole(Enum):
    """What a KRaft node does (KIP-500)."""

    BROKER = "broker"
    CONTROLLER = "controller"


class BrokerConfig(TypedValues):
    """Properties of a node: what its file says and what was set at run time, over the table's defaults.

    Immutable: `with_dynamic` makes another one. A dynamic value of this broker comes before one of the cluster, then
    the file, then the default (KIP-226).
    """

    __slots__ = ("_values", "dynamic_broker", "dynamic_default", "originals", "topic_defaults")

    def __init__(
        self,
        originals: Mapping[str, str],
        dynamic_default: Mapping[str, str] = _NOTHING,
        dynamic_broker: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.originals: Mapping[str, str] = MappingProxyType(dict(originals))
        self.dynamic_default: Mapping[str, str] = MappingProxyType(dict(dynamic_default))
        self.dynamic_broker: Mapping[str, str] = MappingProxyType(dict(dynamic_broker))
        self.topic_defaults: dict[str, ConfigValue] = {}
        """What topics take that do not set a key themselves, as far as it was asked for: it is the same for all."""
        self._values: dict[str, ConfigValue] = {}
        for name, text in self.originals.items():
            self._values[name] = _parse_property(name, text)
        for source in (self.dynamic_default, self.dynamic_broker):
            for name, text in source.items():
                # A key set at run time silences those that set the same thing in another unit.
                for synonym in broker_synonyms(name) if name in BROKER else ():
                    self._values.pop(synonym, None)
                self._values[name] = _parse_property(name, text)

    @classmethod
    def load(cls, properties: Mapping[str, str]) -> BrokerConfig:
        """Check the properties of a file and of the command line; raises ConfigError with one line for the user."""
        originals = dict(properties)
        for name in originals:
            if not is_known(name, originals):
                raise unknown_property(name)
        _fill_id_synonym(originals)
        if originals.get("config.providers", "").strip():
            raise ConfigError(
                "config.providers", "config.providers is not supported: write the values into the file instead"
            )
        config = cls(originals)
        for name in _REQUIRED:
            if name not in originals:
                raise ConfigError(name, f'Missing required configuration "{name}" which has no default value.')
        config.check()
        return config

    def with_dynamic(self, dynamic_default: Mapping[str, str], dynamic_broker: Mapping[str, str]) -> BrokerConfig:
        """The same file under other dynamic values; raises ConfigError for a value that does not parse."""
        return BrokerConfig(self.originals, dynamic_default, dynamic_broker)

    def check(self) -> None:
        """Apply the rules that involve more than one key; raises ConfigError."""
        from odradek.config.checks import check_broker

        check_broker(self)

    # Values

    def value(self, name: str) -> ConfigValue:
        """The value in force of a key of the table; KeyError for another name."""
        if name in self._values:
            return self._values[name]
        key = BROKER.get(name) or OWN.get(name) or BROKER_QUOTAS[name]
        return key.default

    def is_set(self, name: str) -> bool:
        """Whether the key has a value from the file or from run time."""
        return name in self._values

    def for_listener(self, listener: str, name: str) -> ConfigValue:
        """The value for one listener: `listener.name.LISTENER.NAME` where that is set, else that of `name`."""
        prefixed = f"{LISTENER_PREFIX}{listener.lower()}.{name}"
        return self._values[prefixed] if prefixed in self._values else self.value(name)

    # The node

    @property
    def node_id(self) -> int:
        """This node's id in the cluster."""
        return self.int_("node.id")

    @property
    def process_roles(self) -> tuple[ProcessRole, ...]:
        """What this node does, as listed."""
        return tuple(ProcessRole(role) for role in self.list_("process.roles"))

    @property
    def log_dirs(self) -> tuple[str, ...]:
        """Where logs are kept: `log.dirs`, else `log.dir`."""
        return self.list_("log.dirs") or self.list_("log.dir")

    @property
    def metadata_log_dir(self) -> str:
        """Where the metadata log is kept: its own folder if set, else the first of the log folders."""
        return self.optional_string("metadata.log.dir") or self.log_dirs[0]

    # Listeners

    @property
    def controller_listener_names(self) -> tuple[str, ...]:
        """Names of the listeners of the controllers, as written."""
        return self.list_("controller.listener.names")

    @property
    def security_protocol_map(self) -> dict[str, SecurityProtocol]:
        """Listener name in capitals -> protocol.

        As long as the map is left at its default and nothing uses TLS or SASL, controller listeners are plaintext.
        """
        protocols = parse_protocol_map(self.string("listener.security.protocol.map"))
        if "listener.security.protocol.map" in self.originals:
            return protocols
        names = [parse_listener_name(text) for text in self.list_("listeners")]
        if any(name in ("SSL", "SASL_PLAINTEXT", "SASL_SSL") for name in (*self.controller_listener_names, *names)):
            return protocols
        for name in self.controller_listener_names:
            protocols.setdefault(name, SecurityProtocol.PLAINTEXT)
        return protocols

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All listeners, those of the controller role too, in the order of the file."""
        return parse_listeners("listeners", self.list_("listeners"), self.security_protocol_map)

    @property
    def broker_listeners(self) -> tuple[Listener, ...]:
        """The listeners that clients and brokers connect to."""
        return tuple(each for each in self.listeners if each.name not in self.controller_listener_names)

    @property
    def controller_listeners(self) -> tuple[Listener, ...]:
        """The listeners of the controller role."""
        return tuple(each for each in self.listeners if each.name in self.controller_listener_names)

    @property
    def advertised_listeners(self) -> tuple[Listener, ...]:
        """What clients are told: `advertised.listeners` without those of controllers, else the broker's listeners.

        An empty host is left to the caller: Kafka puts the machine's canonical name there.
        """
        return tuple(each for each in self._all_advertised() if each.name not in self.controller_listener_names)

    @property
    def advertised_controller_listeners(self) -> tuple[Listener, ...]:
        """What other nodes are told about this controller, in the order of `controller.listener.names`."""
        candidates = (*self._all_advertised(), *self.controller_listeners)
        found = (
            next((each for each in candidates if each.name == name.upper()), None)
            for name in self.controller_listener_names
        )
        return tuple(each for each in found if each is not None)

    @property
    def listeners_said_to_be_advertised(self) -> tuple[Listener, ...]:
        """Those of `advertised.listeners`, of controllers, too; none where it is not set."""
        return self._all_advertised() if isinstance(self.value("advertised.listeners"), tuple) else ()

    def _all_advertised(self) -> tuple[Listener, ...]:
        texts = self.value("advertised.listeners")
        if not isinstance(texts, tuple):
            return self.listeners
        return parse_listeners("advertised.listeners", texts, self.security_protocol_map, distinct_ports=False)

    @property
    def inter_broker_listener_name(self) -> str:
        """The listener that brokers use among themselves; raises ConfigError where the properties contradict."""
        name = self.optional_string("inter.broker.listener.name")
        if name is None:
            return self.inter_broker_security_protocol.name
        if "security.inter.broker.protocol" in self.originals:
            raise ConfigError(
                "inter.broker.listener.name",
                "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
            )
        return name.upper()

    @property
    def inter_broker_security_protocol(self) -> SecurityProtocol:
        """The protocol of that listener; raises ConfigError where the map does not know it."""
        name = self.optional_string("inter.broker.listener.name")
        if name is None:
            key = "security.inter.broker.protocol"
            return parse_security_protocol(key, self.string(key))
        protocol = self.security_protocol_map.get(name.upper())
        if protocol is None:
            raise ConfigError(
                "inter.broker.listener.name",
                f"Listener with name {name.upper()} defined in inter.broker.listener.name not found in "
                "listener.security.protocol.map.",
            )
        return protocol

    @property
    def max_connections_per_ip_overrides(self) -> dict[str, int]:
        """Host or address -> the number of connections it may have; raises ConfigError."""
        key = "max.connections.per.ip.overrides"
        entries = parse_map(key, self.string(key))
        for host, count in entries.items():
            if not (count.isascii() and count.isdigit()):
                raise ConfigError(key, f"{key}: '{count}' is not a number of connections for {host}")
        return {host: int(count) for host, count in entries.items()}

    # Keys in several units

    @property
    def log_retention_ms(self) -> int:
        """How long records are kept by default, in milliseconds; -1 is for ever."""
        retention_ms = self._first_ms("log.retention.ms", 1, MS_PER_MINUTE, MS_PER_HOUR)
        return -1 if retention_ms < 0 else retention_ms

    @property
    def log_roll_ms(self) -> int:
        """After how long the active segment is rolled by default, in milliseconds."""
        return self._first_ms("log.roll.ms", 1, MS_PER_HOUR)

    @property
    def log_roll_jitter_ms(self) -> int:
        """How much is taken off `log_roll_ms` at random, at most, in milliseconds."""
        return self._first_ms("log.roll.jitter.ms", 1, MS_PER_HOUR)

    @property
    def log_flush_interval_ms(self) -> int:
        """After how long a write is flushed by default, in milliseconds."""
        return self._first_ms("log.flush.interval.ms", 1, 1)

    def _first_ms(self, name: str, *factors: int) -> int:
        for synonym, factor in zip(broker_synonyms(name), factors, strict=True):
            number = self.optional_int(synonym)
            if number is not None:
                return number * factor
        raise KeyError(name)


def _parse_property(name: str, text: str) -> ConfigValue:
    key = BROKER.get(name) or OWN.get(name) or BROKER_QUOTAS.get(name)
    if key is None:
        base = broker_synonyms(name)[-1]
        override = BROKER.get(base)
        if override is None:
            return text
        key = ConfigKey(name, override.type, None, override.importance, override.validator)
    return parse_value(key, text)


def _fill_id_synonym(originals: dict[str, str]) -> None:
    """`broker.id` is the old name of `node.id`: each gives the other its value (KIP-1232)."""
    for name, other in (("broker.id", "node.id"), ("node.id", "broker.id")):
        if name in originals and other not in originals:
            originals[other] = originals[name]
