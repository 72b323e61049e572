"""A large frame whose bytes are there is handled at once, and where they were read; one that is not whole yet waits."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import pytest

from odradek.net.bulk import BULK_TURN_BYTES
from odradek.net.context import Counters, LoopContext
from odradek.net.frames import MAX_READ_BUFFER_BYTES, MAX_READ_BYTES, READ_BUFFER_BYTES, FrameBuffer
from odradek.net.limits import NetworkLimits
from odradek.net.memory import ALLOWANCE_BYTES
from odradek.net.reading import PAUSED_UNSENT, RECEIVES_PER_TURN, FrameReader
from odradek.ports.network import ConnectionInfo, Reply, RunHandler
from tests.unit.net.harness import framed

INFO = ConnectionInfo("1", "L", "PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 2)
GONE = b""


class ScriptedSocket:
    """Brings what `arrives` says, piece by piece; None: nothing is there before the next turn."""

    def __init__(self, arrives: Iterable[bytes | None]) -> None:
        self.arrives: deque[bytes | None] = deque(arrives)
        self.receives = 0

    def fileno(self) -> int:
        return id(self)

    def recv_into(self, room: memoryview) -> int:
        return self.recvmsg_into((room,))[0]

    def recvmsg_into(self, rooms: Sequence[memoryview]) -> tuple[int, None]:
        self.receives += 1
        piece = self.arrives.popleft() if self.arrives else None
        if piece is None:
            raise BlockingIOError
        size = min(len(piece), sum(map(len, rooms)))
        rest = memoryview(piece)[:size]
        for room in rooms:
            taken = min(len(room), len(rest))
            room[:taken], rest = rest[:taken], rest[taken:]
        if size < len(piece):
            self.arrives.appendleft(piece[size:])
        return size, None


class ScriptedLoop:
    """Calls back when the test says so."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.soon: deque[Callable[[], None]] = deque()

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def run_soon(self) -> None:
        """What was to be done when it was called, nothing that comes to be meanwhile."""
        for _ in range(len(self.soon)):
            self.soon.popleft()()


class Reader(FrameReader):
    """Keeps what it is given, and knows what of it came from where."""

    def __init__(self, context: LoopContext, sock: ScriptedSocket) -> None:
        self.counters = Counters()
        super().__init__(context, cast("socket.socket", sock), INFO, self.counters)
        self.frames: list[bytes] = []
        self.copied = 0
        self.parks = False
        self.ended = 0
        self.lost: list[OSError] = []
        self._update_reading()

    def pause(self) -> None:
        self._pause = PAUSED_UNSENT
        self._update_reading()

    def resume(self) -> None:
        self._pause = 0
        self._update_reading()

    def flush(self) -> None: ...

    def _dispatch_slice(self, view: memoryview, position: int, end: int) -> None:
        self.frames.append(bytes(view[position:end]))
        if self.parks:
            self._context.replace_read_view()

    def _dispatch_buffer(self, buffer: FrameBuffer) -> None:
        self.copied += 1
        self.frames.append(bytes(buffer.view[: buffer.length]))
        buffer.close()

    def _dispatch_run(self, frames: list[memoryview]) -> int:
        return 0

    def run_handler_now(self) -> RunHandler | None:
        return None

    def _dispatch_uniform(self, stretch: memoryview) -> int:
        return 0

    def answer_run(self, replies: Sequence[Reply]) -> None:
        raise AssertionError("nobody takes runs here")

    def _on_eof(self) -> None:
        self.ended += 1

    def _lost(self, error: OSError) -> None:
        self.lost.append(error)

    def give_up_slow_frame(self) -> None:
        raise AssertionError("nothing is slow here")


class Connection:
    """A reader of what arrives, in a context whose read buffer has grown."""

    def __init__(
        self, *arrives: bytes | None, limits: NetworkLimits | None = None, grown: bool = True,
        beside: Connection | None = None,
    ) -> None:  # fmt: skip
        self.loop: ScriptedLoop = beside.loop if beside is not None else ScriptedLoop()
        loop = cast("asyncio.AbstractEventLoop", self.loop)
        self.context: LoopContext = (
            beside.context if beside is not None else LoopContext(loop, limits or NetworkLimits())
        )
        while grown and len(self.context.read_view) < MAX_READ_BUFFER_BYTES:
            self.context.read_was_filled()
        self.socket = ScriptedSocket(arrives)
        self.reader = Reader(self.context, self.socket)

    @property
    def held_bytes(self) -> int:
        return self.context.memory.held_bytes

    @property
    def received_bytes(self) -> int:
        return self.reader.counters.received_bytes

    def is_readable(self) -> None:
        callback = self.loop.readers.get(self.socket.fileno())
        if callback is not None:
            callback()

    def turn(self) -> None:
        """One turn of the loop in which the socket is readable, and what that leaves to be done soon."""
        self.is_readable()
        while self.loop.soon:
            self.loop.run_soon()


