"""A network between nodes of one machine, whose links can be cut, cut in one direction, and slowed down.

Nodes advertise ports of this network to each other, and it passes on what comes there. A link is all that goes from
one node to another, whichever of them has opened the connection: who that was is asked of /proc, so this is for Linux.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.support.process import HOST

CHUNK_BYTES = 1 << 16
CALL_TIMEOUT_S = 10.0
T = TypeVar("T")


class Link(NamedTuple):
    """One direction between two nodes."""

    source: int
    target: int

    def back(self) -> Link:
        return Link(self.target, self.source)


class Network:
    """Runs in a thread of its own until it is closed. All methods are for other threads."""

    def __init__(self) -> None:
        self._pids: Callable[[], dict[int, int]] = dict
        self._held: dict[Link, asyncio.Event] = {}
        self._refused: set[Link] = set()
        self._delays_s: dict[Link, float] = {}
        self._connections: dict[asyncio.Task[None], Link] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def attach(self, pids: Callable[[], dict[int, int]]) -> None:
        """Say which process each node is; asked whenever somebody connects."""
        self._pids = pids

    def open_way_to(self, node_id: int, port: int) -> int:
        """The port that leads to a node's port."""

        async def listen() -> int:
            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await self._accept(node_id, port, reader, writer)

            server = await asyncio.start_server(accept, HOST, 0)
            self._servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return self._call(listen())

    def hold(self, *links: Link) -> None:
        """Let nothing pass, as if packets were dropped: it passes once the link is healed. Connections stay."""

        async def do() -> None:
            for link in links:
                self._held.setdefault(link, asyncio.Event())

        self._call(do())

    def cut(self, *links: Link) -> None:
        """Close the connections that use any of these links, and all new ones."""

        async def do() -> None:
            self._refused.update(links)
            self._reset(links)

        self._call(do())

    def delay(self, delay_s: float, *links: Link) -> None:
        """Pass on whatever comes only so much later."""

        async def do() -> None:
            self._delays_s |= dict.fromkeys(links, delay_s)

        self._call(do())

    def reset(self, *links: Link) -> None:
        """Close the connections that use any of these links; new ones can be had."""

        async def do() -> None:
            self._reset(links)

        self._call(do())

    def heal(self) -> None:
        """Pass on everything at once, what was held first."""

        async def do() -> None:
            held, self._held = self._held, {}
            for event in held.values():
                event.set()
            self._refused.clear()
            self._delays_s.clear()

        self._call(do())

    def close(self) -> None:
        async def do() -> None:
            for server in self._servers:
                server.close()
            for task in list(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

        self._call(do())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def _reset(self, links: tuple[Link, ...]) -> None:
        for task, way in self._connections.items():
            if way in links or way.back() in links:
                task.cancel()

    async def _accept(self, target: int, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        way = Link(owner(writer.get_extra_info("peername")[1], self._pids()), target)
        if way.source < 0 or way in self._refused or way.back() in self._refused:
            abort(writer)
            return
        self._connections[task] = way
        try:
            await self._connect(way, port, reader, writer)
        except (OSError, asyncio.CancelledError):
            # One end is gone, or this network lets it look as if it was.
            pass
        finally:
            del self._connections[task]
            abort(writer)

    async def _connect(self, way: Link, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(HOST, port)
        pumps = [
            asyncio.ensure_future(self._pump(way, reader, far_writer)),
            asyncio.ensure_future(self._pump(way.back(), far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            abort(far_writer)

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one end closes the connection, which the other is told no earlier than what came before."""
        while True:
            data = await reader.read(CHUNK_BYTES)
            if link in self._delays_s:
                await asyncio.sleep(self._delays_s[link])
            while link in self._held:
                await self._held[link].wait()
            if not data:
                return
            writer.write(data)
            await writer.drain()


def abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def owner(port: int, pids: dict[int, int]) -> int:
    """Which of the nodes has a connection from this port of this machine; -1: none of them, any more."""
    wanted = f"socket:[{_inode(port)}]"
    return next((node_id for node_id, pid in pids.items() if wanted in _open_by(pid)), -1)


def _open_by(pid: int) -> list[str]:
    """What the descriptors of a process are of."""
    found = []
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


def _inode(port: int) -> str | None:
    ending = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[1].endswith(ending) and columns[3] == _ESTABLISHED:
                    return columns[9]
    return None


_ESTABLISHED = "01"
