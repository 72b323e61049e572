"""A reply whose bytes are not in memory holds its own connection only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from odradek.net.limits import NetworkLimits
from odradek.net.listener import Endpoint, Network
from odradek.net.output import SENDFILE_BYTES, Output
from odradek.net.real import ThreadExecutor
from odradek.ports import Promise
from odradek.ports.network import ConnectionInfo, Reply
from tests.unit.net.harness import Peer, framed, run_on, settle_down, until

CONTENT = bytes(range(256)) * 12_000


class SlowRange:
    """A range on a disk that answers when the test lets it; until then a read by the loop's thread is a failure."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self.offset = 0
        self.answers = threading.Event()
        self.released = 0
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._warm_bytes = 0
        self._loop_thread = threading.get_ident()

    def fileno(self) -> int | None:
        return self._descriptor

    def is_warm(self, start: int, size: int) -> bool:
        return start + size <= self._warm_bytes

    def read_warm(self, start: int, size: int) -> bytes | None:
        size = min(size, self._warm_bytes - start)
        return os.pread(self._descriptor, size, start) if size > 0 else None

    def read(self, start: int, size: int) -> bytes:
        assert not self.released
        if start + size > self._warm_bytes:
            assert threading.get_ident() != self._loop_thread, "the loop waited for the disk"
            assert self.answers.wait(10)
            if self.error is not None:
                raise self.error
            self._warm_bytes = start + size
        return os.pread(self._descriptor, size, start)

    @property
    def is_held(self) -> bool:
        return self.released == 0

    def release(self) -> None:
        self.released += 1


@pytest.fixture(scope="module")
def descriptor() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(CONTENT)
        file.flush()
        yield file.fileno()


class Scene:
    """A listener whose clients ask for the slow range with "cold", and get anything else back."""

    def __init__(self, range_: SlowRange) -> None:
        loop = asyncio.get_running_loop()
        self.range = range_
        self._peers: list[Peer] = []
        self.executor = ThreadExecutor(loop, threads=1)
        self.network = Network(loop, NetworkLimits(), executor=self.executor)
        self._listener = self.network.bind(Endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 0), "")
        self._listener.start(self._answer)

    def _answer(self, _info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return [b"head", self.range, b"tail"] if bytes(frame) == b"cold" else [bytes(frame)]

    async def connect(self) -> Peer:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._listener.port))
        self._peers.append(Peer(sock))
        return self._peers[-1]

    async def close(self) -> None:
        await self.network.stop(0)
        self.executor.shutdown()
        for peer in self._peers:
            peer.sock.close()


def on_scene(descriptor: int, size: int, scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        scene = Scene(SlowRange(descriptor, size))
        try:
            await scenario(scene)
        finally:
            scene.range.answers.set()
            await scene.close()

    loop = asyncio.new_event_loop()
    try:
        run_on(loop, whole)
    finally:
        loop.close()


@pytest.mark.parametrize("size", [1000, 2 * SENDFILE_BYTES + 5])
def test_others_are_answered_while_one_waits_for_the_disk(descriptor: int, size: int) -> None:
    async def scenario(scene: Scene) -> None:
        reader, other = await scene.connect(), await scene.connect()
        await reader.send(framed(b"cold") + framed(b"behind it"))
        for number in range(20):
            assert await other.ask(b"%d" % number) == b"%d" % number
        assert scene.range.is_held
        scene.range.answers.set()
        assert await reader.reply() == b"head" + CONTENT[:size] + b"tail"
        assert await reader.reply() == b"behind it"
        assert scene.range.released == 1

    on_scene(descriptor, size, scenario)


def test_a_range_is_kept_until_the_disk_has_answered_though_the_client_has_gone(descriptor: int) -> None:
    async def scenario(scene: Scene) -> None:
        reader = await scene.connect()
        await reader.send(framed(b"cold"))
        assert await reader.read(8)
        reader.reset()
        await until(lambda: scene.network.connections == 0)
        await settle_down()
        assert not scene.range.released
        scene.range.answers.set()
        await until(lambda: scene.range.released > 0)

    on_scene(descriptor, 100_000, scenario)


def test_a_disk_that_fails_costs_the_connection_only(descriptor: int) -> None:
    async def scenario(scene: Scene) -> None:
        reader, other = await scene.connect(), await scene.connect()
        scene.range.error = OSError(5, "the disk has failed")
        await reader.send(framed(b"cold"))
        scene.range.answers.set()
        await reader.read(8)
        assert await reader.is_closed()
        assert scene.range.released == 1
        assert await other.ask(b"fine") == b"fine"

    on_scene(descriptor, 100_000, scenario)


class WindowedRange:
    """A range that is in memory as far as it was read in the background; what is asked for beyond is a failure."""

    size = 2 * SENDFILE_BYTES + 5
    offset = 0

    def __init__(self, descriptor: int, *, has_descriptor: bool) -> None:
        self.warm_until = 0
        self.in_background = False
        self.released = 0
        self._descriptor = descriptor
        self._has_descriptor = has_descriptor

    def fileno(self) -> int | None:
        return self._descriptor if self._has_descriptor else None

    def is_warm(self, start: int, size: int) -> bool:
        return start + size <= self.warm_until

    def read_warm(self, start: int, size: int) -> bytes | None:
        return self.read(start, min(size, self.warm_until - start)) if start < self.warm_until else None

    def read(self, start: int, size: int) -> bytes:
        if self.in_background:
            self.warm_until = max(self.warm_until, start + size)
        assert start + size <= self.warm_until, "the loop would wait for the disk"
        return os.pread(self._descriptor, size, start)

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize("has_descriptor", [True, False])
def test_no_more_is_asked_for_than_is_in_memory(
    descriptor: int, monkeypatch: pytest.MonkeyPatch, has_descriptor: bool
) -> None:
    if has_descriptor and not hasattr(os, "sendfile"):
        pytest.skip("there is no sendfile")
    ranges = [WindowedRange(descriptor, has_descriptor=has_descriptor) for _ in range(2)]
    if has_descriptor:
        sendfile = os.sendfile

        def checked(out_fd: int, in_fd: int, offset: int, count: int) -> int:
            current = next(item for item in ranges if not item.released)
            assert offset + count <= current.warm_until, "the kernel would wait for the disk"
            return sendfile(out_fd, in_fd, offset, min(count, 300_000))

        monkeypatch.setattr(os, "sendfile", checked)
    output = Output(asks=True)
    output.append(ranges)
    received = bytearray()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        while len(received) < 4 + 2 * WindowedRange.size:
            output.send(ours)
            with contextlib.suppress(BlockingIOError):
                received += theirs.recv(1 << 20)
            if output.cold is not None:
                current = next(item for item in ranges if not item.released)
                assert output.cold.range is current
                current.in_background = True
                output.cold.read()
                current.in_background = False
                output.warmed()
    assert received[4:] == CONTENT[: WindowedRange.size] * 2
    assert [item.released for item in ranges] == [1, 1]
