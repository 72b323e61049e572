"""One connection: frames in, replies out in the order of their requests."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum

from odradek.net.context import Counters, LoopContext
from odradek.net.frames import FrameBuffer
from odradek.net.memory import ALLOWANCE_BYTES
from odradek.net.output import ColdRange, Output, release_all, reply_size
from odradek.net.reading import PAUSED_MEMORY, PAUSED_PARKED, PAUSED_UNSENT, FrameReader
from odradek.net.reply_slot import ReplySlot
from odradek.ports.network import ConnectionInfo, FrameHandler, Outcome, Reply, RunHandler
from odradek.ports.promise import Promise

COPY_BELOW_BYTES = 8 * 1024
"""Frames shorter than this are copied out of the read buffer: cheaper than giving the whole buffer away if parked."""

_PEER_GONE = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ETIMEDOUT, errno.ENOTCONN})

_log = logging.getLogger(__name__)


class CloseReason(Enum):
    """Why a connection ended."""

    PEER = "the peer closed or reset it"
    DONE = "its last reply was sent"
    ERROR = "an error of its socket or of a file"
    IDLE = "nothing was sent or received for connections.max.idle.ms"
    EVICTED = "the node needed its memory or its place"
    STOPPED = "the node stopped"
    CUT = "a test wanted it"


class Channel(FrameReader):
    """Reads, dispatches and writes one connection, without a task or a timer of its own.

    A handler owns a frame's memory until its reply is settled. Frames that lie whole in the loop's read buffer are
    passed on right there: if the reply is pending, the loop takes a new read buffer (short frames are copied
    instead). Other frames have a `FrameBuffer`. Reading pauses, with the bytes already read kept as a backlog,
    while too many requests are parked, too many reply bytes are not taken, or the node's request memory is used up.
    """

    __slots__ = (
        "_charged_bytes",
        "_flush_queued",
        "_handler",
        "_held_reply_bytes",
        "_linger",
        "_on_closed",
        "_output",
        "_run_handler",
        "_slots",
        "_warming",
        "_writing",
    )

    def __init__(
        self,
        context: LoopContext,
        sock: socket.socket,
        info: ConnectionInfo,
        handler: FrameHandler,
        counters: Counters,
        on_closed: Callable[[Channel, CloseReason], None],
        *,
        run_handler: RunHandler | None = None,
        output: Output | None = None,
    ) -> None:
        """`sock` is connected and non-blocking; the channel closes it. Call `start` to begin reading.

        `run_handler` is offered frames that arrived together, and `handler` those that it does not take.
        """
        super().__init__(context, sock, info, counters)
        self._handler = handler
        self._run_handler = run_handler
        self._on_closed = on_closed
        self._output = Output(asks=context.executor is not None) if output is None else output
        self._slots: deque[ReplySlot] = deque()
        self._warming = False
        self._writing = False
        self._flush_queued = False
        self._held_reply_bytes = 0
        self._charged_bytes = 0
        self._linger: asyncio.TimerHandle | None = None

    @property
    def parked_requests(self) -> int:
        """Requests without a reply, and replies that wait for one before them."""
        return len(self._slots)

    @property
    def unsent_bytes(self) -> int:
        """Reply bytes that the peer has not taken."""
        return self._output.size_bytes + self._held_reply_bytes

    @property
    def is_reading(self) -> bool:
        """Whether bytes that arrive are taken."""
        return self._reading

    def start(self) -> None:
        """Begin to read."""
        self._update_reading()

    def finish(self) -> None:
        """Take no more requests, and close once the replies to those taken are sent."""
        if not self.closed:
            self._end()
            self.flush()

    def half_close(self) -> None:
        """Send nothing more, and go on to read; replies that come then cost the connection."""
        with contextlib.suppress(OSError):  # the peer has closed it
            self._sock.shutdown(socket.SHUT_WR)

    def close(self, reason: CloseReason) -> None:
        """Close now; replies that are not sent are dropped."""
        if self.closed:
            return
        self._end()
        self.closed = True
        if self._writing:
            self._context.loop.remove_writer(self._fd)
        if self._linger is not None:
            self._linger.cancel()
        self._sock.close()
        self._output.clear()
        self._drop_slots()
        self._counters.connections_closed += 1
        self._on_closed(self, reason)

    def flush(self) -> None:
        """Send what the socket takes, and close if that was the last."""
        self._flush_queued = False
        if not self._writing and not self.closed:
            self._send()

    def give_up_slow_frame(self) -> None:
        """Close, since the frame that is arriving holds memory that others wait for (see `MemoryUser`)."""
        _log.warning("closing a slow sender: request memory is used up", extra={"connection": self.info.id})
        self.close(CloseReason.EVICTED)

    def settled(self, slot: ReplySlot, promise: Promise[Reply]) -> None:
        """A parked reply is there."""
        self._release(slot)
        reply = self._reply_of(promise)
        if slot.reply is not None:
            _discard(reply)
            return
        slot.reply = reply
        if self._slots and slot is not self._slots[0]:
            if not isinstance(reply, Outcome):
                self._held_reply_bytes += reply_size(reply)
            self._review()
            return
        self._drain_slots()
        if not self._flush_queued:
            self._flush_queued = True
            self._context.flush_later(self)

    # Reading

    def _on_eof(self) -> None:
        """The peer has finished sending; it may still read the replies that it is owed."""
        self._end()
        if self._slots or self._output.size_bytes:
            self._linger = self._context.call_later(self._context.limits.half_close_linger_ms, self._linger_over)
        else:
            self.close(CloseReason.PEER)

    def _linger_over(self) -> None:
        self.close(CloseReason.PEER)

    def _refuse(self, length: int) -> None:
        """Kafka closes, after the replies that are due, on a length below 1 or above socket.request.max.bytes."""
        _log.warning("closing a connection that announced a frame of %d bytes", length, extra=self._log_fields())
        self._counters.frames_refused += 1
        self._answer(Outcome.CLOSE)

    # Handling

    def _dispatch_slice(self, view: memoryview, position: int, end: int) -> None:
        """Handle a frame that lies whole in a read buffer or a backlog."""
        size = end - position
        shared = view is self._context.read_view
        if shared and size < COPY_BELOW_BYTES:
            shared = False
            frame = memoryview(bytearray(view[position:end]))
        else:
            frame = view[position:end]
        slot = self._dispatch(frame)
        if slot is None:
            return
        if shared:
            self._context.replace_read_view()
            size = len(view)
        slot.charged_bytes = size
        self._charged_bytes += size
        self._context.memory.charge(size)
        self._review()

    def _dispatch_run(self, frames: list[memoryview]) -> int:
        """Handle the first of several frames together, if no reply is waited for; returns how many."""
        handler = self.run_handler_now()
        if handler is None:
            return 0
        replies = handler.answer(self.info, frames)
        self.answer_run(replies)
        return len(replies)

    def _dispatch_uniform(self, stretch: memoryview) -> int:
        """`_dispatch_run` for frames that may be of one form, with their lengths."""
        handler = self.run_handler_now()
        answered = None if handler is None else handler.answer_uniform(self.info, stretch)
        if answered is None:
            return 0
        count, framed = answered
        self.answer_uniform(count, framed)
        return count

    def run_handler_now(self) -> RunHandler | None:
        """Who is offered frames that arrived together: nobody while a reply is waited for, or when it is closing."""
        return None if self._slots or self._pause or self._ending else self._run_handler

    def answer_uniform(self, count: int, framed: bytes) -> None:
        """`answer_run` with the replies to so many requests, each of them behind its length."""
        self._counters.requests += count
        if framed and not self.closed:
            self._output.append_framed(framed)
            if self._output.size_bytes > self._context.limits.max_unsent_bytes:
                self._review()

    def answer_run(self, replies: Sequence[Reply]) -> None:
        """Queue the replies to requests that were handled together, when no other reply was waited for."""
        self._counters.requests += len(replies)
        if self.closed or any(isinstance(reply, Outcome) for reply in replies):
            closing = replies.index(Outcome.CLOSE) + 1 if Outcome.CLOSE in replies else len(replies)
            for reply in replies[:closing]:
                self._answer(reply)
            for reply in replies[closing:]:
                _discard(reply)
        else:
            self._output.append_run(replies)
            if self._output.size_bytes > self._context.limits.max_unsent_bytes:
                self._review()

    def _dispatch_buffer(self, buffer: FrameBuffer) -> None:
        """Handle a frame that has a buffer of its own."""
        slot = self._dispatch(buffer.view[: buffer.length])
        if slot is None:
            buffer.close()
            self._context.spares.give(buffer.view)
            return
        slot.buffer = buffer
        if buffer.lease is None:
            slot.charged_bytes = len(buffer.view)
            self._charged_bytes += slot.charged_bytes
            self._context.memory.charge(slot.charged_bytes)
        self._review()

    def _dispatch(self, frame: memoryview) -> ReplySlot | None:
        """Pass a frame to the handler; the slot of its reply if that is pending."""
        self._counters.requests += 1
        try:
            reply = self._handler(self.info, frame)
        except Exception:  # noqa: BLE001 - whatever a handler raises is logged and costs its connection only
            _log.exception("a request failed; closing its connection", extra=self._log_fields())
            reply = Outcome.CLOSE
        if isinstance(reply, Promise):
            if not reply.done:
                slot = ReplySlot(self, Outcome.NO_REPLY if self.closed else None, reply)
                self._slots.append(slot)
                reply.on_done(slot.settle)
                return slot
            reply = self._reply_of(reply)
        self._answer(reply)
        return None

    def _reply_of(self, promise: Promise[Reply]) -> Reply:
        if promise.error is None:
            return promise.result()
        _log.error("a request failed; closing its connection", exc_info=promise.error, extra=self._log_fields())
        return Outcome.CLOSE

    def _answer(self, reply: Reply) -> None:
        """Queue the reply to the request that was dispatched last."""
        if self.closed:
            _discard(reply)
            return
        if reply is Outcome.CLOSE:
            self._end()
        if not self._slots:
            self._emit(reply)
        else:
            self._slots.append(ReplySlot(None, reply))
            if not isinstance(reply, Outcome):
                self._held_reply_bytes += reply_size(reply)
        if self._slots or self._output.size_bytes > self._context.limits.max_unsent_bytes:
            self._review()

    def _emit(self, reply: Reply) -> None:
        if not isinstance(reply, Outcome):
            self._output.append(reply)
        elif reply is Outcome.CLOSE:
            self._end()
            self._drop_slots()

    def _drain_slots(self) -> None:
        slots = self._slots
        first = True
        while slots and (reply := slots[0].reply) is not None:
            slots.popleft()
            if not first and not isinstance(reply, Outcome):
                self._held_reply_bytes -= reply_size(reply)
            first = False
            self._emit(reply)

    def _drop_slots(self) -> None:
        slots, self._slots = self._slots, deque()
        self._held_reply_bytes = 0
        for slot in slots:
            if slot.reply is not None:
                _discard(slot.reply)
            slot.reply = Outcome.NO_REPLY
        for slot in slots:
            if slot.promise is not None:
                slot.promise.abandon()

    def _release(self, slot: ReplySlot) -> None:
        """Give back what a parked request held."""
        buffer, slot.buffer = slot.buffer, None
        if slot.charged_bytes:
            self._charged_bytes -= slot.charged_bytes
            self._context.memory.discharge(slot.charged_bytes)
            slot.charged_bytes = 0
        if buffer is not None:
            buffer.close()
            self._context.spares.give(buffer.view)

    # Writing

    def _send(self) -> None:
        output = self._output
        if output.size_bytes:
            try:
                sent = output.send(self._sock)
            except OSError as error:
                self._lost(error)
                return
            except Exception:  # noqa: BLE001 - logged with its traceback; costs one connection, and no other its flush
                _log.exception("sending failed; closing the connection", extra=self._log_fields())
                self.close(CloseReason.ERROR)
                return
            if sent:
                self._counters.sent_bytes += sent
                self._counters.sendfile_bytes += output.sendfile_bytes
                self.last_active = self._context.tick
        if output.cold is not None and not self._warming:
            self._read_cold(output.cold)
        if (output.size_bytes > 0 and not self._warming) is not self._writing:
            self._writing = not self._writing
            if self._writing:
                self._context.loop.add_writer(self._fd, self._send)
            else:
                self._context.loop.remove_writer(self._fd)
        if self._pause:
            self._review()
        if self._ending and not output.size_bytes and not self._slots:
            self.close(CloseReason.DONE)

    def _read_cold(self, cold: ColdRange) -> None:
        """Have what comes next brought into memory, and go on then. Until that is done the range is not released."""
        executor = self._context.executor
        assert executor is not None, "nobody asks without one"
        self._warming = True

        def done(result: Promise[None]) -> None:
            self._warming = False
            if self.closed:
                cold.range.release()
                return
            self._output.warmed()
            if result.error is None:
                self._send()
            elif isinstance(result.error, OSError):
                self._lost(result.error)
            else:
                _log.error("reading failed; closing the connection", exc_info=result.error, extra=self._log_fields())
                self.close(CloseReason.ERROR)

        executor.submit(cold.read).on_done(done)

    # States

    def _review(self) -> None:
        """Pause or resume reading by what is parked and unsent; each resumes at half of where it pauses."""
        limits = self._context.limits
        pause = self._pause & PAUSED_MEMORY
        if _over(len(self._slots), limits.max_parked_requests - 1, self._pause & PAUSED_PARKED) or (
            _over(self._charged_bytes, ALLOWANCE_BYTES, self._pause & PAUSED_PARKED) and self._context.memory.exhausted
        ):
            pause |= PAUSED_PARKED
        if _over(self.unsent_bytes, limits.max_unsent_bytes, self._pause & PAUSED_UNSENT):
            pause |= PAUSED_UNSENT
        if pause != self._pause:
            self._pause = pause
            self._update_reading()

    def _end(self) -> None:
        """No more requests are taken from this connection."""
        self._ending = True
        self._backlog = None
        if self._frame is not None:
            self._frame.close()
            self._frame = None
        self._update_reading()

    def _lost(self, error: OSError) -> None:
        if error.errno in _PEER_GONE:
            self.close(CloseReason.PEER)
            return
        _log.warning("closing a connection: %s", error, extra=self._log_fields())
        self.close(CloseReason.ERROR)

    def _log_fields(self) -> dict[str, str]:
        return {"connection": self.info.id, "listener": self.info.listener}


def _over(value: int, limit: int, already: int) -> bool:
    """Whether `value` is over `limit`, or, once it has been, still over half of it."""
    return value > (limit // 2 if already else limit)


def _discard(reply: Reply) -> None:
    if not isinstance(reply, Outcome):
        release_all(reply)
