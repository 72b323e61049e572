"""Turns of connections that bring much at once, so that short requests do not wait for all of them.

A read of some hundred KiB, with all that its requests need, takes a good part of a millisecond, and sixty connections
may have one in the same turn of the loop. So when so many bytes have been read that a few milliseconds must have gone
by, others of these connections wait in a queue, first come, first served, and the loop looks in between who else sent.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

BULKY_BYTES = 64 * 1024
"""Who brought as much with its last read is expected to do so again."""
BULK_TURN_BYTES = 4 * 1024 * 1024
"""What such connections bring before others of them wait: 2 to 3 ms with all that goes with it."""


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
