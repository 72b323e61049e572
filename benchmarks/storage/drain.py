"""A connection whose other end takes bytes as fast as it can."""

from __future__ import annotations

import os
import select
import socket
import sys

_TAKE_BYTES = 4 << 20


class Drain:
    """`sock` is non-blocking; a child process reads what it is sent and, where the system can, copies none of it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.sock = socket.create_connection(server.getsockname())
            taker, _ = server.accept()
        self._child = os.fork()
        if not self._child:
            self.sock.close()
            _take(taker)
            os._exit(0)
        taker.close()
        self.sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self.sock, select.POLLOUT)

    def wait(self) -> None:
        """Until it takes more."""
        self._poll.poll()

    def close(self) -> None:
        """Let the child go."""
        self.sock.close()
        os.waitpid(self._child, 0)


def _take(sock: socket.socket) -> None:
    buffer = bytearray(_TAKE_BYTES)
    flags = socket.MSG_TRUNC if sys.platform == "linux" else 0
    while sock.recv_into(buffer, 0, flags):
        pass
