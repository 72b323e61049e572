"""Short requests that several connections bring in one turn of the loop, offered together to whoever handles runs.

Many producers that send a request each would else cost a write to a log, and all that goes with it, for each of them.
What was gathered is handled at the end of the turn, in the order in which it arrived; what is not taken together goes
the way it would have gone alone, at its place in that order.

Where nearly every turn brings one connection's requests only, waiting for its end is not worth it: then the next
reads are handled at once, and gathering is tried again after them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from odradek.ports.network import ConnectionInfo, Reply, RunHandler

GATHERED_BYTES = 16 * 1024
"""What one connection may have brought: longer requests gain nothing."""
GATHERED_FRAMES = 256
"""The most that are offered together."""
LONELY_TURNS = 4
"""Turns in a row that brought one connection's requests, after which gathering stops."""
READS_APART = 128
"""Reads after which it is tried again: of the loop, and of a connection whose requests were not taken."""


class Gatherer(Protocol):
    """A connection."""

    info: ConnectionInfo

    def run_handler_now(self) -> RunHandler | None:
        """Who may be offered what it brought; None if that has to be handled alone."""
        ...

    def handle_gathered(self, gathered: Gathered, replies: Sequence[Reply]) -> None:
        """Answer the first of the requests with `replies`, handle the others, and send."""
        ...


class Gathered(NamedTuple):
    """What one connection brought: whole frames in `view[position:end]`."""

    connection: Gatherer
    view: memoryview
    position: int
    end: int
    frames: list[memoryview]


class Gathering:
    """What this turn has brought so far. Belongs to the loop's thread."""

    __slots__ = ("_gathered", "_lonely_turns", "_loop", "bytes", "reads_apart")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.bytes = 0
        """How much of the read buffer is in use until the end of the turn."""
        self._loop = loop
        self._gathered: list[Gathered] = []
        self._lonely_turns = 0
        self.reads_apart = 0
        """So many reads of the loop had better be handled at once; each counts it down."""

    def add(self, gathered: Gathered) -> None:
        """Have this handled at the end of the turn; until then its bytes stay as they are."""
        if not self._gathered:
            self._loop.call_soon(self.handle)
        self._gathered.append(gathered)
        self.bytes = gathered.end

    def handle(self) -> None:
        """Handle what there is."""
        gathered, self._gathered = self._gathered, []
        self.bytes = 0
        if len(gathered) > 1:
            self._lonely_turns = 0
        elif gathered:
            self._lonely_turns += 1
            if self._lonely_turns == LONELY_TURNS:
                self._lonely_turns = 0
                self.reads_apart = READS_APART
        at = 0
        while at < len(gathered):
            behind = at + 1
            handler = gathered[at].connection.run_handler_now()
            while behind < len(gathered) and gathered[behind].connection.run_handler_now() is handler:
                behind += 1
            _handle_together(handler, gathered[at:behind])
            at = behind


def _handle_together(handler: RunHandler | None, gathered: Sequence[Gathered]) -> None:
    frames = [frame for each in gathered for frame in each.frames]
    first = 0
    replies: Sequence[Reply] = ()
    for each in gathered:
        count = len(each.frames)
        if not replies and handler is not None and len(frames) - first > 1:
            replies = handler(each.connection.info, frames[first : first + GATHERED_FRAMES])
        taken, replies = replies[:count], replies[count:]
        first += count
        each.connection.handle_gathered(each, taken)
