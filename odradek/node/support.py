"""Properties that a node refuses, because it could only pretend, and those that it passes over."""

from __future__ import annotations

from odradek.config import BrokerConfig, ConfigError, SecurityProtocol
from odradek.config.defaults import SINGLE_NODE_TOPIC_DEFAULTS
from odradek.config.support import ignored_properties


def check_supported(config: BrokerConfig) -> None:
    """Refuse properties that promise safety or a cluster that Odradek does not provide: raises ConfigError.

    Properties that merely have no effect are not refused (see `properties_without_effect`).
    """
    for listener in config.listeners:
        if listener.security_protocol is not SecurityProtocol.PLAINTEXT:
            raise ConfigError(
                "listeners",
                f"listeners: {listener.name} has the protocol {listener.security_protocol.name}, and only PLAINTEXT is "
                "supported",
            )
    for name in config.controller_listener_names:
        protocol = config.security_protocol_map.get(name.upper(), SecurityProtocol.PLAINTEXT)
        if protocol is not SecurityProtocol.PLAINTEXT:
            raise ConfigError(
                "listener.security.protocol.map",
                f"listener.security.protocol.map: the controllers' {name} has the protocol {protocol.name}, and only "
                "PLAINTEXT is supported",
            )
    if config.string("authorizer.class.name").strip():
        raise ConfigError(
            "authorizer.class.name", "authorizer.class.name is not supported: every client would be allowed everything"
        )


def properties_without_effect(config: BrokerConfig) -> list[str]:
    """What a user should be told of: not what says of a single node what is so anyway."""
    return [
        name for name in ignored_properties(config) if config.originals[name] != SINGLE_NODE_TOPIC_DEFAULTS.get(name)
    ]
