"""Connections of a limit's process: all bytes that come go into a file, and whole frames are answered."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from benchmarks.limits.sink import Sink

RECEIVE_BYTES = 1 << 20


class FrameReceiver:
    """One connection's frames. What is in a frame, and whether it must be whole to be looked at, a subclass knows."""

    def __init__(self, sock: socket.socket, sink: Sink, view: memoryview) -> None:
        """`view` is where bytes are received, of all connections."""
        self.socket = sock
        self.view = view
        self.owed = b""
        """The answer to the frame that has begun, once all of it has come."""
        self._sink = sink
        self._kept = b""
        """Of a frame that was not looked at yet."""
        self._missing_bytes = 0
        """Of the frame that has begun."""

    def begin(self, at: int, end: int, answers: list[bytes]) -> int | None:
        """Look at the frame that begins at `at` in `view[:end]`; where the next one does, or None to wait for more.

        Sets `owed`, or adds to `answers` what can be answered now.
        """
        raise NotImplementedError

    def turn(self) -> bool:
        """Take what is there; whether the connection goes on. Raises OSError, and what `begin` raises."""
        kept_bytes = len(self._kept)
        self.view[:kept_bytes] = self._kept
        size = self.socket.recv_into(self.view[kept_bytes:])
        if not size:
            return False
        end = kept_bytes + size
        self._sink.write(self.view[kept_bytes:end])
        answers = self._take_frames(end)
        if answers:
            self.socket.sendall(answers)
        return True

    def _take_frames(self, end: int) -> bytes:
        """The answers to the frames that are whole now, but for those that `begin` has sent."""
        answers: list[bytes] = []
        at = self._missing_bytes
        while at <= end:
            answers.append(self.owed)
            self.owed = b""
            behind = self.begin(at, end, answers)
            if behind is None:
                break
            at = behind
        self._kept = bytes(self.view[at:end])
        self._missing_bytes = max(0, at - end)
        return b"".join(answers)


def serve(listener: socket.socket, receiver_of: Callable[[socket.socket, memoryview], FrameReceiver]) -> None:
    """Until this process is ended; a client may go without waiting for its answers."""
    view = memoryview(bytearray(RECEIVE_BYTES))
    receivers: dict[int, FrameReceiver] = {}
    with select.epoll() as poll:
        poll.register(listener, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    poll.register(connection, select.EPOLLIN)
                    receivers[connection.fileno()] = receiver_of(connection, view)
                elif not _goes_on(receivers[fd]):
                    poll.unregister(fd)
                    receivers.pop(fd).socket.close()


def _goes_on(receiver: FrameReceiver) -> bool:
    try:
        return receiver.turn()
    except ConnectionError:
        return False
