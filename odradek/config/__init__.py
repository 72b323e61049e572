"""Kafka's property names, types, defaults and rules in one table, and what is read from them.

Start with `BrokerConfig.load`; `table` holds the keys, `properties` reads .properties files.
"""

from __future__ import annotations

from odradek.config.broker import BrokerConfig, ProcessRole
from odradek.config.defaults import single_node_defaults
from odradek.config.listeners import Listener, SecurityProtocol
from odradek.config.properties import PROPERTIES_ENCODING, parse_properties
from odradek.config.table import BROKER, CLIENT_METRICS, GROUP, TABLE, TOPIC
from odradek.config.types import (
    ConfigError,
    ConfigKey,
    ConfigSource,
    ConfigType,
    ConfigValue,
    Importance,
    ResourceType,
    Scope,
    format_value,
    parse_value,
)

__all__ = [
    # properties of a node
    "BrokerConfig",
    "Listener",
    "ProcessRole",
    "SecurityProtocol",
    "single_node_defaults",
    "PROPERTIES_ENCODING",
    "parse_properties",
    # the table
    "BROKER",
    "CLIENT_METRICS",
    "GROUP",
    "TABLE",
    "TOPIC",
    "ConfigKey",
    "ConfigSource",
    "ConfigType",
    "ConfigValue",
    "Importance",
    "ResourceType",
    "Scope",
    # values
    "ConfigError",
    "format_value",
    "parse_value",
]
