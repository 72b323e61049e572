"""Addresses on the command line."""

from __future__ import annotations

from odradek.config import ConfigError

DEFAULT_LISTEN = "localhost:9092"


def listen_address(text: str, option: str = "--listen") -> tuple[str, int]:
    """Read HOST:PORT of an option, where an IPv6 host may stand in brackets; raises ConfigError."""
    host, separator, port = text.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ConfigError("listeners", f"{option} {text}: write HOST:PORT, such as {DEFAULT_LISTEN}")
    return host.removeprefix("[").removesuffix("]"), int(port)
