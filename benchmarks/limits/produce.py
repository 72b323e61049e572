"""The most that producing can be on this machine: what comes is written into one file, and each frame gets an answer.

``python -m benchmarks.limits.produce FILE TOPIC`` writes its port to its first line. Of a frame it reads the length,
the correlation id and whether there is to be an answer; batches are not looked at.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limits.receiving import FrameReceiver, serve
from benchmarks.limits.sink import Sink
from benchmarks.load.answers import accepting_answer
from odradek.net.limits import RECEIVE_BUFFER_BYTES
from tests.support.apache import ROOT

END_TIMEOUT_S = 10.0
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


class Receiver(FrameReceiver):
    """Answers every frame, once it is there, alike."""

    def __init__(self, sock: socket.socket, sink: Sink, answer: bytes, view: memoryview) -> None:
        super().__init__(sock, sink, view)
        self._answer = bytearray(answer)

    def begin(self, at: int, end: int, answers: list[bytes]) -> int | None:  # noqa: ARG002 - nothing is answered early
        """See `FrameReceiver`."""
        if end - at < _FRONT.size:
            return None
        length, correlation_id, acks = _FRONT.unpack_from(self.view, at)
        if acks:
            _INT32.pack_into(self._answer, _CORRELATION_ID_AT, correlation_id)
            self.owed = bytes(self._answer)
        behind: int = at + _INT32.size + length
        return behind


def main(path: Path, topic: str) -> None:
    """Until this process is ended."""
    answer, sink = accepting_answer(topic), Sink(path)
    with socket.create_server((_HOST, 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        serve(listener, lambda sock, view: Receiver(sock, sink, answer, view))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
