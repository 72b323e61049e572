"""The receiving half of a connection: bytes from its socket become frames."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from time import monotonic

from odradek.net.bulk import BULKY_BYTES
from odradek.net.context import Counters, LoopContext
from odradek.net.frames import LENGTH, MAX_READ_BYTES, READ_BUFFER_BYTES, FrameBuffer, whole_frames
from odradek.net.gathering import GATHERED_BYTES, READS_APART, Gathered
from odradek.net.memory import ALLOWANCE_BYTES
from odradek.ports.network import ConnectionInfo, Reply, RunHandler

RECEIVES_PER_TURN = 4
"""Reads that go on with one large frame before other connections have their turn."""
MAX_RUN_FRAMES = 32
"""How many frames that lie behind each other are offered together, unless they are of one length."""
LONE_RUNS = 2
"""Runs of one frame in a row, after which frames are handled one by one up to the end of what was read."""
PAUSED_PARKED = 1
PAUSED_UNSENT = 2
PAUSED_MEMORY = 4
"""Why nothing is read, as bits: too many parked requests, too many unsent bytes, or no memory for a frame."""

MIN_ROOM_BYTES = READ_BUFFER_BYTES // 2
"""What of the read buffer must be free for a read."""

_HAS_SCATTER = hasattr(socket.socket, "recvmsg_into")


class FrameReader:
    """Cuts what arrives into frames; `Channel` says what becomes of them.

    Frames that lie whole in the loop's read buffer are passed on right there, others have a `FrameBuffer`. While
    `_pause` is not 0 nothing is read, and what had been read already is kept as a backlog.
    """

    __slots__ = (
        "_backlog",
        "_backlog_position",
        "_context",
        "_continuing",
        "_counters",
        "_ending",
        "_fd",
        "_frame",
        "_head",
        "_is_bulky",
        "_is_gathered",
        "_pause",
        "_reading",
        "_reads_apart",
        "_sock",
        "closed",
        "info",
        "last_active",
    )

    def __init__(self, context: LoopContext, sock: socket.socket, info: ConnectionInfo, counters: Counters) -> None:
        self.info = info
        self.last_active = context.tick
        self.closed = False
        self._context = context
        self._counters = counters
        self._sock = sock
        self._fd = sock.fileno()
        self._frame: FrameBuffer | None = None
        self._head = b""
        self._backlog: memoryview | None = None
        self._backlog_position = 0
        self._continuing = False
        self._pause = 0
        self._reading = False
        self._ending = False
        self._is_bulky = False
        """The last read brought much."""
        self._is_gathered = False
        """What was read last is handled at the end of this turn."""
        self._reads_apart = 0
        """Reads that are handled at once."""

    def flush(self) -> None:
        """Send the replies to what was read."""
        raise NotImplementedError

    def memory_granted(self) -> None:
        """The frame that is arriving may grow (see `MemoryUser`)."""
        if self._frame is not None:
            self._frame.granted()
            self._pause &= ~PAUSED_MEMORY
            self._update_reading()

    def give_up_slow_frame(self) -> None:
        """The frame that is arriving holds memory that others wait for (see `MemoryUser`)."""
        raise NotImplementedError

    def _dispatch_slice(self, view: memoryview, position: int, end: int) -> None:
        """Handle a frame that lies whole in a read buffer or a backlog."""
        raise NotImplementedError

    def _dispatch_run(self, frames: list[memoryview]) -> int:
        """Handle the first of several frames together; returns how many, 0 if they have to be handled one by one."""
        raise NotImplementedError

    def _dispatch_uniform(self, stretch: memoryview) -> int:
        """As `_dispatch_run`, of frames of one length that lie behind each other with their lengths."""
        raise NotImplementedError

    def run_handler_now(self) -> RunHandler | None:
        """Who may be offered what arrived, as no reply is waited for (see `Gatherer`)."""
        raise NotImplementedError

    def answer_run(self, replies: Sequence[Reply]) -> None:
        """Queue the replies to requests that were handled together."""
        raise NotImplementedError

    def answer_uniform(self, count: int, framed: bytes) -> None:
        """Queue the replies, with their lengths, to so many requests that were handled together."""
        raise NotImplementedError

    def _dispatch_buffer(self, buffer: FrameBuffer) -> None:
        """Handle a frame that has a buffer of its own."""
        raise NotImplementedError

    def _refuse(self, length: int) -> None:
        """A frame of a forbidden length was announced."""
        raise NotImplementedError

    def _on_eof(self) -> None:
        """The peer has finished sending."""
        raise NotImplementedError

    def _lost(self, error: OSError) -> None:
        """The socket failed."""
        raise NotImplementedError

    def end_gathered(self, gathered: Gathered, position: int) -> None:
        """The end of the turn: what is before `position` is answered (see `Gatherer`)."""
        self._is_gathered = False
        if position == gathered.position:
            self._reads_apart = READS_APART
        if position < gathered.end and not self.closed:
            self._parse(gathered.view, position, gathered.end)
        if not self.closed:
            self.flush()

    def read_now(self) -> None:
        """The turn has come of a connection that brings much (see `BulkTurns`)."""
        self._on_readable()

    def _on_readable(self) -> None:
        if self._is_bulky and not self._context.bulk.may_read(self):
            return
        gathering = self._context.gathering
        if gathering.bytes and (self._is_gathered or len(self._context.read_view) - gathering.bytes < MIN_ROOM_BYTES):
            gathering.handle()
        if self._backlog is not None or not self._reading:
            return
        try:
            if self._frame is None:
                self._receive()
            else:
                self._receive_frame(self._frame)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        if not self.closed and not self._is_gathered:
            self.flush()

    def _receive(self) -> None:
        view = self._context.read_view
        room = self._room(view)
        start = len(self._head)
        if start:
            room[:start] = self._head
            size = self._sock.recv_into(room[start:])
        else:
            size = self._sock.recv_into(room)
        if not size:
            self._on_eof()
            return
        self._head = b""
        if size >= BULKY_BYTES:
            self._has_brought_much(size)
        elif self._is_bulky:
            self._is_bulky = False
        self._counters.received_bytes += size
        self.last_active = self._context.tick
        self._parse_read(view, start + size, is_filled=start + size == len(room))

    def _receive_frame(self, frame: FrameBuffer) -> None:
        for _ in range(RECEIVES_PER_TURN):
            room = frame.room
            view = self._context.read_view
            extra = behind = 0
            if _HAS_SCATTER and len(room) < READ_BUFFER_BYTES and len(room) == frame.length - frame.filled:
                read_room = self._room(view)
                behind = len(read_room)
                size = self._sock.recvmsg_into((room, read_room))[0]
                extra = max(0, size - len(room))
            else:
                size = self._sock.recv_into(room)
            if not size:
                self._on_eof()
                return
            if size >= BULKY_BYTES:
                self._has_brought_much(size)
            self._counters.received_bytes += size
            self.last_active = self._context.tick
            frame.received(size - extra)
            if frame.complete:
                self._frame = None
                self._dispatch_buffer(frame)
                if extra:
                    self._parse_read(view, extra, is_filled=extra == behind)
                return
            if frame.blocked:
                self._pause |= PAUSED_MEMORY
                self._update_reading()
                return

    def _has_brought_much(self, size: int) -> None:
        self._is_bulky = True
        self._context.bulk.has_read(size)

    def _room(self, view: memoryview) -> memoryview:
        """How much of the read buffer may be filled: what begins a frame that has to wait for memory is kept."""
        begin = self._context.gathering.bytes
        if self._context.memory.is_tight:
            return view[begin : begin + ALLOWANCE_BYTES]
        return view[begin : begin + MAX_READ_BYTES] if begin else self._context.read_room

    def _parse_read(self, view: memoryview, size: int, *, is_filled: bool) -> None:
        """`_parse` what a read has brought into the loop's buffer, or have it wait for the end of the turn.

        `is_filled`: there was no room for more.
        """
        gathering = self._context.gathering
        position = gathering.bytes
        end = position + size
        if gathering.reads_apart:
            gathering.reads_apart -= 1
        elif size <= GATHERED_BYTES and self._gather(view, position, end):
            return
        behind, is_refused = self._take_stretch(view, position, end)
        if behind < end:
            self._parse(view, behind, end, may_go_on=is_filled, is_refused=is_refused)
        if is_filled and view is self._context.read_view and not self._context.memory.is_tight:
            self._context.read_was_filled()

    def _take_stretch(self, view: memoryview, position: int, end: int) -> tuple[int, bool]:
        """Handle what was read if it is frames of one length and no more.

        Returns where the rest of it begins, and whether that was refused as a stretch. It does what `_parse` would do,
        in less time: that is what a producer with several requests in flight brings.
        """
        if end - position <= LENGTH.size:
            return position, False
        (length,) = LENGTH.unpack_from(view, position)
        limits = self._context.limits
        if not 0 < length <= limits.socket_request_max_bytes:
            return position, False
        count, rest = divmod(end - position, LENGTH.size + length)
        if rest or not 1 < count <= limits.max_frames_per_turn:
            return position, False
        taken = self._dispatch_uniform(view[position:end])
        return (end if taken == count else position + taken * (LENGTH.size + length)), not taken

    def _gather(self, view: memoryview, position: int, end: int) -> bool:
        if self._reads_apart:
            self._reads_apart -= 1
            return False
        if self._pause or self.run_handler_now() is None:
            return False
        limits = self._context.limits
        gathered = Gathered(self, view, position, end)
        most, longest = min(limits.max_frames_per_turn, MAX_RUN_FRAMES), limits.socket_request_max_bytes
        if not gathered.is_uniform(most, longest) and not gathered.cut(most, longest):
            return False
        self._is_gathered = True
        self._context.gathering.add(gathered)
        return True

    def _parse(
        self, view: memoryview, position: int, end: int, *, may_go_on: bool = False, is_refused: bool = False
    ) -> None:
        """Handle the frames in `view[position:end]`; what cannot be handled yet is kept.

        `may_go_on`: the socket may have the rest of the last one. `is_refused`: as a stretch, all was offered already.
        """
        context = self._context
        limits = context.limits
        frames_left = limits.max_frames_per_turn
        turn_end = 0.0
        lone_runs = 0
        while end - position >= 4 and not self._ending:
            if self._pause or not frames_left or (turn_end and monotonic() >= turn_end):
                self._keep(view, position, end)
                return
            (length,) = LENGTH.unpack_from(view, position)
            if not 0 < length <= limits.socket_request_max_bytes:
                self._refuse(length)
                return
            position += 4
            frame_end = position + length
            if frame_end > end and may_go_on:
                end = self._receive_rest(view, end, frame_end)
            if frame_end > end:
                self._begin_frame(length, view[position:end])
                return
            if frame_end < end:
                if not turn_end:
                    turn_end = monotonic() + limits.max_turn_ms / 1000
                if lone_runs < LONE_RUNS:
                    frames = view[position - LENGTH.size : end]
                    taken, taken_bytes = self._dispatch_together(frames, length, frames_left, is_refused=is_refused)
                    is_refused = False
                    if taken:
                        lone_runs = lone_runs + 1 if taken == 1 else 0
                        frames_left -= taken
                        position += taken_bytes - LENGTH.size
                        continue
                    lone_runs = LONE_RUNS
            frames_left -= 1
            self._dispatch_slice(view, position, frame_end)
            position = frame_end
        if position < end and not self._ending:
            self._head = bytes(view[position:end])

    def _dispatch_together(self, view: memoryview, length: int, most: int, *, is_refused: bool) -> tuple[int, int]:
        """Handle the first frames in `view` together: how many (or 0), and their bytes. The first has this length.

        `is_refused`: they were offered as a stretch already.
        """
        frame_bytes = LENGTH.size + length
        count = min(len(view) // frame_bytes, most)
        if count > 1 and not is_refused and LENGTH.unpack_from(view, frame_bytes)[0] == length:
            taken = self._dispatch_uniform(view[: count * frame_bytes])
            if taken:
                return taken, taken * frame_bytes
        longest = self._context.limits.socket_request_max_bytes
        frames = whole_frames(view, 0, len(view), min(most, MAX_RUN_FRAMES), longest)
        taken = self._dispatch_run(frames) if len(frames) > 1 else 0
        return taken, sum(map(len, frames[:taken])) + LENGTH.size * taken

    def _receive_rest(self, view: memoryview, end: int, frame_end: int) -> int:
        """Read what is there of `view[end:frame_end]`, if there is room for that; returns how far it goes.

        A large frame is then never copied, and whoever checks and writes it finds it in the processor's cache.
        """
        if frame_end > len(view) or self._context.memory.is_tight:
            return end
        for _ in range(RECEIVES_PER_TURN):
            try:
                size = self._sock.recv_into(view[end:frame_end])
            except (BlockingIOError, InterruptedError):
                break
            if size >= BULKY_BYTES:
                self._has_brought_much(size)
            self._counters.received_bytes += size
            end += size
            if end == frame_end or not size:
                break
        return end

    def _begin_frame(self, length: int, arrived: memoryview) -> None:
        self._frame = FrameBuffer(length, arrived, self._context.memory, self._context.spares, self)
        if self._frame.blocked:
            self._pause |= PAUSED_MEMORY
            self._update_reading()

    def _keep(self, view: memoryview, position: int, end: int) -> None:
        if view is self._context.read_view:
            self._backlog = memoryview(bytearray(view[position:end]))
            self._backlog_position = 0
        else:
            self._backlog = view[:end]
            self._backlog_position = position
        self._continue_later()

    def _continue_later(self) -> None:
        if self._backlog is not None and not self._pause and not self._continuing:
            self._continuing = True
            self._context.loop.call_soon(self._continue)

    def _continue(self) -> None:
        self._continuing = False
        backlog = self._backlog
        if backlog is None or self._pause or self.closed:
            return
        self._backlog = None
        self._parse(backlog, self._backlog_position, len(backlog))
        self.flush()

    def _update_reading(self) -> None:
        wanted = not self._pause and not self._ending
        if wanted is not self._reading:
            self._reading = wanted
            if wanted:
                self._context.loop.add_reader(self._fd, self._on_readable)
            else:
                self._context.loop.remove_reader(self._fd)
        self._continue_later()
