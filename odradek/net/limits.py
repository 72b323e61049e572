"""The named limits of the socket layer."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from odradek.config import BrokerConfig, ConfigError

UNLIMITED = 2**31 - 1

SEND_BUFFER_BYTES = 300_000
"""In place of Kafka's default of 100 KiB: a consumer's megabyte then takes two turns of the loop, and not four or five.
With much more the kernel does on this node's time what it else does on the reader's."""
RECEIVE_BUFFER_BYTES = 2_500_000
"""Likewise: what a producer has in flight then comes with one read, and goes to its log with one write. What does not
fit is fetched by the kernel from the sender's end while this node reads: a third of the time of large batches."""
DEFAULT_REQUEST_MEMORY_BYTES = 256 * 1024 * 1024
"""Request memory of a node whose `queued.max.request.bytes` is -1, which Kafka takes for no limit at all."""


class NetworkLimits(NamedTuple):
    """What clients may use. The first group are Kafka's properties of the same name, with Kafka's defaults."""

    socket_request_max_bytes: int = 100 * 1024 * 1024
    """Longest frame, without its length."""
    queued_max_request_bytes: int = -1
    """Memory for incomplete and parked frames on the whole node; -1: see `request_memory_bytes`."""
    connections_max_idle_ms: int = 600_000
    """A connection without a byte in either direction for this long is closed; negative: never."""
    max_connections: int = UNLIMITED
    """Connections of the node; beyond it new ones wait in the listener's backlog. The process's
    descriptors may allow for fewer (`connections_limit`)."""
    max_connections_per_ip: int = UNLIMITED
    """Connections of one address; beyond it new ones are closed at once."""
    max_connections_per_ip_overrides: Mapping[str, int] = MappingProxyType({})
    """By address, in place of `max_connections_per_ip`."""
    socket_send_buffer_bytes: int = SEND_BUFFER_BYTES
    """SO_SNDBUF; -1: the system's default."""
    socket_receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES
    """SO_RCVBUF; -1: the system's default."""
    socket_listen_backlog_size: int = 50

    max_parked_requests: int = 256
    """Requests of one connection that wait for their replies; then reading stops until half of them are answered."""
    max_unsent_bytes: int = 16 * 1024 * 1024
    """Reply bytes that one connection has not taken; one reply may exceed it, then reading stops until half is gone."""
    max_frames_per_turn: int = 64
    """Requests of one connection handled before other connections have their turn."""
    max_turn_ms: int = 20
    """How long one connection's requests are handled before others have their turn; one request may take longer."""
    half_close_linger_ms: int = 5_000
    """How long a peer that has finished sending may wait for the replies that it is owed."""

    @classmethod
    def from_config(cls, config: BrokerConfig) -> NetworkLimits:
        """The limits that a node's properties set; ConfigError if a host of the overrides cannot be resolved."""
        return cls(
            socket_request_max_bytes=config.int_("socket.request.max.bytes"),
            queued_max_request_bytes=config.int_("queued.max.request.bytes"),
            connections_max_idle_ms=config.int_("connections.max.idle.ms"),
            max_connections=config.int_("max.connections"),
            max_connections_per_ip=config.int_("max.connections.per.ip"),
            max_connections_per_ip_overrides={
                _address_of(host): count for host, count in config.max_connections_per_ip_overrides.items()
            },
            socket_send_buffer_bytes=config.int_("socket.send.buffer.bytes")
            if config.is_set("socket.send.buffer.bytes")
            else SEND_BUFFER_BYTES,
            socket_receive_buffer_bytes=config.int_("socket.receive.buffer.bytes")
            if config.is_set("socket.receive.buffer.bytes")
            else RECEIVE_BUFFER_BYTES,
            socket_listen_backlog_size=config.int_("socket.listen.backlog.size"),
        )

    @property
    def request_memory_bytes(self) -> int:
        """The node's budget for request memory, in bytes."""
        if self.queued_max_request_bytes > 0:
            return self.queued_max_request_bytes
        return max(DEFAULT_REQUEST_MEMORY_BYTES, 2 * self.socket_request_max_bytes)


def _address_of(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        raise ConfigError(
            "max.connections.per.ip.overrides", f"max.connections.per.ip.overrides: '{host}' has no address"
        ) from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])
