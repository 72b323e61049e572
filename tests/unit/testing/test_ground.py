"""What a node stands on: what it does is kept while it is paused, and dropped when it is dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from odradek.net.real import RealClock, SystemRandom
from odradek.node.ports import Ports
from odradek.ports import Promise, Recurring
from odradek.ports.network import ConnectionInfo, RunHandler, UniformReplies
from odradek.storage.memory_files import MemoryFileSystem
from odradek.testing.disk import Disk
from odradek.testing.ground import Ground
from odradek.testing.links import Links
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.schema import Message

T = TypeVar("T")
R = TypeVar("R", bound=Message)
HERE = ConnectionInfo("c", "PLAINTEXT", "PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 2)


class Handle:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class World:
    """Ports that do nothing by themselves."""

    def __init__(self) -> None:
        self.timers: list[Handle] = []
        self.soon: list[Callable[[], None]] = []
        self.work: list[Promise[object]] = []
        self.answers: list[Promise[MetadataResponse]] = []
        self.closed = 0
        self.links = Links()
        self.links.know([{"A": 1001}, {"A": 1002}])
        self.ground = Ground(1, self.links, Disk())
        self.ports = self.ground.ports(
            Ports(RealClock(), self, self, SystemRandom(), MemoryFileSystem(), None, lambda _listener, _purpose: self)
        )
        assert self.ports.new_peers is not None
        self.peers = self.ports.new_peers("A", "replica-fetcher-1")

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, _delay_ms: float, callback: Callable[[], None]) -> Handle:
        self.timers.append(Handle(callback))
        return self.timers[-1]

    def submit(self, _work: Callable[[], T]) -> Promise[T]:
        promise: Promise[T] = Promise()
        self.work.append(promise)  # type: ignore[arg-type]
        return promise

    def send(self, _host: str, _port: int, _request: Message, _response: type[R], *, timeout_ms: float) -> Promise[R]:
        assert timeout_ms > 0
        promise: Promise[R] = Promise()
        self.answers.append(promise)  # type: ignore[arg-type]
        return promise

    def close(self) -> None:
        self.closed += 1

    def ask(self, port: int = 1002) -> Promise[MetadataResponse]:
        return self.peers.send("127.0.0.1", port, MetadataRequest(), MetadataResponse, timeout_ms=1.0)


def test_a_paused_node_does_everything_later_and_in_order() -> None:
    world, done = World(), list[str]()
    handle, handle_run = world.ground.frames(
        (
            lambda _connection, frame: [frame],
            RunHandler(lambda _connection, frames: [frames], lambda _connection, _frames: UniformReplies(1, b"")),
        )
    )
    world.ports.scheduler.call_soon(lambda: done.append("soon"))
    world.ports.scheduler.call_later(5, lambda: done.append("later"))
    world.ports.executor.submit(lambda: None).on_done(lambda _work: done.append("work"))
    world.ask().on_done(lambda _answer: done.append("answer"))
    world.ground.gate.pause()
    world.answers[0].resolve(MetadataResponse())
    world.work[0].resolve(None)
    world.soon[0]()
    world.timers[0].callback()
    reply = handle(HERE, memoryview(b"frame"))
    assert isinstance(reply, Promise)
    reply.on_done(lambda _reply: done.append("reply"))
    assert handle_run is not None
    assert handle_run.answer(HERE, [memoryview(b"frame")]) == ()
    assert handle_run.answer_uniform(HERE, memoryview(b"frame")) is None
    assert done == []
    world.ground.gate.resume()
    assert done == ["answer", "work", "soon", "later", "reply"]
    assert handle(HERE, memoryview(b"frame")) == [b"frame"]
    assert handle_run.answer(HERE, [memoryview(b"frame")]) == [[b"frame"]]
    assert handle_run.answer_uniform(HERE, memoryview(b"frame")) is not None


def test_what_is_cancelled_while_it_is_kept_does_not_run() -> None:
    world, done = World(), list[str]()
    timer = world.ports.scheduler.call_later(5, lambda: done.append("later"))
    world.ground.gate.pause()
    world.timers[0].callback()
    timer.cancel()
    world.ground.gate.resume()
    assert done == []
    assert world.timers[0].is_cancelled


def test_a_pause_while_it_resumes_keeps_the_rest() -> None:
    world, done = World(), list[str]()
    gate = world.ground.gate
    gate.pause()
    gate.run(gate.pause)
    gate.run(lambda: done.append("behind"))
    gate.resume()
    assert done == []
    gate.resume()
    assert done == ["behind"]


def test_a_dead_node_does_nothing_and_gives_back_what_it_has() -> None:
    world, done = World(), list[str]()
    world.ports.scheduler.call_later(5, lambda: done.append("later"))
    world.ports.executor.submit(lambda: None).on_done(lambda _work: done.append("work"))
    file = world.ports.files.open("/f", create=True)
    world.ground.kill()
    world.work[0].resolve(None)
    assert [timer.is_cancelled for timer in world.timers] == [True]
    assert (world.closed, done) == (1, [])
    with pytest.raises(OSError, match="closed"):
        file.pwrite(b"x", 0)


def test_what_looks_for_due_things_can_be_told_by_it() -> None:
    world = World()
    world.ports.scheduler.call_later(5, Recurring(lambda: None))
    world.ports.scheduler.call_later(5, lambda: None)
    assert [isinstance(timer.callback, Recurring) for timer in world.timers] == [True, False]


def test_what_is_under_way_over_a_link_that_is_cut_is_lost_and_nothing_goes_over_it() -> None:
    world = World()
    before, own = world.ask(), world.ask(1001)
    world.links.cut_off("x", frozenset({2}))
    world.ground.cut()
    for lost in (before, world.ask()):
        assert isinstance(lost.error, KafkaError)
        assert lost.error.code is ErrorCode.NETWORK_EXCEPTION
    world.answers[0].resolve(MetadataResponse())
    assert not own.done
    world.links.mend("x")
    again = world.ask()
    world.answers[-1].resolve(MetadataResponse())
    assert again.error is None
    world.links.stop_fetching("y", 1)
    assert world.ask().error is not None
