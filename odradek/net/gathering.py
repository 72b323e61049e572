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
from typing import Protocol

from odradek.net.frames import LENGTH, whole_frames
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

    def answer_run(self, replies: Sequence[Reply]) -> None:
        """Queue the replies to the first requests that it brought."""
        ...

    def answer_uniform(self, count: int, framed: bytes) -> None:
        """Queue the replies, with their lengths, to its first `count` requests."""
        ...

    def end_gathered(self, gathered: Gathered, position: int) -> None:
        """What is before `position` is answered: handle the rest, and send."""
        ...


class Gathered:
    """What one connection brought: whole frames in `view[position:end]`."""

    __slots__ = ("connection", "end", "frame_bytes", "frames", "position", "view")

    def __init__(self, connection: Gatherer, view: memoryview, position: int, end: int) -> None:
        self.connection = connection
        self.view = view
        self.position = position
        self.end = end
        self.frame_bytes = 0
        """Of each frame with its length, if they seem to be of one length; else 0."""
        self.frames: Sequence[memoryview] = ()
        """Once they are needed."""

    def is_uniform(self, most: int, longest: int) -> bool:
        """Whether first and last frame have one length, up to `longest`, and at most so many of them fit exactly."""
        view, position, end = self.view, self.position, self.end
        size = end - position
        if size <= LENGTH.size:
            return False
        (length,) = LENGTH.unpack_from(view, position)
        frame_bytes = length + LENGTH.size
        if not 0 < length <= longest or size % frame_bytes or size // frame_bytes > most:
            return False
        if size > frame_bytes and LENGTH.unpack_from(view, end - frame_bytes)[0] != length:
            return False
        self.frame_bytes = frame_bytes
        return True

    def cut(self, most: int, longest: int) -> bool:
        """Find the frames; whether they are at most so many, and nothing is behind them."""
        frames = whole_frames(self.view, self.position, self.end, most, longest)
        if sum(map(len, frames)) + LENGTH.size * len(frames) != self.end - self.position:
            return False
        self.frames = frames
        return True


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
    at = 0
    while at < len(gathered):
        if handler is not None:
            ended = _answer_uniform(handler, gathered, at) or _answer_run(handler, gathered, at)
            if ended:
                at = ended
                continue
        gathered[at].connection.end_gathered(gathered[at], gathered[at].position)
        at += 1


def _answer_uniform(handler: RunHandler, gathered: Sequence[Gathered], at: int) -> int:
    """Answer what seems to be of one form from the connection `at` on; the first that got no answer, or 0."""
    first = gathered[at]
    frame_bytes = first.frame_bytes
    if not frame_bytes:
        return 0
    begin = end = first.position
    longest = GATHERED_FRAMES * frame_bytes
    for each in gathered[at:]:
        if each.position != end or each.view is not first.view or each.frame_bytes != frame_bytes:
            break
        if each.end - begin > longest:
            break
        end = each.end
    if end - begin <= frame_bytes:
        return 0
    answered = handler.answer_uniform(first.connection.info, first.view[begin:end])
    if answered is None:
        return 0
    count, framed = answered
    reply_bytes = len(framed) // count
    sent = 0
    answered_end = begin + count * frame_bytes
    while at < len(gathered) and gathered[at].position < answered_end:
        each = gathered[at]
        position = min(each.end, answered_end)
        mine = (position - each.position) // frame_bytes
        each.connection.answer_uniform(mine, framed[sent : sent + mine * reply_bytes])
        each.connection.end_gathered(each, position)
        sent += mine * reply_bytes
        at += 1
    return at


def _answer_run(handler: RunHandler, gathered: Sequence[Gathered], at: int) -> int:
    """As `_answer_uniform`, whatever form the requests have."""
    frames: list[memoryview] = []
    for each in gathered[at:]:
        if not each.frames and not each.cut(GATHERED_FRAMES, each.frame_bytes):
            break
        frames += each.frames
        if len(frames) >= GATHERED_FRAMES:
            break
    replies = handler.answer(gathered[at].connection.info, frames[:GATHERED_FRAMES]) if len(frames) > 1 else ()
    if not replies:
        return 0
    while replies:
        each = gathered[at]
        mine, replies = replies[: len(each.frames)], replies[len(each.frames) :]
        each.connection.answer_run(mine)
        position = each.position
        for frame in each.frames[: len(mine)]:
            position += LENGTH.size + len(frame)
        each.connection.end_gathered(each, position)
        at += 1
    return at
