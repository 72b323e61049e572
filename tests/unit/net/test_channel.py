"""One connection: framing, the order of replies, and who owns a frame's memory."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from functools import partial

import pytest

from odradek.net.channel import COPY_BELOW_BYTES
from odradek.net.frames import READ_BUFFER_BYTES
from odradek.net.limits import NetworkLimits
from odradek.ports.network import ConnectionInfo, Outcome, Reply
from odradek.ports.promise import Promise
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, ParkingHandler, big_replies, echo, framed, settle_down, until


def patterned(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_request_sent_a_byte_at_a_time_is_answered(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))
        for byte in framed(b"slowly") + framed(b"twice"):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await peer.reply() == b"slowly"
        assert await peer.reply() == b"twice"

    run(scenario)


@pytest.mark.parametrize("piece", [7, 1000, 65_537, 10_000_000])
def test_frames_of_every_size_arrive_whole_however_they_are_cut(run: Run, piece: int) -> None:
    sizes = [1, 2, 3, 4, 5, COPY_BELOW_BYTES - 1, COPY_BELOW_BYTES, COPY_BELOW_BYTES + 1, 70_000]
    if piece > 10:
        sizes += [READ_BUFFER_BYTES - 5, READ_BUFFER_BYTES - 4, READ_BUFFER_BYTES - 3, READ_BUFFER_BYTES, 300_000, 9]
        sizes += [1_500_000, 11, 1_500_000, 1_400_000]
    payloads = [patterned(size, index) for index, size in enumerate(sizes)]

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))

        async def send_all() -> None:
            stream = b"".join(map(framed, payloads))
            for start in range(0, len(stream), piece):
                await peer.send(stream[start : start + piece])

        sending = asyncio.ensure_future(send_all())
        for payload in payloads:
            assert await peer.reply() == payload
        await sending

    run(scenario)


def test_replies_leave_in_the_order_of_the_requests(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(b"".join(framed(b"%d" % number) for number in range(50)))
        await until(lambda: len(handler.requests) == 50)
        order = list(range(50))
        random.Random(3).shuffle(order)
        for number in order:
            handler.requests[number].answer()
        assert [await peer.reply() for _ in range(50)] == [b"%d" % number for number in range(50)]

    run(scenario)


def test_a_reply_that_is_there_waits_for_the_one_before_it(run: Run) -> None:
    parking = ParkingHandler()

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return parking(info, frame) if frame[0] == ord("p") else echo(info, frame)

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(framed(b"now") + framed(b"parked") + framed(b"behind"))
        assert await peer.reply() == b"now"
        await settle_down()
        with pytest.raises(BlockingIOError):
            peer.sock.recv(1)
        parking.requests[0].answer()
        assert [await peer.reply(), await peer.reply()] == [b"parked", b"behind"]

    run(scenario)


def test_a_handler_may_answer_an_earlier_request_of_the_same_connection(run: Run) -> None:
    parking = ParkingHandler()

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        if frame[0] == ord("p"):
            return parking(info, frame)
        parking.requests[0].answer()
        return echo(info, frame)

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(framed(b"parked") + framed(b"releases it"))
        assert [await peer.reply(), await peer.reply()] == [b"parked", b"releases it"]

    run(scenario)


@pytest.mark.parametrize("size", [100, COPY_BELOW_BYTES, 60_000, READ_BUFFER_BYTES + 1, 700_000])
def test_a_parked_request_keeps_its_bytes_while_others_arrive(run: Run, size: int) -> None:
    handler = ParkingHandler()
    payloads = [patterned(size, seed) for seed in range(6)]

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        first, second = await node.connect(listener), await node.connect(listener)
        for payload in payloads[:3]:
            await first.send(framed(payload))
        for payload in payloads[3:]:
            await second.send(framed(payload))
        await until(lambda: len(handler.requests) == 6)
        assert sorted(bytes(request.frame) for request in handler.requests) == sorted(payloads)
        for request in handler.requests:
            request.frame[0] = 1
        assert all(request.frame[0] == 1 for request in handler.requests)
        for request in handler.requests:
            request.answer()
        assert [await first.reply() for _ in range(3)] == payloads[:3]
        assert [await second.reply() for _ in range(3)] == payloads[3:]
        assert node.network.context.memory.held_bytes == 0

    run(scenario)


@pytest.mark.parametrize("length", [0, -1, -(2**31), 1001, 2**31 - 1])
def test_a_forbidden_length_closes_after_the_replies_that_are_due(run: Run, length: int) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        peer = await node.connect(listener)
        await peer.send(framed(b"before") + length.to_bytes(4, "big", signed=True))
        await until(lambda: listener.counters.frames_refused == 1)
        handler.requests[0].answer()
        assert await peer.reply() == b"before"
        assert await peer.is_closed()
        assert len(handler.requests) == 1

    run(scenario, NetworkLimits(socket_request_max_bytes=1000))


def test_a_frame_of_exactly_the_maximum_is_taken(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo))
        assert await peer.ask(b"x" * 1000) == b"x" * 1000

    run(scenario, NetworkLimits(socket_request_max_bytes=1000))


def test_no_reply_sends_nothing_and_close_sends_what_came_before(run: Run) -> None:
    seen: list[bytes] = []

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply:
        seen.append(bytes(frame))
        return {b"quiet": Outcome.NO_REPLY, b"close": Outcome.CLOSE}.get(seen[-1]) or echo(info, frame)

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(b"".join(map(framed, [b"quiet", b"heard", b"close", b"never handled"])))
        assert await peer.reply() == b"heard"
        assert await peer.is_closed()
        assert seen == [b"quiet", b"heard", b"close"]

    run(scenario)


def test_a_parked_close_drops_what_is_behind_it(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(b"".join(map(framed, [b"first", b"closes", b"third", b"fourth"])))
        await until(lambda: len(handler.requests) == 4)
        handler.requests[2].answer()
        handler.requests[1].promise.resolve(Outcome.CLOSE)
        handler.requests[0].answer()
        assert await peer.reply() == b"first"
        assert await peer.is_closed()
        handler.requests[3].answer()
        assert node.network.connections == 0
        assert node.network.context.memory.held_bytes == 0

    run(scenario)


@pytest.mark.parametrize("later", [False, True])
def test_a_handler_that_fails_costs_its_connection_only(
    run: Run, later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        if bytes(frame) != b"bad":
            return echo(info, frame)
        if later:
            return Promise.failed(ValueError("broken handler"))
        raise ValueError("broken handler")

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        victim, other = await node.connect(listener), await node.connect(listener)
        await victim.send(framed(b"good") + framed(b"bad") + framed(b"good"))
        assert await victim.reply() == b"good"
        assert await victim.is_closed()
        assert await other.ask(b"fine") == b"fine"

    with caplog.at_level(logging.ERROR):
        run(scenario)
    assert "broken handler" in caplog.text


def test_reading_stops_at_the_cap_of_parked_requests(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        peer = await node.connect(listener)
        await peer.send(b"".join(framed(b"%d" % number) for number in range(30)))
        await until(lambda: len(handler.requests) == 8)
        await settle_down()
        assert len(handler.requests) == 8
        handler.requests[0].answer()
        await settle_down()
        assert len(handler.requests) == 8, "reading goes on at half the cap"

        def has_parked(number: int) -> bool:
            return len(handler.requests) > number

        replies = []
        for number in range(30):
            await until(partial(has_parked, number))
            handler.requests[number].answer()
            assert sum(not request.promise.done for request in handler.requests) <= 8
            replies.append(await peer.reply())
        assert replies == [b"%d" % number for number in range(30)]

    run(scenario, NetworkLimits(max_parked_requests=8))


def test_a_slow_reader_is_not_read_until_it_takes_its_replies(run: Run) -> None:
    limit = 1_000_000

    async def scenario(node: Node) -> None:
        listener = node.listen(big_replies(100_000))
        peer, quick = await node.connect(listener, receive_buffer_bytes=8192), await node.connect(listener)
        await peer.send(b"".join(framed(b"%c" % (number % 256)) for number in range(1000)))
        await until(lambda: listener.counters.requests > 5)
        await settle_down()
        handled = listener.counters.requests
        assert handled * 100_000 - listener.counters.sent_bytes <= limit + 100_004
        assert handled < 100
        assert len(await quick.ask(b"q")) == 100_000
        for number in range(1000):
            assert await peer.reply() == bytes([number % 256]) * 100_000

    run(scenario, NetworkLimits(max_unsent_bytes=limit, socket_send_buffer_bytes=16_384))


def test_replies_that_wait_for_a_parked_one_count_as_unsent(run: Run) -> None:
    parking = ParkingHandler()

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return parking(info, frame) if frame[0] == ord("p") else (bytes(frame) * 100_000,)

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        peer = await node.connect(listener)
        await peer.send(framed(b"p") + framed(b"x") * 100)
        await until(lambda: listener.counters.requests > 5)
        await settle_down()
        assert listener.counters.requests <= 12
        parking.requests[0].answer()
        assert await peer.reply() == b"p"
        for _ in range(100):
            assert await peer.reply() == b"x" * 100_000

    run(scenario, NetworkLimits(max_unsent_bytes=1_000_000))


def test_replies_that_come_out_of_order_count_as_unsent(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(framed(b"x") * 3)
        await until(lambda: len(handler.requests) == 3)
        handler.requests[1].answer(b"y" * 600_000)
        handler.requests[2].answer(b"z" * 600_000)
        await peer.send(framed(b"later") * 2)
        await settle_down()
        assert len(handler.requests) == 3, "nothing is read while so much waits"
        handler.requests[0].answer()
        assert [len(await peer.reply()) for _ in range(3)] == [1, 600_000, 600_000]
        await until(lambda: len(handler.requests) == 5)

    run(scenario, NetworkLimits(max_unsent_bytes=1_000_000))


def test_one_connection_full_of_requests_does_not_keep_others_waiting(run: Run) -> None:
    order: list[bytes] = []

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply:
        order.append(bytes(frame))
        return echo(info, frame)

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        greedy, modest = await node.connect(listener), await node.connect(listener)
        await settle_down()
        greedy.sock.send(framed(b"g") * 5000)
        modest.sock.send(framed(b"m"))
        assert await modest.reply() == b"m"
        await greedy.read(5 * 5000)
        assert order.index(b"m") <= 2 * 64
        assert order.count(b"g") == 5000

    run(scenario)


def test_one_connection_with_costly_requests_does_not_keep_others_waiting(run: Run) -> None:
    order: list[bytes] = []

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply:
        order.append(bytes(frame))
        time.sleep(0.025)  # a request that the loop's thread has to work on
        return echo(info, frame)

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        greedy, modest = await node.connect(listener), await node.connect(listener)
        await settle_down()
        greedy.sock.send(framed(b"g") * 20)
        modest.sock.send(framed(b"m"))
        assert await modest.reply() == b"m"
        await greedy.read(5 * 20)
        assert order.index(b"m") <= 2

    run(scenario, NetworkLimits(max_turn_ms=20))


def test_a_peer_that_has_finished_sending_gets_its_replies(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(framed(b"one") + framed(b"two") + b"\x00\x00")
        await until(lambda: len(handler.requests) == 2)
        peer.sock.shutdown(socket.SHUT_WR)
        await settle_down()
        for request in handler.requests:
            request.answer()
        assert [await peer.reply(), await peer.reply()] == [b"one", b"two"]
        assert await peer.is_closed()

    run(scenario)


def test_a_peer_that_has_finished_sending_is_not_kept_for_ever(run: Run) -> None:
    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(framed(b"never answered"))
        await until(lambda: len(handler.requests) == 1)
        peer.sock.shutdown(socket.SHUT_WR)
        assert await peer.is_closed()
        handler.requests[0].answer()
        assert node.network.context.memory.held_bytes == 0

    run(scenario, NetworkLimits(half_close_linger_ms=50))


def test_a_reset_while_a_reply_is_sent_ends_only_that_connection(run: Run) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(big_replies(5_000_000))
        victim, other = await node.connect(listener, receive_buffer_bytes=8192), await node.connect(listener)
        await victim.send(framed(b"v") * 3)
        await victim.read(1000)
        victim.reset()
        await until(lambda: node.network.connections == 1)
        assert await other.ask(b"o") == b"o" * 5_000_000
        assert len(node.disconnected) == 1

    run(scenario)


def test_the_handler_hears_of_parked_requests_whose_connection_is_gone(run: Run) -> None:
    handler = ParkingHandler()
    abandoned: list[bytes] = []

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler))
        await peer.send(framed(b"one") + framed(b"two"))
        await until(lambda: len(handler.requests) == 2)
        for request in handler.requests:
            request.promise.on_abandoned(partial(abandoned.append, request.payload))
        peer.reset()
        await until(lambda: abandoned == [b"one", b"two"])
        for request in handler.requests:
            request.answer()

    run(scenario)


def test_a_reply_that_cannot_be_sent_costs_its_connection_and_not_the_flush_of_others(run: Run) -> None:
    class Broken:
        size = 100_000
        offset = 0

        def fileno(self) -> int | None:
            return None

        def read(self, start: int, size: int) -> bytes:
            raise RuntimeError("the file makes no sense")

        def is_warm(self, start: int, size: int) -> bool:
            return True

        def read_warm(self, start: int, size: int) -> bytes:
            return self.read(start, size)

        def release(self) -> None:
            pass

    handler = ParkingHandler()

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        first, second = await node.connect(listener), await node.connect(listener)
        await first.send(framed(b"one"))
        await until(lambda: len(handler.requests) == 1)
        await second.send(framed(b"two"))
        await until(lambda: len(handler.requests) == 2)
        handler.requests[0].promise.resolve((Broken(),))
        handler.requests[1].answer()
        assert await second.reply() == b"two"
        assert len(await first.read(5)) < 5

    run(scenario)
