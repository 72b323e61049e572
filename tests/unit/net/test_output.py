"""How replies leave: gathered memory, file ranges by sendfile or in slices, whatever the socket takes at a time."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.net.output import INLINE_RANGE_BYTES, PREFIX_COPY_BYTES, SLICE_BYTES, FileCutError, Output
from odradek.ports.files import Buffer
from odradek.ports.network import Chunk, ConnectionInfo, Reply
from odradek.ports.promise import Promise
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, framed, settle_down, until

CONTENT = bytes(range(256)) * 12_000


class Range:
    """A range of a file that counts its releases."""

    def __init__(self, descriptor: int, offset: int, size: int, *, has_descriptor: bool = True) -> None:
        self.descriptor = descriptor
        self.offset = offset
        self.size = size
        self.released = 0
        self.reads = 0
        self.has_descriptor = has_descriptor

    def fileno(self) -> int | None:
        return self.descriptor if self.has_descriptor else None

    def read(self, start: int, size: int) -> bytes:
        assert not self.released
        self.reads += 1
        return os.pread(self.descriptor, min(size, self.size - start), self.offset + start)

    def is_warm(self, start: int, size: int) -> bool:
        return True

    def read_warm(self, start: int, size: int) -> bytes:
        return self.read(start, size)

    def release(self) -> None:
        self.released += 1


@pytest.fixture(scope="module")
def descriptor() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        file.write(CONTENT)
        file.flush()
        yield file.fileno()


class PickySocket:
    """Takes as many bytes at a time as it is told, then blocks once, and so on."""

    def __init__(self, takes: Sequence[int]) -> None:
        self.received = bytearray()
        self._takes = takes
        self._turn = 0
        self.ready = True

    def _take(self) -> int:
        if not self.ready:
            raise BlockingIOError
        self.ready = False
        self._turn += 1
        return self._takes[self._turn % len(self._takes)]

    def send(self, data: Buffer, flags: int = 0, /) -> int:
        part = bytes(data[: self._take()])
        self.received += part
        return len(part)

    def sendmsg(self, buffers: Sequence[Buffer], ancdata: Sequence[tuple[int, int, bytes]], flags: int, /) -> int:
        return self.send(b"".join(buffers))

    def fileno(self) -> int:
        raise AssertionError("not a socket of the system")


@given(
    replies=st.lists(
        st.lists(
            st.one_of(st.binary(max_size=50), st.integers(0, 400_000), st.just(bytes(PREFIX_COPY_BYTES))), max_size=4
        ),
        min_size=1,
        max_size=6,
    ),
    takes=st.lists(st.integers(1, 500_000), min_size=1, max_size=10),
    is_run=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_bytes_arrive_whole_however_little_the_socket_takes(
    descriptor: int, replies: list[list[bytes | int]], takes: list[int], is_run: bool
) -> None:
    takes = [max(take, 2000) for take in takes]
    ranges: list[Range] = []
    output = Output(sendfile=False)
    expected = b""
    queued: list[list[Chunk]] = []
    for reply in replies:
        chunks: list[Chunk] = []
        body = b""
        for part in reply:
            if isinstance(part, bytes):
                chunks.append(part)
                body += part
            else:
                ranges.append(Range(descriptor, 77, part))
                chunks.append(ranges[-1])
                body += CONTENT[77 : 77 + part]
        queued.append(chunks)
        expected += framed(body)
    if is_run:
        output.append_run(queued)
    else:
        for each in queued:
            output.append(each)
    sock = PickySocket(takes)
    assert output.size_bytes == len(expected)
    sent = 0
    while output.size_bytes:
        sock.ready = True
        sent += output.send(sock)
        assert output.size_bytes == len(expected) - sent
    sock.ready = True
    output.send(sock)
    assert bytes(sock.received) == expected
    assert [item.released for item in ranges] == [1] * len(ranges)


def test_replies_of_one_turn_leave_with_one_call() -> None:
    output = Output()
    for number in range(50):
        output.append([b"head", memoryview(b"body"), b"%d" % number])
    sock = PickySocket([1_000_000])
    output.send(sock)
    assert output.size_bytes == 0
    assert bytes(sock.received) == b"".join(framed(b"headbody%d" % number) for number in range(50))


def test_a_slow_reader_makes_no_more_than_a_slice_come_out_of_a_file(descriptor: int) -> None:
    output = Output(sendfile=False)
    item = Range(descriptor, 0, 3_000_000)
    output.append([item])
    sock = PickySocket([1])
    for _ in range(20):
        sock.ready = True
        output.send(sock)
    assert item.reads * SLICE_BYTES <= 1024 * 1024 + SLICE_BYTES


def test_clearing_releases_every_range(descriptor: int) -> None:
    output = Output()
    ranges = [Range(descriptor, 0, 100_000) for _ in range(3)]
    output.append(ranges)
    output.clear()
    assert [item.released for item in ranges] == [1, 1, 1]
    assert output.size_bytes == 0


@pytest.mark.parametrize("sendfile", [True, False])
@pytest.mark.parametrize("size", [INLINE_RANGE_BYTES, 1_000_000])
def test_a_file_that_is_shorter_than_promised_is_an_error(descriptor: int, sendfile: bool, size: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        output = Output(sendfile=sendfile)
        output.append([b"head", Range(descriptor, len(CONTENT) - 10, size)])

        def send_all() -> None:
            while output.size_bytes:
                output.send(ours)

        with pytest.raises(FileCutError):
            send_all()
        output.clear()


@pytest.mark.parametrize("has_descriptor", [True, False])
def test_file_ranges_reach_a_client_between_bytes_of_memory(run: Run, descriptor: int, has_descriptor: bool) -> None:
    ranges: list[Range] = []

    def handler(_info: ConnectionInfo, frame: memoryview) -> Reply:
        for offset, size in ((0, 2_500_000), (100, 10), (200, INLINE_RANGE_BYTES + 1), (300, 0)):
            ranges.append(Range(descriptor, offset, size, has_descriptor=has_descriptor))
        first, second, third, empty = ranges[-4:]
        return [b"head" + bytes(frame), first, b"between", second, third, empty, b"tail"]

    def expected(request: bytes) -> bytes:
        whole = CONTENT[:2_500_000], CONTENT[100:110], CONTENT[200 : 200 + INLINE_RANGE_BYTES + 1]
        return b"head" + request + whole[0] + b"between" + whole[1] + whole[2] + b"tail"

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler), receive_buffer_bytes=16_384)
        await peer.send(framed(b"a") + framed(b"b"))
        assert await peer.reply() == expected(b"a")
        assert await peer.reply() == expected(b"b")
        assert [item.released for item in ranges] == [1] * 8
        if has_descriptor:
            assert all(item.reads <= 1 for item in ranges), "sendfile; only the last bytes may be read"
        by_sendfile = node.network.counters().sendfile_bytes
        assert (by_sendfile > 2 * (2_500_000 - INLINE_RANGE_BYTES)) if has_descriptor else (by_sendfile == 0)

    run(scenario)


def test_a_connection_that_ends_releases_what_it_did_not_send(run: Run, descriptor: int) -> None:
    promises: list[Promise[Reply]] = []
    ranges = [Range(descriptor, 0, 2_000_000) for _ in range(4)]

    def handler(_info: ConnectionInfo, frame: memoryview) -> Promise[Reply]:
        promises.append(Promise())
        return promises[-1]

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler), receive_buffer_bytes=8192)
        await peer.send(framed(b"x") * 4)
        await until(lambda: len(promises) == 4)
        promises[0].resolve([ranges[0]])
        promises[2].resolve([b"waits for the second", ranges[2]])
        await peer.read(1000)
        peer.reset()
        await until(lambda: node.network.connections == 0)
        assert [item.released for item in ranges] == [1, 0, 1, 0]
        promises[1].resolve([ranges[1]])
        promises[3].resolve([ranges[3]])
        assert [item.released for item in ranges] == [1, 1, 1, 1]

    run(scenario)


def test_a_file_that_was_cut_costs_the_connection_only(run: Run, descriptor: int) -> None:
    def handler(_info: ConnectionInfo, frame: memoryview) -> Reply:
        if frame[0] == ord("c"):
            return [b"head", Range(descriptor, len(CONTENT) - 100_000, 200_000)]
        return [bytes(frame)]

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        victim, other = await node.connect(listener), await node.connect(listener)
        await victim.send(framed(b"cut"))
        assert len(await victim.read(200_008)) < 200_008
        await settle_down()
        assert await other.ask(b"fine") == b"fine"

    run(scenario)
