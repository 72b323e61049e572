"""The most that producing can be on this machine: what comes is written into one file, and each frame gets an answer.

``python -m benchmarks.limits.produce FILE TOPIC`` writes its port to its first line. Of a frame it reads the length,
the correlation id and whether there is to be an answer; batches are not looked at.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limits.sink import Sink
from benchmarks.load.answers import accepting_answer
from odradek.net.limits import RECEIVE_BUFFER_BYTES
from tests.support.apache import ROOT

END_TIMEOUT_S = 10.0
RECEIVE_BYTES = 1 << 20
_HOST = "127.0.0.1"
_MODULE = "benchmarks.limits.produce"
_FRONT = struct.Struct(">i4xi7xh")
"""Of a frame of our load generator: its length, the correlation id, and behind the client's name the acks."""
_INT32 = struct.Struct(">i")
_CORRELATION_ID_AT = 4


@dataclass(frozen=True)
class ReceiverProcess:
    """Where to send to."""

    host: str
    port: int
    pid: int


@contextmanager
def receiving(directory: Path, topic: str) -> Iterator[ReceiverProcess]:
    """A process that receives batches for ``topic``, until the exit; what comes goes into a file in ``directory``."""
    command = [sys.executable, "-m", _MODULE, str(directory / "received"), topic]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield ReceiverProcess(_HOST, int(process.stdout.readline()), process.pid)
    finally:
        process.kill()
        process.communicate(timeout=END_TIMEOUT_S)


class Receiver:
    """One connection's frames: all bytes go into a file, and whole frames are answered."""

    def __init__(self, sock: socket.socket, sink: Sink, answer: bytes, view: memoryview) -> None:
        """`view` is where bytes are received, of all connections."""
        self.socket = sock
        self._sink = sink
        self._answer = bytearray(answer)
        self._view = view
        self._kept = b""
        """Of the next frame's front."""
        self._missing_bytes = 0
        """Of the frame that has begun."""
        self._owed = b""
        """The answer to that one."""

    def turn(self) -> bool:
        """Take what is there; whether the connection goes on."""
        kept_bytes = len(self._kept)
        self._view[:kept_bytes] = self._kept
        size = self.socket.recv_into(self._view[kept_bytes:])
        if not size:
            return False
        end = kept_bytes + size
        self._sink.write(self._view[kept_bytes:end])
        answers = self._take_frames(end)
        if answers:
            self.socket.sendall(answers)
        return True

    def _take_frames(self, end: int) -> bytes:
        """The answers to the frames that are whole now."""
        answers: list[bytes] = []
        at = self._missing_bytes
        while at <= end:
            answers.append(self._owed)
            self._owed = b""
            if end - at < _FRONT.size:
                break
            length, correlation_id, acks = _FRONT.unpack_from(self._view, at)
            if acks:
                _INT32.pack_into(self._answer, _CORRELATION_ID_AT, correlation_id)
                self._owed = bytes(self._answer)
            at += _INT32.size + length
        self._kept = bytes(self._view[at:end])
        self._missing_bytes = max(0, at - end)
        return b"".join(answers)


def serve(path: Path, topic: str) -> None:
    """Until this process is ended."""
    answer, sink, view = accepting_answer(topic), Sink(path), memoryview(bytearray(RECEIVE_BYTES))
    with socket.create_server((_HOST, 0)) as listener, select.epoll() as poll:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        poll.register(listener, select.EPOLLIN)
        receivers: dict[int, Receiver] = {}
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    poll.register(connection, select.EPOLLIN)
                    receivers[connection.fileno()] = Receiver(connection, sink, answer, view)
                elif not receivers[fd].turn():
                    poll.unregister(fd)
                    receivers.pop(fd).socket.close()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
