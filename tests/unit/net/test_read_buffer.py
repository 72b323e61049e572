"""The loop's read buffer grows with what arrives, and is small again once a parked request has taken it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from odradek.net.context import LoopContext
from odradek.net.frames import MAX_READ_BUFFER_BYTES, READ_BUFFER_BYTES
from odradek.net.limits import NetworkLimits
from odradek.ports.network import ConnectionInfo, Reply
from odradek.ports.promise import Promise
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, ParkingHandler, Peer, echo, framed, until

FRAME_BYTES = 60_000
FRAMES = 400


class Sizes:
    """Answers frames that arrive together, and remembers the most bytes that did."""

    def __init__(self) -> None:
        self.most = 0

    def __call__(self, info: ConnectionInfo, frames: Sequence[memoryview]) -> Sequence[Reply]:
        self.most = max(self.most, sum(map(len, frames)))
        return [(bytes(frame[:8]),) for frame in frames]


async def stream(peer: Peer) -> None:
    """Send without waiting for replies, and see that they are all right."""

    async def send_all() -> None:
        frames = [framed(number.to_bytes(8, "big") + bytes(FRAME_BYTES)) for number in range(FRAMES)]
        for first in range(0, FRAMES, 20):
            await peer.send(b"".join(frames[first : first + 20]))

    sending = asyncio.ensure_future(send_all())
    for number in range(FRAMES):
        assert (await peer.reply())[:8] == number.to_bytes(8, "big")
    await sending


def test_what_a_peer_sends_without_waiting_comes_in_larger_and_larger_pieces(run: Run) -> None:
    sizes = Sizes()

    async def scenario(node: Node) -> None:
        await stream(await node.connect(node.listen(echo, run_handler=sizes)))

    run(scenario)
    assert READ_BUFFER_BYTES < sizes.most <= MAX_READ_BUFFER_BYTES


def test_what_is_parked_keeps_its_bytes_in_a_large_buffer_too(run: Run) -> None:
    parking = ParkingHandler()
    payloads = [b"p" + bytes([seed]) * FRAME_BYTES for seed in range(12)]

    def handler(info: ConnectionInfo, frame: memoryview) -> Reply | Promise[Reply]:
        return parking(info, frame) if frame[0] == ord("p") else echo(info, frame)

    async def scenario(node: Node) -> None:
        listener = node.listen(handler)
        peers = [await node.connect(listener), await node.connect(listener)]
        await stream(peers[0])
        sending = [
            asyncio.ensure_future(peer.send(b"".join(map(framed, part))))
            for peer, part in zip(peers, (payloads[:6], payloads[6:]), strict=True)
        ]
        await until(lambda: len(parking.requests) == 12)
        await asyncio.gather(*sending)
        assert sorted(bytes(request.frame) for request in parking.requests) == sorted(payloads)
        for request in parking.requests:
            request.answer()
        for peer, part in zip(peers, (payloads[:6], payloads[6:]), strict=True):
            assert [await peer.reply() for _ in part] == part

    run(scenario)


def test_only_reads_that_were_filled_one_after_the_other_make_it_grow() -> None:
    loop = asyncio.new_event_loop()
    try:
        context = LoopContext(loop, NetworkLimits())
        sizes = []
        for turn in range(40):
            context.read_was_filled()
            if turn % 5 == 4:
                context.replace_read_view()
            sizes.append(len(context.read_view))
        assert set(sizes) == {READ_BUFFER_BYTES}
        for _ in range(100):
            context.read_was_filled()
        assert len(context.read_view) == MAX_READ_BUFFER_BYTES
        context.replace_read_view()
        assert len(context.read_view) == READ_BUFFER_BYTES
    finally:
        loop.close()
