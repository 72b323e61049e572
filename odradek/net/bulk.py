"""Connections that bring much at once: their turns, so that short requests do not wait for all, and receive buffers.

A read of some hundred KiB, with all that its requests need, takes a good part of a millisecond, and sixty connections
may have one in the same turn of the loop. So when so many bytes have been read that a few milliseconds must have gone
by, others of these connections wait in a queue, first come, first served, and the loop looks in between who else sent.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

BULKY_BYTES = 64 * 1024
"""Who brought as much with its last read is expected to do so again."""
BULK_TURN_BYTES = 4 * 1024 * 1024
"""What such connections bring before others of them wait: 2 to 3 ms with all that goes with it."""


WIDE_FROM_BYTES = 384 * 1024
"""Who brings as much with one read has more in flight than its receive buffer holds."""
WIDE_CONNECTIONS = 64
"""So many may have a large one: what is in it is the kernel's memory, for which there is no budget."""


class BulkReader(Protocol):
    """A connection."""

    def read_now(self) -> None:
        """Its turn has come."""
        ...


class BulkTurns:
    """Who waits for a turn. Belongs to the loop's thread."""

    __slots__ = ("_loop", "_read_bytes", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read_bytes = 0
        self._waiting: dict[BulkReader, None] = {}

    def may_read(self, reader: BulkReader) -> bool:
        """Whether `reader`, which has something to read, may do so; if not it is called when its turn has come."""
        if self._read_bytes < BULK_TURN_BYTES:
            return True
        self._waiting[reader] = None
        return False

    def has_read(self, size_bytes: int) -> None:
        """Somebody brought much."""
        before = self._read_bytes
        self._read_bytes = before + size_bytes
        if before < BULK_TURN_BYTES <= self._read_bytes:
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._read_bytes = 0
        waiting = self._waiting
        served: list[BulkReader] = []
        try:
            while waiting and self._read_bytes < BULK_TURN_BYTES:
                reader = next(iter(waiting))
                del waiting[reader]
                before = self._read_bytes
                reader.read_now()
                if self._read_bytes > before:
                    served.append(reader)
        finally:
            if self._read_bytes >= BULK_TURN_BYTES:
                # They will have more, and their places are behind those who wait, whatever order the loop asks in.
                waiting.update(dict.fromkeys(served))
            elif waiting:  # a reader failed, which is its own affair
                self._loop.call_soon(self._next_turn)


class ReceiveBuffers:
    """Large receive buffers, for the connections that have more in flight than others.

    What does not fit has to be fetched by the kernel from the sender's end while this node reads; the more there is
    room for, the more of that is done on the sender's time.
    """

    __slots__ = ("_size_bytes", "left")

    def __init__(self, size_bytes: int) -> None:
        """`size_bytes`: SO_RCVBUF for them; 0 or less: there are none."""
        self._size_bytes = size_bytes
        self.left = WIDE_CONNECTIONS if size_bytes > 0 else 0
        """How many more may have one."""

    def widen(self, sock: socket.socket) -> bool:
        """Let the connection have one, if there is one left; whether that was so. Raises OSError."""
        if not self.left:
            return False
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._size_bytes)
        self.left -= 1
        return True

    def give_back(self) -> None:
        """A connection that had one is closed."""
        self.left += 1
