"""Listeners: names, addresses and security protocols, read from `listeners` and its relatives by Kafka's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from odradek.config.types import ConfigError
from odradek.config.validators import is_digits

_HOST_CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-%._:")
_MAX_PORT = 65_535


class SecurityProtocol(IntEnum):
    """What a listener speaks below Kafka's protocol; the codes are those of broker registrations."""

    PLAINTEXT = 0
    SSL = 1
    SASL_PLAINTEXT = 2
    SASL_SSL = 3


class Listener(NamedTuple):
    """One listener; an empty host means all interfaces, port 0 means any free port."""

    name: str
    host: str
    port: int
    security_protocol: SecurityProtocol


def parse_security_protocol(property_name: str, text: str) -> SecurityProtocol:
    """One of the four protocols, in any case of letters; raises ConfigError."""
    try:
        return SecurityProtocol[text.upper()]
    except KeyError:
        raise ConfigError(property_name, f"Invalid security protocol `{text}` defined in {property_name}") from None


def parse_map(property_name: str, text: str) -> dict[str, str]:
    """Read `KEY:VALUE,KEY:VALUE`, where the last colon separates; raises ConfigError."""
    entries: dict[str, str] = {}
    for item in text.split(","):
        if not item.strip():
            continue
        key, colon, value = item.strip().rpartition(":")
        if not colon:
            raise ConfigError(
                property_name,
                f"Error parsing configuration property '{property_name}': '{item.strip()}' is not a key:value pair",
            )
        entries[key.strip()] = value.strip()
    return entries


def parse_protocol_map(text: str) -> dict[str, SecurityProtocol]:
    """Listener name -> protocol, from `listener.security.protocol.map`; raises ConfigError."""
    name = "listener.security.protocol.map"
    return {key.upper(): parse_security_protocol(name, value) for key, value in parse_map(name, text).items()}


def parse_listener_name(text: str) -> str:
    """The name of `NAME://HOST:PORT` in capitals; raises ConfigError."""
    name, separator, _ = text.partition(":")
    if not separator:
        raise ConfigError("listeners", f"Unable to parse a listener name from {text}; write NAME://HOST:PORT")
    return name.strip().upper()


def parse_listeners(
    property_name: str,
    texts: Sequence[str],
    protocols: Mapping[str, SecurityProtocol],
    *,
    distinct_ports: bool = True,
) -> tuple[Listener, ...]:
    """Read `NAME://HOST:PORT` items; raises ConfigError for a form, a name or a port that Kafka refuses."""
    try:
        listeners = tuple(_parse_listener(property_name, text, protocols) for text in texts)
        _check_names_and_ports(property_name, listeners, texts, distinct_ports)
    except ConfigError as error:
        shown = "[" + ", ".join(texts) + "]"
        raise ConfigError(property_name, f"Error creating broker listeners from '{shown}': {error.message}") from error
    return listeners


def _parse_listener(property_name: str, text: str, protocols: Mapping[str, SecurityProtocol]) -> Listener:
    name, separator, address = text.partition("://")
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    well_formed = separator and colon and is_digits(port) and _HOST_CHARACTERS.issuperset(bare)
    if not well_formed or len(port) > len(str(_MAX_PORT)):
        raise ConfigError(property_name, f"Unable to parse {text} to a broker endpoint")
    if int(port) > _MAX_PORT:
        raise ConfigError(property_name, f"The port of {text} must be at most {_MAX_PORT}")
    protocol = protocols.get(name.upper())
    if protocol is None:
        raise ConfigError(property_name, f"No security protocol defined for listener {name.upper()}")
    return Listener(name.upper(), bare, int(port), protocol)


def _check_names_and_ports(
    property_name: str, listeners: Sequence[Listener], texts: Sequence[str], distinct_ports: bool
) -> None:
    shown = "[" + ", ".join(texts) + "]"
    if len({listener.name for listener in listeners}) != len(listeners):
        raise ConfigError(property_name, f"Each listener must have a different name, listeners: {shown}")
    if not distinct_ports:
        return
    by_port: dict[int, list[str]] = {}
    for listener in listeners:
        if listener.port != 0:
            by_port.setdefault(listener.port, []).append(listener.host)
    for port, hosts in by_port.items():
        if len(hosts) > 1:
            _check_shared_port(property_name, port, hosts, shown)


def _check_shared_port(property_name: str, port: int, hosts: Sequence[str], shown: str) -> None:
    """A port may be used twice when one address is IPv4 and the other one IPv6 (KIP-797)."""
    versions = [version for version in map(_ip_version, hosts) if version is not None]
    if len(hosts) - len(versions) > 1:
        raise ConfigError(property_name, f"Each listener must have a different port, listeners: {shown}")
    if len(versions) > 2:
        raise ConfigError(
            property_name,
            "Each listener must have a different port unless exactly one listener has an IPv4 address and the other "
            f"IPv6 address, listeners: {shown}, port: {port}",
        )
    if len(versions) == 2 and (versions[0] == versions[1] or len(hosts) > 2):
        raise ConfigError(
            property_name,
            "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, "
            f"listeners: {shown}, port: {port}",
        )
    if len(versions) == 1:
        raise ConfigError(
            property_name,
            "Each listener must have a different port unless exactly one listener has an IPv4 address and the other "
            f"IPv6 address, listeners: {shown}, port: {port}",
        )


def _ip_version(host: str) -> int | None:
    # Imported here because only listeners that share a port need it.
    from ipaddress import ip_address

    try:
        return ip_address(host).version
    except ValueError:
        return None
