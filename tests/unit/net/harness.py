"""A node's socket layer over real loopback sockets, driven inside one test."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from odradek.net.limits import NetworkLimits
from odradek.net.listener import Endpoint, Listener, Network
from odradek.ports.network import ConnectionInfo, FrameHandler, Reply, RunHandler
from odradek.ports.promise import Promise

T = TypeVar("T")
DEADLINE_S = 10.0


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def echo(_info: ConnectionInfo, frame: memoryview) -> Reply:
    """Answers with the request's own bytes (copied, since the frame's memory ends with the reply)."""
    return (bytes(frame),)


def big_replies(size: int) -> FrameHandler:
    """Answers each request with `size` times its first byte."""
    return lambda _info, frame: (bytes(frame[:1]) * size,)


@dataclass
class Parked:
    info: ConnectionInfo
    frame: memoryview
    payload: bytes
    promise: Promise[Reply] = field(default_factory=Promise)

    def answer(self, reply: bytes | None = None) -> None:
        self.promise.resolve((self.payload if reply is None else reply,))


class ParkingHandler:
    """Leaves every request pending until the test answers it."""

    def __init__(self) -> None:
        self.requests: list[Parked] = []

    def __call__(self, info: ConnectionInfo, frame: memoryview) -> Promise[Reply]:
        request = Parked(info, frame, bytes(frame))
        self.requests.append(request)
        return request.promise


class Peer:
    """A client's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.sock, data), DEADLINE_S)

    async def read(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer if the connection ends."""
        data = bytearray()
        while len(data) < size:
            more = await asyncio.wait_for(self._loop.sock_recv(self.sock, min(size - len(data), 1 << 18)), DEADLINE_S)
            if not more:
                break
            data += more
        return bytes(data)

    async def reply(self) -> bytes:
        head = await self.read(4)
        if len(head) < 4:
            raise EOFError
        return await self.read(int.from_bytes(head, "big"))

    async def ask(self, payload: bytes) -> bytes:
        await self.send(framed(payload))
        return await self.reply()

    async def is_closed(self) -> bool:
        """Whether the node closes, without sending anything more."""
        try:
            return await self.read(1) == b""
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        """Close so that the node's end gets RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


AnswersRuns = Callable[[ConnectionInfo, Sequence[memoryview]], Sequence[Reply]]
"""A `RunHandler.answer` that is offered frames of one length as well."""


class Node:
    """Listeners on free ports of 127.0.0.1."""

    def __init__(self, limits: NetworkLimits, inter_broker_listener: str | None = None) -> None:
        self.disconnected: list[ConnectionInfo] = []
        self.network = Network(
            asyncio.get_running_loop(),
            limits,
            inter_broker_listener=inter_broker_listener,
            on_disconnect=self.disconnected.append,
        )
        self.peers: list[Peer] = []

    def listen(
        self,
        handler: FrameHandler,
        name: str = "PLAINTEXT",
        group: str = "",
        run_handler: RunHandler | AnswersRuns | None = None,
    ) -> Listener:
        if run_handler is not None and not isinstance(run_handler, RunHandler):
            run_handler = RunHandler(run_handler, lambda _info, _stretch: None)
        listener = self.network.bind(Endpoint(name, "PLAINTEXT", "127.0.0.1", 0), group)
        listener.start(handler, run_handler)
        return listener

    async def connect(self, listener: Listener, receive_buffer_bytes: int | None = None) -> Peer:
        sock = socket.socket()
        peer = Peer(sock)
        self.peers.append(peer)
        sock.setblocking(False)
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", listener.port))
        return peer

    async def close(self) -> None:
        await self.network.stop(0)
        for peer in self.peers:
            peer.sock.close()


async def until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait until `condition()`, or fail after a deadline."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what} did not come true")
        await asyncio.sleep(0.001)


async def settle_down(turns: int = 20) -> None:
    """Let the node do all that it can do now: whatever is ready is handled within a few turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0.001)


def run_on(loop: asyncio.AbstractEventLoop, scenario: Callable[[], Coroutine[object, object, T]]) -> T:
    return loop.run_until_complete(asyncio.wait_for(scenario(), 30))


async def connected(node: Node, count: int, handler: RunHandler | AnswersRuns) -> list[Peer]:
    """So many connections, whose frames `handler` is offered and `echo` answers else."""
    listener = node.listen(echo, run_handler=handler)
    peers = [await node.connect(listener) for _ in range(count)]
    await until(lambda: node.network.connections == count)
    return peers


def send_at_once(frames: Sequence[tuple[Peer, Sequence[bytes]]]) -> None:
    """All of it is there before the node has its next turn."""
    for peer, each in frames:
        data = b"".join(map(framed, each))
        assert peer.sock.send(data) == len(data)
