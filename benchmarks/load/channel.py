"""A connection among many of one thread: frames go out, and come in through one buffer that is used again and again."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from benchmarks.load.fetch_wire import FetchFailed

SILENCE_TIMEOUT_S = 30.0
BUFFER_BYTES = 1 << 16
_LENGTH = struct.Struct(">i")


class Channel:
    """Sends small frames, which the socket has to take whole, and reads without waiting."""

    def __init__(self, host: str, port: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.socket = socket.create_connection((host, port), timeout=SILENCE_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # With a time-out of Python's own, each call would wait in a poll first.
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(SILENCE_TIMEOUT_S), 0))
        self.buffer = bytearray(buffer_bytes)
        self._view = memoryview(self.buffer)
        self._end = 0

    @property
    def pending_bytes(self) -> int:
        """What has come of a frame that is not whole yet, its length included."""
        return self._end

    def send(self, frame: bytes) -> None:
        """Send a frame; waits where the socket's buffer is full, for that long the broker has been behind."""
        self.socket.sendall(frame)

    def receive(self) -> Iterator[tuple[int, int]]:
        """Read once; where in `buffer` the whole frames begin and end, without their lengths.

        They are overwritten by the next call. Raises FetchFailed, OSError.
        """
        try:
            count = self.socket.recv_into(self._view[self._end :], 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not count:
            raise FetchFailed("the broker closed the connection")
        self._end += count
        position = 0
        while self._end - position >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self.buffer, position)
            start = position + _LENGTH.size
            if self._end - start < size:
                break
            yield start, start + size
            position = start + size
        self._keep(position)

    def close(self) -> None:
        self.socket.close()

    def _keep(self, position: int) -> None:
        """Move what has come of the next frame to the buffer's begin, and have room for its rest."""
        rest = self.buffer[position : self._end]
        if len(rest) >= _LENGTH.size:
            wanted = _LENGTH.size + int(_LENGTH.unpack_from(rest)[0])
            if wanted > len(self.buffer):
                self.buffer = bytearray(wanted)
                self._view = memoryview(self.buffer)
        self.buffer[: len(rest)] = rest
        self._end = len(rest)
