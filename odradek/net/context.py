"""What the connections of one event loop share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from odradek.net.bulk import BulkTurns
from odradek.net.frames import MAX_READ_BUFFER_BYTES, MAX_READ_BYTES, READ_BUFFER_BYTES, Spares
from odradek.net.gathering import Gathering
from odradek.net.limits import NetworkLimits
from odradek.net.memory import RequestMemory
from odradek.ports import Executor

_FILLED_BEFORE_GROWTH = 8
"""Reads that fill the read buffer, none of which gave it away, before it grows."""


class Counters:
    """What a listener has seen since the node started; plain integers, read by whoever publishes metrics."""

    __slots__ = (
        "connections_closed",
        "connections_evicted",
        "connections_expired",
        "connections_opened",
        "connections_refused",
        "frames_refused",
        "received_bytes",
        "requests",
        "sendfile_bytes",
        "sent_bytes",
    )

    def __init__(self) -> None:
        self.connections_opened = 0
        self.connections_closed = 0
        self.connections_refused = 0
        """Closed at once because of `max.connections.per.ip`."""
        self.connections_expired = 0
        """Closed because of `connections.max.idle.ms`."""
        self.connections_evicted = 0
        """Closed because the node's memory or connections were needed elsewhere."""
        self.frames_refused = 0
        """Frames of a forbidden length; each cost its connection."""
        self.requests = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.sendfile_bytes = 0
        """Those of them that went from file to socket within the kernel."""

    def add(self, other: Counters) -> None:
        """Count what `other` has counted too."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Flushable(Protocol):
    """A connection with replies to send."""

    def flush(self) -> None:
        """Send what the socket takes."""
        ...


class LoopContext:
    """Buffers, budget, clock ticks and the flush at the end of a turn. Belongs to the loop's thread."""

    __slots__ = (
        "_filled_reads",
        "_flushes_soon",
        "_unflushed",
        "bulk",
        "executor",
        "gathering",
        "limits",
        "loop",
        "memory",
        "read_room",
        "read_view",
        "spares",
        "tick",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: NetworkLimits, executor: Executor | None = None
    ) -> None:
        """`executor` reads what is not in memory before it is sent; without one, sending may wait for a disk."""
        self.loop = loop
        self.executor = executor
        self.limits = limits
        self.memory = RequestMemory(limits.request_memory_bytes)
        self.spares = Spares()
        self.replace_read_view()
        self.tick = 0
        self.gathering = Gathering(loop)
        self.bulk = BulkTurns(loop)
        self._unflushed: list[Flushable] = []
        self._flushes_soon = False

    def replace_read_view(self) -> None:
        """Leave the present read buffer to the parked request whose frame lies in it."""
        self._set_read_view(READ_BUFFER_BYTES)

    def read_was_filled(self) -> None:
        """A read took all that there was room for, and nothing of it lies in the buffer any more."""
        self._filled_reads += 1
        size = len(self.read_view)
        if self._filled_reads >= _FILLED_BEFORE_GROWTH and size < MAX_READ_BUFFER_BYTES:
            self._set_read_view(2 * size if size < MAX_READ_BYTES else MAX_READ_BUFFER_BYTES)

    def _set_read_view(self, size_bytes: int) -> None:
        self.read_view = memoryview(bytearray(size_bytes))
        self.read_room = self.read_view[:MAX_READ_BYTES]
        """What of it a read may fill that does not go on with a frame."""
        self._filled_reads = 0

    def flush_later(self, connection: Flushable) -> None:
        """Flush once this turn's work is done, so that replies completed in one turn leave together."""
        self._unflushed.append(connection)
        if len(self._unflushed) == 1 and not self._flushes_soon:
            self.loop.call_soon(self._flush_all)

    def run(self, callback: Callable[[], None]) -> None:
        """Run what has waited for the end of a turn; the replies that it completes leave right behind it."""
        self._flushes_soon = True
        try:
            callback()
        finally:
            self._flushes_soon = False
            if self._unflushed:
                self._flush_all()

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Run `callback` in `delay_ms` milliseconds."""
        return self.loop.call_later(delay_ms / 1000, callback)

    def _flush_all(self) -> None:
        connections, self._unflushed = self._unflushed, []
        for connection in connections:
            connection.flush()
