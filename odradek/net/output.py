"""The bytes that a connection still has to take: memory by `sendmsg`, file ranges by `sendfile`."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from odradek.ports.files import Buffer
from odradek.ports.network import Chunk, FileRange, Outcome, Reply

INLINE_RANGE_BYTES = 32 * 1024
"""File ranges up to this size are read and sent along with the bytes around them: fewer system calls."""
SLICE_BYTES = 256 * 1024
"""How much of a file range is read at a time where it cannot be sent with sendfile."""
SENDFILE_BYTES = 1024 * 1024
"""The most that one sendfile call is asked for."""
TURN_BYTES = 4 * 1024 * 1024
"""What one connection may send before other connections have their turn."""
GATHER_BUFFERS = 256
"""Buffers in one sendmsg; the usual limit of the system is 1,024."""
GATHER_BYTES = 1024 * 1024
PREFIX_COPY_BYTES = 2 * 1024
"""A reply whose first chunk is shorter than this is joined with its length into one buffer."""

_MSG_MORE: int = getattr(socket, "MSG_MORE", 0)
_HAS_SENDMSG = hasattr(socket.socket, "sendmsg")
_HAS_SENDFILE = hasattr(os, "sendfile")
_MEMORY = (bytes, bytearray, memoryview)


class OutSocket(Protocol):
    """What is needed of a non-blocking socket; BlockingIOError means that it takes nothing now."""

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        """Send a part of `data` and return its length."""
        ...

    def sendmsg(self, buffers: Sequence[Buffer], ancdata: Sequence[tuple[int, int, bytes]], flags: int, /) -> int:
        """Send a part of `buffers`, one behind the other, and return its length."""
        ...

    def fileno(self) -> int:
        """The descriptor, for sendfile."""
        ...


class FileCutError(OSError):
    """A file range ended before its promised size: the reply that has begun cannot be completed."""


def release_all(chunks: Sequence[Chunk]) -> None:
    """Release the file ranges in a reply that will not be sent."""
    for chunk in chunks:
        if not isinstance(chunk, _MEMORY):
            chunk.release()


class ColdRange:
    """A part of a file range that has to be read from a disk before it is sent."""

    __slots__ = ("range", "size", "start")

    def __init__(self, range_: FileRange, start: int, size: int) -> None:
        self.range = range_
        self.start = start
        self.size = size

    def read(self) -> None:
        """Bring it into the page cache; blocks, raises OSError."""
        position = self.start
        end = self.start + self.size
        while position < end:
            data = self.range.read(position, min(end - position, SLICE_BYTES))
            if not data:
                return
            position += len(data)


class Output:
    """Replies in the order they leave."""

    __slots__ = ("_asks", "_chunks", "_range_sent", "_sendfile", "_warm_until", "cold", "sendfile_bytes", "size_bytes")

    def __init__(self, *, sendfile: bool = _HAS_SENDFILE, asks: bool = False) -> None:
        """`sendfile` False: file ranges are always read in slices.

        `asks`: stops before what is not in memory (`cold`), instead of waiting for a disk.
        """
        self.size_bytes = 0
        self.cold: ColdRange | None = None
        """What the head waits for: nothing is sent until `warmed`."""
        self.sendfile_bytes = 0
        """What the last `send` moved from files to the socket within the kernel."""
        self._asks = asks
        self._warm_until = 0
        self._chunks: deque[Chunk] = deque()
        self._range_sent = 0
        self._sendfile = sendfile and _HAS_SENDFILE

    def append(self, reply: Sequence[Chunk]) -> None:
        """Queue one reply behind its length."""
        chunks = self._chunks
        if len(reply) == 1 and isinstance(only := reply[0], bytes) and len(only) < PREFIX_COPY_BYTES:
            framed = len(only).to_bytes(4, "big") + only
            chunks.append(framed)
            self.size_bytes += len(framed)
            return
        size = reply_size(reply)
        self.size_bytes += 4 + size
        chunks.append(size.to_bytes(4, "big"))
        chunks.extend(reply)

    def append_run(self, replies: Sequence[Reply]) -> None:
        """Queue several replies, each behind its length; short ones leave as one chunk. None may be an `Outcome`."""
        joined: list[bytes] = []
        for reply in replies:
            assert not isinstance(reply, Outcome)
            if len(reply) == 1 and isinstance(only := reply[0], bytes) and len(only) < PREFIX_COPY_BYTES:
                joined += (len(only).to_bytes(4, "big"), only)
            else:
                self._append_joined(joined)
                joined = []
                self.append(reply)
        self._append_joined(joined)

    def append_framed(self, replies: bytes) -> None:
        """Queue replies that have their lengths in front already."""
        self._chunks.append(replies)
        self.size_bytes += len(replies)

    def _append_joined(self, pieces: Sequence[bytes]) -> None:
        if pieces:
            chunk = b"".join(pieces)
            self._chunks.append(chunk)
            self.size_bytes += len(chunk)

    def send(self, sock: OutSocket) -> int:
        """Hand over what the socket takes; returns the bytes sent. `size_bytes` says what is left.

        Raises OSError: of the connection, or of a file (`FileCutError` if it is shorter than promised).
        """
        sent_in_turn = self.sendfile_bytes = 0
        chunks = self._chunks
        if len(chunks) == 1 and isinstance(only := chunks[0], bytes):
            return self._send_only(sock, only)
        try:
            while self._chunks and sent_in_turn < TURN_BYTES and self.cold is None:
                sent, wanted = self._send_some(sock)
                sent_in_turn += sent
                self.size_bytes -= sent
                if sent < wanted:
                    break
        except (BlockingIOError, InterruptedError):
            pass
        return sent_in_turn

    def warmed(self) -> None:
        """The bytes of `cold` were read; they are sent without asking again."""
        if self.cold is not None:
            self._warm_until = self.cold.start + self.cold.size
            self.cold = None

    def clear(self) -> None:
        """Drop everything. What is being read for `cold` is released by whoever reads it."""
        kept = None if self.cold is None else self.cold.range
        release_all([chunk for chunk in self._chunks if chunk is not kept])
        self._chunks.clear()
        self.size_bytes = 0

    def _send_only(self, sock: OutSocket, chunk: bytes) -> int:
        """`send` where there is one short reply, as nearly always."""
        try:
            sent = sock.send(chunk)
        except (BlockingIOError, InterruptedError):
            return 0
        self.size_bytes -= sent
        if sent == len(chunk):
            self._chunks.clear()
        else:
            self._chunks[0] = memoryview(chunk)[sent:]
        return sent

    def _send_some(self, sock: OutSocket) -> tuple[int, int]:
        """One system call: (bytes sent, bytes that were there for it)."""
        buffers: list[Buffer] = []
        wanted = 0
        flags = 0
        while self._chunks and len(buffers) < GATHER_BUFFERS and wanted < GATHER_BYTES:
            chunk = self._chunks[0]
            if not isinstance(chunk, _MEMORY):
                data = None if self._keeps_file(chunk) else self._read_slice(chunk)
                if data is None:
                    flags = _MSG_MORE
                    break
                chunk = data
            else:
                self._chunks.popleft()
            if chunk:
                buffers.append(chunk)
                wanted += len(chunk)
        if not buffers:
            return (0, 0) if self.cold is not None else self._send_range(sock)
        try:
            sent = _send_buffers(sock, buffers, flags)
        except BaseException:
            self._chunks.extendleft(reversed(buffers))
            raise
        if sent < wanted:
            self._chunks.extendleft(reversed(_rest(buffers, sent)))
        return sent, wanted

    def _keeps_file(self, chunk: FileRange) -> bool:
        return self._sendfile and chunk.size - self._range_sent > INLINE_RANGE_BYTES and chunk.fileno() is not None

    def _read_slice(self, chunk: FileRange) -> Buffer | None:
        """Take the next bytes of the range at the head out of the file; drops the range after its last ones.

        None if they are not in memory: they are `cold` now.
        """
        start = self._range_sent
        data: Buffer | None
        if not self._asks:
            data = chunk.read(start, min(chunk.size - start, SLICE_BYTES))
        elif start < self._warm_until:
            data = chunk.read(start, min(self._warm_until - start, SLICE_BYTES))
        else:
            data = chunk.read_warm(start, min(chunk.size - start, SLICE_BYTES))
            if data is None:
                self.cold = ColdRange(chunk, start, min(chunk.size - start, SENDFILE_BYTES))
                return None
        self._advance_range(chunk, len(data))
        return data

    def _send_range(self, sock: OutSocket) -> tuple[int, int]:
        """Hand the next bytes of the range at the head, if there is one, to the kernel; as `_send_some`."""
        chunk = self._chunks[0] if self._chunks else b""
        descriptor = None if isinstance(chunk, _MEMORY) else chunk.fileno()
        if isinstance(chunk, _MEMORY) or descriptor is None:
            return 0, 0
        start = self._range_sent
        size = min(chunk.size - start, SENDFILE_BYTES)
        if self._asks:
            if start >= self._warm_until:
                if not chunk.is_warm(start, size):
                    self.cold = ColdRange(chunk, start, size)
                    return 0, 0
                self._warm_until = start + size
            size = min(size, self._warm_until - start)
        sent = os.sendfile(sock.fileno(), descriptor, chunk.offset + start, size)
        self.sendfile_bytes += sent
        self._advance_range(chunk, sent)
        return sent, size

    def _advance_range(self, chunk: FileRange, size: int) -> None:
        if not size and chunk.size:
            left = chunk.size - self._range_sent
            raise FileCutError(f"a file range of {chunk.size} bytes ended {left} bytes early")
        self._range_sent += size
        if self._range_sent == chunk.size:
            self._chunks.popleft()
            self._range_sent = self._warm_until = 0
            chunk.release()


def reply_size(reply: Sequence[Chunk]) -> int:
    """The bytes of a reply without its length."""
    size = 0
    for chunk in reply:
        size += len(chunk) if isinstance(chunk, _MEMORY) else chunk.size
    return size


def _send_buffers(sock: OutSocket, buffers: list[Buffer], flags: int) -> int:
    if len(buffers) == 1:
        return sock.send(buffers[0], flags)
    if _HAS_SENDMSG:
        return sock.sendmsg(buffers, (), flags)
    return sock.send(b"".join(buffers), flags)


def _rest(buffers: list[Buffer], sent: int) -> list[Buffer]:
    """What `sent` bytes leave of `buffers`."""
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
        sent -= len(buffer)
    return []
