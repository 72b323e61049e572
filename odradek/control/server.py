"""The API's HTTP server, in a thread with an event loop of its own: nodes are held up as little as can be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import uvicorn

from odradek.control.app import create_app
from odradek.net.listener import bound_socket
from odradek.testing.host import Host

MAX_CONNECTIONS = 500
KEEP_ALIVE_S = 30
STOP_S = 2


class ControlServer:
    """Serves the API for the nodes of one host, from `start` to `stop`, or in a `with` block."""

    def __init__(self, running: Callable[[], Host], host: str, port: int, token: str | None = None) -> None:
        """Take the address; port 0 is any free one. `running` raises RuntimeError while no nodes run.

        Raises OSError if the address cannot be had.
        """
        self._socket: socket.socket = bound_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            create_app(running, token),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="odradek-control", daemon=True)

    def start(self) -> None:
        """Answer requests from now on."""
        self._socket.listen(MAX_CONNECTIONS)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more; returns once the address is free. Requests that are under way have `STOP_S` seconds."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])
