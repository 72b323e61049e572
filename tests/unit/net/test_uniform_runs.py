"""Frames of one length that arrive together are offered as one stretch, be they of one connection or of several."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from odradek.net.gathering import GATHERED_FRAMES
from odradek.net.limits import NetworkLimits
from odradek.ports.network import ConnectionInfo, Reply, RunHandler, UniformReplies
from odradek.ports.promise import Promise
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, ParkingHandler, Peer, connected, echo, framed, send_at_once


class Takes:
    """Takes frames of one length that begin with `u` as a stretch, and those that begin with `t` together.

    Those with `n` behind it get no replies.
    """

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.most_together = 1000
        self.stretches: list[int] = []
        self.offered: list[list[bytes]] = []

    def answer(self, info: ConnectionInfo, frames: Sequence[memoryview]) -> Sequence[Reply]:
        self.offered.append([bytes(frame) for frame in frames])
        count = next((at for at, frame in enumerate(frames) if bytes(frame[:1]) != b"t"), len(frames))
        return [[b"together:" + bytes(frame)] for frame in frames[: min(count, self.most_together)]]

    def answer_uniform(self, info: ConnectionInfo, stretch: memoryview) -> UniformReplies | None:
        size = 4 + int.from_bytes(stretch[:4], "big")
        assert len(stretch) % size == 0
        assert len(stretch) >= 2 * size
        self.stretches.append(len(stretch) // size)
        frames: list[bytes] = []
        for at in range(0, len(stretch), size):
            frame = bytes(stretch[at + 4 : at + size])
            if int.from_bytes(stretch[at : at + 4], "big") != size - 4 or frame[:1] != b"u" or len(frames) == self.most:
                break
            frames.append(frame)
        if not frames:
            return None
        if frames[0][:2] == b"un":
            return UniformReplies(len(frames), b"")
        return UniformReplies(len(frames), b"".join(framed(b"uniform:" + frame) for frame in frames))

    @property
    def handler(self) -> RunHandler:
        return RunHandler(self.answer, self.answer_uniform)


def test_frames_of_one_length_are_offered_as_a_stretch(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        (peer,) = await connected(node, 1, takes.handler)
        frames = [b"u1", b"u2", b"u3", b"u", b"v", b"u4", b"x", b"t5", b"t6", b"t7 long"]
        send_at_once([(peer, frames)])
        assert [await peer.reply() for _ in frames] == [
            b"uniform:u1", b"uniform:u2", b"uniform:u3", b"uniform:u", b"v", b"u4", b"x", b"t5", b"t6", b"t7 long",
        ]  # fmt: skip
        send_at_once([(peer, [b"t1", b"t2", b"u3"])])
        assert [await peer.reply() for _ in range(3)] == [b"together:t1", b"together:t2", b"u3"]
        assert node.network.counters().requests == 13

    run(scenario)


def test_what_is_left_of_a_stretch_is_offered_again(run: Run) -> None:
    takes = Takes(most=3)

    async def scenario(node: Node) -> None:
        (peer,) = await connected(node, 1, takes.handler)
        send_at_once([(peer, [b"u%d" % number for number in range(8)])])
        assert [await peer.reply() for _ in range(8)] == [b"uniform:u%d" % number for number in range(8)]

    run(scenario)
    assert takes.stretches == [8, 5, 2]


def test_what_is_refused_is_offered_once(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        (peer,) = await connected(node, 1, takes.handler)
        for _ in range(3):
            takes.stretches.clear()
            takes.offered.clear()
            send_at_once([(peer, [b"x1", b"x2", b"x3"])])
            assert [await peer.reply() for _ in range(3)] == [b"x1", b"x2", b"x3"]

    run(scenario)
    assert (takes.stretches, len(takes.offered)) == ([3], 1)


def test_what_is_behind_a_run_is_offered_as_a_stretch_again(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        (peer,) = await connected(node, 1, takes.handler)
        for frames in ([b"x1", b"x2"], [b"t1", b"u2", b"u3"], [b"t1", b"t2", b"u3", b"u4", b"u5"]):
            send_at_once([(peer, frames)])
            replies = [await peer.reply() for _ in frames]
        assert replies == [b"together:t1", b"together:t2", b"uniform:u3", b"uniform:u4", b"uniform:u5"]

    run(scenario)
    assert takes.stretches[-4:] == [3, 2, 5, 3]


def test_runs_of_one_frame_each_are_given_up(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        (peer,) = await connected(node, 1, takes.handler)
        send_at_once([(peer, [b"x1", b"x2"])])
        assert [await peer.reply() for _ in range(2)] == [b"x1", b"x2"]
        takes.offered.clear()
        takes.most_together = 1
        send_at_once([(peer, [b"t1", b"t22", b"t3", b"t44", b"t5", b"t66"])])
        replies = [await peer.reply() for _ in range(6)]
        assert replies == [b"together:t1", b"together:t22", b"t3", b"t44", b"t5", b"t66"]

    run(scenario)
    assert [len(each) for each in takes.offered] == [6, 5]


def test_a_turn_takes_no_more_frames_than_it_may(run: Run) -> None:
    takes = Takes()
    most = NetworkLimits().max_frames_per_turn
    count = 3 * most + 5

    async def scenario(node: Node) -> None:
        (peer,) = await connected(node, 1, takes.handler)
        send_at_once([(peer, [b"u%03d" % number for number in range(count)])])
        replies = [await peer.reply() for _ in range(count)]
        assert [reply.removeprefix(b"uniform:") for reply in replies] == [b"u%03d" % number for number in range(count)]

    run(scenario)
    assert max(takes.stretches) == most
    takes.stretches.clear()
    run(scenario, NetworkLimits(max_frames_per_turn=7))
    assert max(takes.stretches) == 7


def test_requests_without_replies(run: Run) -> None:
    async def scenario(node: Node) -> None:
        one, two = await connected(node, 2, Takes().handler)
        send_at_once([(one, [b"un1", b"un2", b"z", b"ux"])])
        assert [await one.reply(), await one.reply()] == [b"z", b"ux"]
        send_at_once([(one, [b"un1", b"un2"]), (two, [b"un3", b"un4"])])
        send_at_once([(one, [b"y"]), (two, [b"z"])])
        assert [await one.reply(), await two.reply()] == [b"y", b"z"]
        assert node.network.counters().requests == 10

    run(scenario)


def test_a_peer_that_takes_no_replies_is_not_read_from(run: Run) -> None:
    frame = b"u" + bytes(4000)
    limits = NetworkLimits(max_unsent_bytes=256 * 1024)

    async def scenario(node: Node) -> None:
        takes = Takes()
        listener = node.listen(echo, run_handler=takes.handler)
        peer = await node.connect(listener, receive_buffer_bytes=4096)
        sent = 0
        data = memoryview(framed(frame) * 4000)
        for _ in range(300):
            try:
                sent += peer.sock.send(data[sent : sent + 256 * 1024])
            except BlockingIOError:
                await asyncio.sleep(0.001)
        answered = node.network.counters().requests
        assert answered * len(frame) < 4 * 1024 * 1024
        sending = asyncio.ensure_future(peer.send(bytes(data[sent:])))
        for _ in range(4000):
            assert await peer.reply() in (b"uniform:" + frame, frame)
        await sending

    run(scenario, limits)


def test_several_connections_are_offered_as_one_stretch_and_each_gets_its_own_replies(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        one, two, three = await connected(node, 3, takes.handler)
        send_at_once([(one, [b"u1", b"u2"]), (two, [b"u3"]), (three, [b"u4", b"u5", b"u6"])])
        for peer, numbers in ((three, (4, 5, 6)), (two, (3,)), (one, (1, 2))):
            assert [await peer.reply() for _ in numbers] == [b"uniform:u%d" % number for number in numbers]
        assert node.network.counters().requests == 6

    run(scenario)
    assert takes.stretches == [6]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_what_is_left_of_several_connections_has_its_place(run: Run, most: int) -> None:
    takes = Takes(most)

    async def scenario(node: Node) -> None:
        one, two, three = await connected(node, 3, takes.handler)
        send_at_once([(one, [b"u1", b"u2"]), (two, [b"u3", b"v4"]), (three, [b"u5", b"u6"])])
        for peer, frames in ((one, (b"u1", b"u2")), (two, (b"u3", b"v4")), (three, (b"u5", b"u6"))):
            replies = [await peer.reply() for _ in frames]
            assert [reply.split(b":")[-1] for reply in replies] == list(frames)

    run(scenario)


def test_connections_with_frames_of_other_lengths_are_offered_together_with_all_the_same(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        one, two, three = await connected(node, 3, takes.handler)
        send_at_once([(one, [b"t1", b"t2"]), (two, [b"t3", b"t4 long"]), (three, [b"t5 longer", b"t6 longer"])])
        for peer, frames in ((one, (b"t1", b"t2")), (two, (b"t3", b"t4 long")), (three, (b"t5 longer", b"t6 longer"))):
            assert [await peer.reply() for _ in frames] == [b"together:" + frame for frame in frames]
        # First and last have one length, and their sizes fit, but there is another one between them.
        send_at_once([(one, [b"t1", b"t", b"t33", b"t4"]), (two, [b"u3"])])
        replies = [await one.reply() for _ in range(4)]
        assert [reply.removeprefix(b"together:") for reply in replies] == [b"t1", b"t", b"t33", b"t4"]
        assert (await two.reply()).removeprefix(b"together:") == b"u3"

    run(scenario)
    assert [sorted(each) for each in takes.offered][:1] == [
        [b"t1", b"t2", b"t3", b"t4 long", b"t5 longer", b"t6 longer"]
    ]


def test_a_length_that_is_not_allowed_costs_its_connection_only(run: Run) -> None:
    async def scenario(node: Node) -> None:
        one, two = await connected(node, 2, Takes().handler)
        data = framed(b"u1") + framed(b"u2") + b"\xff\xff\xff\xff??" + framed(b"u4")
        assert one.sock.send(data) == len(data)
        send_at_once([(two, [b"u5", b"u6"])])
        assert [await one.reply(), await one.reply()] == [b"uniform:u1", b"uniform:u2"]
        assert await one.is_closed()
        assert [await two.reply(), await two.reply()] == [b"uniform:u5", b"uniform:u6"]

    run(scenario, NetworkLimits(socket_request_max_bytes=50))


def test_no_more_are_offered_together_than_may_be(run: Run) -> None:
    takes = Takes()

    async def scenario(node: Node) -> None:
        peers = await connected(node, 60, takes.handler)
        send_at_once([(peer, [b"u%02d" % number for number in range(20)]) for peer in peers])
        for peer in peers:
            assert [await peer.reply() for _ in range(20)] == [b"uniform:u%02d" % number for number in range(20)]

    run(scenario)
    assert GATHERED_FRAMES - 20 < max(takes.stretches) <= GATHERED_FRAMES


def test_who_waits_for_a_reply_gets_the_next_behind_it(run: Run) -> None:
    parking = ParkingHandler()

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return parking(info, frame) if bytes(frame[:1]) == b"p" else echo(info, frame)

    async def scenario(node: Node) -> None:
        peer = await node.connect(node.listen(handler, run_handler=Takes().handler))
        send_at_once([(peer, [b"u1", b"u2", b"p3", b"u4", b"u5"])])
        assert [await peer.reply(), await peer.reply()] == [b"uniform:u1", b"uniform:u2"]
        parking.requests[0].answer()
        assert [await peer.reply() for _ in range(3)] == [b"p3", b"u4", b"u5"]

    run(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_every_connection_gets_its_replies_in_order_whatever_arrives_when(run: Run, seed: int) -> None:
    """Streams of frames of a few lengths, taken as stretches, together or one by one, cut anywhere and mixed."""
    dice = random.Random(seed)

    async def scenario(node: Node) -> None:
        takes = Takes(most=dice.choice((1, 2, 5, 1000)))
        peers = await connected(node, 5, takes.handler)
        kinds, sizes = (b"u", b"u", b"u", b"t", b"x"), (80, 80, 80, 3000)
        frames = []
        for _ in peers:
            mine: list[bytes] = []
            while len(mine) < 60:
                kind, size = dice.choice(kinds), dice.choice(sizes)
                mine += [kind + b"%02d " % len(mine) + bytes(size) for _ in range(dice.randint(1, 6))]
            frames.append(mine)
        streams = [b"".join(map(framed, each)) for each in frames]

        async def receive(peer: Peer, expected: Sequence[bytes]) -> None:
            for frame in expected:
                assert (await peer.reply()).split(b":")[-1] == frame

        receiving = [asyncio.ensure_future(receive(peer, each)) for peer, each in zip(peers, frames, strict=True)]
        while any(streams):
            at = dice.choice([index for index, stream in enumerate(streams) if stream])
            sent = 0
            try:
                sent = peers[at].sock.send(streams[at][: dice.choice((84, 168, 420, 90, 7000))])
            except BlockingIOError:
                await asyncio.sleep(0.001)
            streams[at] = streams[at][sent:]
            if dice.random() < 0.2:
                await asyncio.sleep(0)
        await asyncio.gather(*receiving)

    run(scenario)
