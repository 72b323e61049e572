"""What several connections bring in one turn is offered together, and each gets its own replies in their order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from odradek.net.frames import READ_BUFFER_BYTES
from odradek.net.gathering import GATHERED_FRAMES, LONELY_TURNS, READS_APART, Gathered, Gathering
from odradek.net.limits import NetworkLimits
from odradek.ports.network import ConnectionInfo, Outcome, Reply, RunHandler
from odradek.ports.promise import Promise
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, ParkingHandler, Peer, connected, echo, framed, send_at_once, until


class Takes:
    """Takes frames that begin with `t`, up to the first that does not, and remembers what it was offered."""

    def __init__(self) -> None:
        self.offered: list[list[bytes]] = []

    def __call__(self, info: ConnectionInfo, frames: Sequence[memoryview]) -> Sequence[Reply]:
        self.offered.append([bytes(frame) for frame in frames])
        replies: list[Reply] = []
        for frame in frames:
            if bytes(frame[:1]) != b"t":
                break
            replies.append(Outcome.CLOSE if bytes(frame[:2]) == b"tc" else [b"together:" + bytes(frame)])
        return replies


def test_what_several_connections_bring_in_a_turn_is_offered_together(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        one, two, three = await connected(node, 3, takes)
        send_at_once([(one, [b"t1", b"t2"]), (two, [b"t3"]), (three, [b"t4", b"t5"])])
        for peer, numbers in ((three, (4, 5)), (two, (3,)), (one, (1, 2))):
            assert [await peer.reply() for _ in numbers] == [b"together:t%d" % number for number in numbers]
        assert node.network.counters().requests == 5

    run(scenario)
    assert [sorted(each) for each in takes.offered] == [[b"t1", b"t2", b"t3", b"t4", b"t5"]]


def test_what_is_not_taken_together_has_its_place(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        one, two, three = await connected(node, 3, takes)
        send_at_once([(one, [b"t1", b"x2", b"t3", b"t4"]), (two, [b"x5"]), (three, [b"t6", b"t7"])])
        assert [await one.reply() for _ in range(4)] == [b"together:t1", b"x2", b"t3", b"t4"]
        assert await two.reply() == b"x5"
        assert [await three.reply() for _ in range(2)] == [b"together:t6", b"together:t7"]

    run(scenario)


def test_a_connection_that_waits_for_a_reply_holds_up_only_itself(run: Run) -> None:
    parking = ParkingHandler()

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return parking(info, frame) if bytes(frame[:1]) == b"p" else echo(info, frame)

    async def scenario(node: Node) -> None:
        listener = node.listen(handler, run_handler=Takes())
        one, two = await node.connect(listener), await node.connect(listener)
        await until(lambda: node.network.connections == 2)
        send_at_once([(one, [b"t1", b"p2", b"t3"]), (two, [b"t4", b"t5"])])
        assert [await two.reply(), await two.reply(), await one.reply()] == [
            b"together:t4", b"together:t5", b"together:t1",
        ]  # fmt: skip
        send_at_once([(one, [b"t6"]), (two, [b"t7"])])
        assert await two.reply() in (b"t7", b"together:t7")
        parking.requests[0].answer()
        assert [await one.reply() for _ in range(3)] == [b"p2", b"t3", b"t6"]

    run(scenario)


def test_a_connection_that_is_to_be_closed_takes_no_other_with_it(run: Run) -> None:
    async def scenario(node: Node) -> None:
        one, two = await connected(node, 2, Takes())
        send_at_once([(one, [b"t1", b"tc", b"t2"]), (two, [b"t3", b"t4"])])
        assert [await one.reply(), await one.is_closed()] == [b"together:t1", True]
        assert [await two.reply(), await two.reply()] == [b"together:t3", b"together:t4"]
        assert await two.ask(b"x") == b"x"

    run(scenario)


def test_what_was_brought_stays_as_it_is_until_it_is_handled(run: Run) -> None:
    async def scenario(node: Node) -> None:
        peers = await connected(node, 40, Takes())
        frames = [(b"t%d" % number) + bytes([number]) * (READ_BUFFER_BYTES // 16 - 7) for number in range(10, 50)]
        send_at_once([(peer, [frame]) for peer, frame in zip(peers, frames, strict=True)])
        for peer, frame in zip(peers, frames, strict=True):
            assert (await peer.reply()).removeprefix(b"together:") == frame

    run(scenario)


def test_no_more_are_offered_together_than_may_be(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        peers = await connected(node, 60, takes)
        send_at_once([(peer, [b"t%d" % number for number in range(20)]) for peer in peers])
        for peer in peers:
            replies = [await peer.reply() for _ in range(20)]
            assert [reply.removeprefix(b"together:") for reply in replies] == [b"t%d" % number for number in range(20)]

    run(scenario)
    assert max(map(len, takes.offered)) == GATHERED_FRAMES
    takes.offered.clear()
    run(scenario, NetworkLimits(max_frames_per_turn=7))
    assert max(map(len, takes.offered)) <= 7


@pytest.mark.parametrize("seed", range(4))
def test_every_connection_gets_its_replies_in_order_whatever_arrives_when(run: Run, seed: int) -> None:
    """Streams of frames that are taken together, answered one by one or later, cut anywhere and mixed."""
    dice = random.Random(seed)

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        reply: Reply = [bytes(frame)]
        if bytes(frame[:1]) != b"p":
            return reply
        promise: Promise[Reply] = Promise()
        asyncio.get_running_loop().call_later(dice.random() / 500, lambda: promise.resolve(reply))
        return promise

    async def scenario(node: Node) -> None:
        listener = node.listen(handler, run_handler=Takes())
        peers = [await node.connect(listener) for _ in range(5)]
        await until(lambda: node.network.connections == 5)
        kinds, sizes = (b"t", b"t", b"t", b"x", b"p"), (1, 80, 80, 3000, 20_000)
        frames = [
            [dice.choice(kinds) + b"%d " % number + bytes(dice.choice(sizes)) for number in range(40)] for _ in peers
        ]
        streams = [b"".join(map(framed, each)) for each in frames]

        async def receive(peer: Peer, expected: Sequence[bytes]) -> None:
            for frame in expected:
                assert (await peer.reply()).removeprefix(b"together:") == frame

        receiving = [asyncio.ensure_future(receive(peer, each)) for peer, each in zip(peers, frames, strict=True)]
        while any(streams):
            at = dice.choice([index for index, stream in enumerate(streams) if stream])
            sent = 0
            try:
                sent = peers[at].sock.send(streams[at][: dice.choice((1, 30, 90, 200, 7000))])
            except BlockingIOError:
                await asyncio.sleep(0.001)
            streams[at] = streams[at][sent:]
            if dice.random() < 0.2:
                await asyncio.sleep(0)
        await asyncio.gather(*receiving)

    run(scenario)


class OneTurn:
    """A loop whose turn ends when it is told."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def end(self) -> None:
        (callback,) = self.callbacks
        self.callbacks.clear()
        callback()


class Brought:
    """A connection that has brought a frame."""

    info = ConnectionInfo("id", "L", "PLAINTEXT", "host", 1, "host", 2)

    def run_handler_now(self) -> RunHandler | None:
        return None

    def answer_run(self, replies: Sequence[Reply]) -> None:
        raise AssertionError("nobody answers runs")

    def answer_uniform(self, count: int, framed: bytes) -> None:
        raise AssertionError("nobody answers runs")

    def end_gathered(self, gathered: Gathered, position: int) -> None:
        pass


def test_gathering_ends_where_connections_are_alone_and_is_tried_again() -> None:
    loop = OneTurn()
    gathering = Gathering(loop)  # type: ignore[arg-type] # all that is used of one

    def turn(connections: int) -> None:
        for _ in range(connections):
            assert gathering.reads_apart == 0
            gathering.add(Gathered(Brought(), memoryview(b""), 0, 7))
        assert gathering.bytes == 7
        loop.end()
        assert gathering.bytes == 0

    for connections in [1] * (LONELY_TURNS - 1) + [2] + [1] * LONELY_TURNS:
        turn(connections)
    assert gathering.reads_apart == READS_APART
