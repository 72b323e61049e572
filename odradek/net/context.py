"""What the connections of one event loop share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from odradek.net.frames import READ_BUFFER_BYTES, Spares
from odradek.net.limits import NetworkLimits
from odradek.net.memory import RequestMemory


@dataclass(slots=True)
class Counters:
    """What a listener has seen since the node started; plain integers, read by whoever publishes metrics."""

    connections_opened: int = 0
    connections_closed: int = 0
    connections_refused: int = 0
    """Closed at once because of `max.connections.per.ip`."""
    connections_expired: int = 0
    """Closed because of `connections.max.idle.ms`."""
    connections_evicted: int = 0
    """Closed because the node's memory or connections were needed elsewhere."""
    frames_refused: int = 0
    """Frames of a forbidden length; each cost its connection."""
    requests: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class Flushable(Protocol):
    """A connection with replies to send."""

    def flush(self) -> None:
        """Send what the socket takes."""
        ...


class LoopContext:
    """Buffers, budget, clock ticks and the flush at the end of a turn. Belongs to the loop's thread."""

    __slots__ = ("_unflushed", "limits", "loop", "memory", "read_view", "spares", "tick")

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: NetworkLimits) -> None:
        self.loop = loop
        self.limits = limits
        self.memory = RequestMemory(limits.request_memory_bytes)
        self.spares = Spares()
        self.read_view = memoryview(bytearray(READ_BUFFER_BYTES))
        self.tick = 0
        self._unflushed: list[Flushable] = []

    def replace_read_view(self) -> None:
        """Leave the present read buffer to the parked request whose frame lies in it."""
        self.read_view = memoryview(bytearray(READ_BUFFER_BYTES))

    def flush_later(self, connection: Flushable) -> None:
        """Flush once this turn's work is done, so that replies completed in one turn leave together."""
        self._unflushed.append(connection)
        if len(self._unflushed) == 1:
            self.loop.call_soon(self._flush_all)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Run `callback` in `delay_ms` milliseconds."""
        return self.loop.call_later(delay_ms / 1000, callback)

    def _flush_all(self) -> None:
        connections, self._unflushed = self._unflushed, []
        for connection in connections:
            connection.flush()
