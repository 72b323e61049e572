"""Frames that arrive together are offered together, and answered in their order whoever takes them."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.net.frames import READ_BUFFER_BYTES
from odradek.net.limits import NetworkLimits
from odradek.net.reading import MAX_RUN_FRAMES
from odradek.ports.network import ConnectionInfo, Outcome, Reply
from odradek.ports.promise import Promise
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, ParkingHandler, echo, framed


class Runs:
    """Takes as many of the frames that are offered together as it is told, those that begin with `t` at most."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.offered: list[int] = []
        self.taken: list[bytes] = []

    def __call__(self, info: ConnectionInfo, frames: Sequence[memoryview]) -> Sequence[Reply]:
        self.offered.append(len(frames))
        replies: list[Reply] = []
        for frame in frames[: self.most]:
            if bytes(frame[:1]) != b"t":
                break
            self.taken.append(bytes(frame))
            replies.append((b"together:" + bytes(frame),))
        return replies


def test_frames_that_arrive_together_are_taken_together(run: Run) -> None:
    runs = Runs()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo, run_handler=runs))
        await peer.send(b"".join(framed(b"t%d" % number) for number in range(5)))
        assert [await peer.reply() for _ in range(5)] == [b"together:t%d" % number for number in range(5)]
        await peer.send(framed(b"t alone"))
        assert await peer.reply() == b"t alone"
        assert node.network.counters().requests == 6

    run(scenario)
    assert runs.offered == [5]


def test_what_is_not_taken_is_handled_in_its_turn(run: Run) -> None:
    frames = [b"t1", b"t2", b"x", b"t3", b"t4"]

    async def scenario(node: Node, most: int) -> None:
        peer = await node.connect(node.listen(echo, run_handler=Runs(most)))
        await peer.send(b"".join(map(framed, frames)))
        replies = [await peer.reply() for _ in frames]
        assert [reply.removeprefix(b"together:") for reply in replies] == frames
        assert [reply.startswith(b"together:") for reply in replies[:3]] == [most > 0, most > 0, False]

    for most in (0, 1, 2, 5):
        run(lambda node, most=most: scenario(node, most))


def test_nothing_overtakes_a_reply_that_is_waited_for(run: Run) -> None:
    parking = ParkingHandler()

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return parking(info, frame) if bytes(frame[:1]) == b"p" else echo(info, frame)

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler, run_handler=Runs()))
        await peer.send(b"".join(map(framed, (b"t1", b"t2", b"parked", b"t3", b"t4"))))
        assert [await peer.reply(), await peer.reply()] == [b"together:t1", b"together:t2"]
        parking.requests[0].answer()
        assert [await peer.reply() for _ in range(3)] == [b"parked", b"t3", b"t4"]

    run(scenario)


def test_a_forbidden_length_ends_what_is_taken_and_the_connection(run: Run) -> None:
    runs = Runs()

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo, run_handler=runs))
        await peer.send(framed(b"t1") + framed(b"t2") + framed(b"") + framed(b"t3") + framed(b"t4"))
        assert [await peer.reply(), await peer.reply()] == [b"together:t1", b"together:t2"]
        assert await peer.read(1) == b""

    run(scenario)
    assert runs.taken == [b"t1", b"t2"]


def test_a_frame_that_is_not_whole_yet_waits_for_its_rest(run: Run) -> None:
    large = b"t" + bytes(READ_BUFFER_BYTES)

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo, run_handler=Runs()))
        whole = framed(b"t1") + framed(b"t2") + framed(large) + framed(b"t4") + framed(b"t5")
        await peer.send(whole)
        replies = [await peer.reply() for _ in range(5)]
        assert [reply.removeprefix(b"together:") for reply in replies] == [b"t1", b"t2", large, b"t4", b"t5"]

    run(scenario)


def test_a_turn_takes_no_more_frames_than_it_may(run: Run) -> None:
    runs = Runs()
    frames = [b"t%d" % number for number in range(3 * MAX_RUN_FRAMES)]

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo, run_handler=runs))
        await peer.send(b"".join(map(framed, frames)))
        assert [(await peer.reply()).removeprefix(b"together:") for _ in frames] == frames

    run(scenario)
    assert max(runs.offered) == MAX_RUN_FRAMES
    runs.offered.clear()
    run(scenario, NetworkLimits(max_frames_per_turn=7))
    assert max(runs.offered) == 7


def test_a_connection_that_is_to_be_closed_is_closed_behind_the_replies_before(run: Run) -> None:
    def runs(info: ConnectionInfo, frames: Sequence[memoryview]) -> Sequence[Reply]:
        return [(b"first",), Outcome.NO_REPLY, (b"third",), Outcome.CLOSE]

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(echo, run_handler=runs))
        await peer.send(framed(b"t") * 6)
        assert [await peer.reply(), await peer.reply(), await peer.read(1)] == [b"first", b"third", b""]

    run(scenario)