def patterned(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


LARGE = patterned(MAX_READ_BYTES + 300_000, 1)


def test_a_large_frame_that_is_there_is_handled_in_the_turn_and_not_copied() -> None:
    connection = Connection(framed(LARGE))
    connection.turn()
    assert connection.reader.frames == [LARGE]
    assert (connection.reader.copied, connection.held_bytes, connection.socket.receives) == (0, 0, 2)


def test_the_next_frame_is_left_for_the_next_turn() -> None:
    connection = Connection(framed(LARGE) + framed(LARGE[:-1]))
    connection.turn()
    assert connection.reader.frames == [LARGE]
    connection.turn()
    assert connection.reader.frames == [LARGE, LARGE[:-1]]
    assert connection.reader.copied == 0


def test_a_frame_behind_short_ones_is_completed_too() -> None:
    short = [patterned(100_000, seed) for seed in range(6)]
    connection = Connection(b"".join(map(framed, short)))
    connection.turn()
    assert connection.reader.frames == short
    assert connection.reader.copied == 0


def test_a_frame_whose_rest_is_not_there_yet_goes_on_when_it_comes() -> None:
    data = framed(LARGE)
    at = MAX_READ_BYTES + 1000
    connection = Connection(data[:at], None, data[at:] + framed(b"next"))
    connection.turn()
    assert connection.reader.frames == []
    assert connection.held_bytes >= at
    connection.turn()
    connection.turn()
    assert connection.reader.frames == [LARGE, b"next"]
    assert (connection.reader.copied, connection.held_bytes) == (1, 0)


def test_a_frame_that_comes_in_crumbs_does_not_keep_the_turn() -> None:
    data = framed(LARGE)
    crumbs = [data[at : at + 10] for at in range(MAX_READ_BYTES, MAX_READ_BYTES + 1000, 10)]
    connection = Connection(data[:MAX_READ_BYTES], *crumbs, data[MAX_READ_BYTES + 1000 :])
    connection.turn()
    assert connection.reader.frames == []
    assert connection.socket.receives <= 1 + RECEIVES_PER_TURN
    for _ in range(100):
        connection.turn()
    assert connection.reader.frames == [LARGE]


def test_a_large_frame_whose_length_was_cut_is_completed_in_its_turn_too() -> None:
    connection = Connection(framed(b"first") + framed(LARGE)[:2], framed(LARGE)[2:])
    connection.turn()
    connection.turn()
    assert (connection.reader.frames, connection.reader.copied) == ([b"first", LARGE], 0)


def test_where_a_read_left_room_nothing_more_is_asked_for() -> None:
    connection = Connection(framed(LARGE)[: MAX_READ_BYTES - 1])
    connection.turn()
    assert connection.socket.receives == 1
    assert connection.held_bytes >= MAX_READ_BYTES - 1 - 4


def test_a_frame_that_does_not_fit_into_the_read_buffer_has_one_of_its_own() -> None:
    largest = patterned(MAX_READ_BUFFER_BYTES - 4, 2)
    larger = patterned(MAX_READ_BUFFER_BYTES - 3, 3)
    connection = Connection(framed(largest))
    connection.turn()
    assert (connection.reader.frames, connection.reader.copied) == ([largest], 0)
    connection = Connection(framed(larger))
    for _ in range(4):
        connection.turn()
    assert (connection.reader.frames, connection.reader.copied) == ([larger], 1)


def test_while_memory_is_short_a_large_frame_asks_for_it() -> None:
    connection = Connection(framed(LARGE), limits=NetworkLimits(queued_max_request_bytes=1000))
    connection.context.memory.charge(1000)
    connection.turn()
    assert (connection.socket.receives, connection.held_bytes > ALLOWANCE_BYTES) == (1, True)
    for _ in range(4):
        connection.turn()
    assert (connection.reader.frames, connection.reader.copied) == ([LARGE], 1)


def test_a_peer_that_goes_within_a_large_frame_is_heard_of_once() -> None:
    connection = Connection(framed(LARGE)[: MAX_READ_BYTES + 10], GONE, GONE)
    connection.turn()
    connection.turn()
    assert (connection.reader.frames, connection.reader.ended) == ([], 1)


def test_large_frames_make_the_buffer_grow_until_they_fit() -> None:
    connection = Connection(*[framed(LARGE)] * 60, grown=False)
    assert len(connection.context.read_view) == READ_BUFFER_BYTES
    for _ in range(200):
        connection.turn()
    assert connection.reader.frames == [LARGE] * 60
    assert len(connection.context.read_view) == MAX_READ_BUFFER_BYTES
    copied = connection.reader.copied
    connection.socket.arrives.extend([framed(LARGE)] * 10)
    for _ in range(20):
        connection.turn()
    assert len(connection.reader.frames) == 70
    assert connection.reader.copied == copied


def test_buffers_that_parked_requests_keep_stay_small() -> None:
    frame = framed(b"x" * (READ_BUFFER_BYTES - 4))
    connection = Connection(*[frame] * 40, grown=False)
    connection.reader.parks = True
    for _ in range(40):
        connection.turn()
    assert len(connection.reader.frames) == 40
    assert len(connection.context.read_view) == READ_BUFFER_BYTES


def test_short_memory_does_not_make_the_buffer_grow() -> None:
    frames = [framed(b"x" * (ALLOWANCE_BYTES - 4))] * 40
    connection = Connection(*frames, limits=NetworkLimits(queued_max_request_bytes=1000), grown=False)
    connection.context.memory.charge(1000)
    for _ in range(40):
        connection.turn()
    assert len(connection.reader.frames) == 40
    assert len(connection.context.read_view) == READ_BUFFER_BYTES


@pytest.mark.parametrize("seed", range(20))
def test_frames_of_any_size_arrive_whole_and_in_order_however_they_are_cut(seed: int) -> None:
    chosen = random.Random(seed)
    sizes = [chosen.choice((1, 200, 16_000, 70_000, 524_284, 600_000, 1_100_000, 1_300_000)) for _ in range(12)]
    frames = [patterned(chosen.randint(max(1, size - 5), size + 5), chosen.randrange(1 << 30)) for size in sizes]
    data = b"".join(map(framed, frames))
    pieces: list[bytes | None] = []
    while data:
        size = chosen.choice((1, 5_000, 130_000, MAX_READ_BYTES, 3_000_000))
        pieces += [data[:size], *([None] * chosen.randint(0, 1))]
        data = data[size:]
    connection = Connection(*pieces, grown=chosen.random() < 0.7)
    for _ in range(10 * len(pieces) + 100):
        connection.turn()
    assert connection.reader.frames == frames
    assert connection.held_bytes == 0


@pytest.mark.parametrize("size", [100_000, len(LARGE), 3 * MAX_READ_BYTES])
def test_a_short_request_waits_for_a_few_large_ones_and_not_for_all(size: int) -> None:
    payload = patterned(size, 4)
    first = Connection(*[framed(payload)] * 5)
    large = [first, *(Connection(*[framed(payload)] * 5, beside=first) for _ in range(59))]
    short = Connection(*[framed(b"short")] * 400, beside=first)
    per_turn = []
    while any(connection.socket.arrives for connection in large):
        before = sum(connection.received_bytes for connection in large)
        count = len(short.reader.frames)
        for connection in (*large, short):
            connection.is_readable()
        short.loop.run_soon()
        assert len(short.reader.frames) > count
        per_turn.append(sum(connection.received_bytes for connection in large) - before)
        received = [connection.received_bytes for connection in large]
        assert max(received) - min(received) <= 2 * len(framed(payload))
    assert max(per_turn[2:]) <= 2 * (BULK_TURN_BYTES + size)
    assert all(connection.reader.frames == [payload] * 5 for connection in large)


def test_who_brings_little_now_is_not_made_to_wait() -> None:
    first = Connection(*[framed(LARGE)] * 20)
    changed = Connection(framed(LARGE), framed(b"short"), framed(b"short"), beside=first)
    changed.turn()
    changed.turn()
    for _ in range(6):
        first.is_readable()
    changed.is_readable()
    assert len(first.reader.frames) == 5
    assert changed.reader.frames == [LARGE, b"short", b"short"]


def test_a_connection_that_pauses_while_it_waits_is_left_alone() -> None:
    first = Connection(*[framed(LARGE)] * 20)
    other = Connection(*[framed(LARGE)] * 2, beside=first)
    other.turn()
    for _ in range(6):
        first.is_readable()
    other.is_readable()
    other.reader.pause()
    other.loop.run_soon()
    assert other.reader.frames == [LARGE]
    assert len(first.reader.frames) >= 6
    other.reader.resume()
    other.turn()
    other.turn()
    assert other.reader.frames == [LARGE, LARGE]
