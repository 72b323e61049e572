"""Connections that have much in flight have a large receive buffer, as long as they live."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from odradek.net.bulk import WIDE_CONNECTIONS, ReceiveBuffers
from odradek.net.limits import NetworkLimits
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, Peer, echo, framed, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all connections have the same")

LIMITS = NetworkLimits(socket_receive_buffer_bytes=20_000, bulk_receive_buffer_bytes=100_000)
FRAME = bytes(700_000)
_SCALES_AT = 6
"""In a struct tcp_info: by how many bits each side's windows are shifted, the own one in the upper half."""


def buffer_sizes(node: Node) -> list[int]:
    """SO_RCVBUF of the node's ends."""
    return [channel._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for channel in node.network._channels]


def size_of(asked_bytes: int) -> int:
    """What a socket says that was asked to have a buffer of that size."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, asked_bytes)
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


async def stream(peer: Peer, count: int) -> None:
    sending = asyncio.ensure_future(peer.send(framed(FRAME) * count))
    for _ in range(count):
        assert await peer.reply() == FRAME
    await sending


def test_connections_begin_with_the_ordinary_buffer(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))
        assert await peer.ask(b"short") == b"short"
        assert buffer_sizes(node) == [size_of(20_000)]

    run(scenario, LIMITS)


def test_a_window_can_be_opened_as_far_as_the_large_buffer_goes(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))
        assert await peer.ask(b"short") == b"short"
        (channel,) = node.network._channels
        scale = channel._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[_SCALES_AT] >> 4
        assert 0xFFFF << scale >= size_of(2_000_000) // 2

    run(scenario, NetworkLimits(socket_receive_buffer_bytes=20_000, bulk_receive_buffer_bytes=2_000_000))


def test_what_was_asked_for_is_what_all_have(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))
        await stream(peer, 3)
        assert buffer_sizes(node) == [size_of(20_000)]

    run(scenario, NetworkLimits(socket_receive_buffer_bytes=20_000, bulk_receive_buffer_bytes=0))


def test_where_the_system_decides_it_does_so(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))
        assert await peer.ask(b"short") == b"short"
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
            with accepted:
                assert buffer_sizes(node) == [accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)]

    run(scenario, NetworkLimits(socket_receive_buffer_bytes=-1, bulk_receive_buffer_bytes=0))


def test_who_has_much_in_flight_has_a_larger_one_until_it_goes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odradek.net.reading.WIDE_FROM_BYTES", 10_000)
    monkeypatch.setattr("odradek.net.reading.BULKY_BYTES", 10_000)

    async def scenario(node: Node) -> None:
        listener = node.listen(echo)
        peer = await node.connect(listener)
        await stream(peer, 5)
        assert buffer_sizes(node) == [size_of(100_000)]
        left = node.network.context.receive_buffers.left
        assert left == WIDE_CONNECTIONS - 1
        peer.sock.close()
        await until(lambda: node.network.connections == 0)
        assert node.network.context.receive_buffers.left == WIDE_CONNECTIONS
        other = await node.connect(listener)
        assert await other.ask(b"short") == b"short"
        other.sock.close()
        await until(lambda: node.network.connections == 0)
        assert node.network.context.receive_buffers.left == WIDE_CONNECTIONS

    run(scenario, LIMITS)


def test_without_a_size_there_are_none() -> None:
    with socket.socket() as sock:
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert not ReceiveBuffers(0).widen(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before
