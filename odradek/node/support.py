"""What a node refuses to be, because it could only pretend."""

from __future__ import annotations

from odradek.config import BrokerConfig, ConfigError, ProcessRole, SecurityProtocol


def check_supported(config: BrokerConfig) -> None:
    """Refuse properties that promise safety or a cluster that Odradek does not provide: raises ConfigError.

    Properties that merely have no effect are not refused (see `odradek.config.support`).
    """
    for listener in config.listeners:
        if listener.security_protocol is not SecurityProtocol.PLAINTEXT:
            raise ConfigError(
                "listeners",
                f"listeners: {listener.name} has the protocol {listener.security_protocol.name}, and only PLAINTEXT is "
                "supported",
            )
    if config.string("authorizer.class.name").strip():
        raise ConfigError(
            "authorizer.class.name", "authorizer.class.name is not supported: every client would be allowed everything"
        )
    if set(config.process_roles) != {ProcessRole.BROKER, ProcessRole.CONTROLLER}:
        raise ConfigError(
            "process.roles", "process.roles must be broker,controller: a cluster of one node is supported"
        )
    for name in ("controller.quorum.voters", "controller.quorum.bootstrap.servers"):
        if len(config.list_(name)) > 1:
            raise ConfigError(name, f"{name} names several controllers: a cluster of one node is supported")
