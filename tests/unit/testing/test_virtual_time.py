"""Time lines, and how an advance goes through them, without any node."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest

from odradek.config import BrokerConfig, single_node_defaults
from odradek.net.real import RealClock, SystemRandom, ThreadExecutor
from odradek.node.ports import Ports
from odradek.ports import Promise, Recurring
from odradek.storage.memory_files import MemoryFileSystem
from odradek.testing import virtual_time
from odradek.testing.virtual_time import CLUSTER_MARGIN_MS, QUIET_TURNS, RECURRENCES, TimeLine, VirtualTime
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.schema import Message

T = TypeVar("T")
R = TypeVar("R", bound=Message)
HOUR_MS = 3_600_000


def run(work: Callable[[VirtualTime], Awaitable[None]]) -> None:
    async def main() -> None:
        time = VirtualTime(asyncio.get_running_loop())
        await work(time)
        time.close()

    asyncio.run(main())


def config_with(properties: dict[str, str]) -> BrokerConfig:
    return BrokerConfig.load({**single_node_defaults("localhost", 0, data_dir="/d"), **properties})


class Notes:
    """What has run, and when on its line, in whole milliseconds from the first moment on."""

    def __init__(self, line: TimeLine) -> None:
        self.line = line
        self.begun_ms = line.monotonic_ms()
        self.seen: list[tuple[str, int]] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.seen.append((name, round(self.line.monotonic_ms() - self.begun_ms)))

    def at(self, delay_ms: float, name: str) -> None:
        self.line.call_later(delay_ms, self.note(name))


def test_timers_run_in_their_order_each_at_its_moment() -> None:
    async def work(time: VirtualTime) -> None:
        time.freeze()
        notes = Notes(time.clients)
        notes.at(3000, "third")
        notes.at(1000, "first")
        time.clients.call_later(2000, lambda: notes.at(500, "armed by a timer"))
        cancelled = time.clients.call_later(2600, notes.note("cancelled"))
        cancelled.cancel()
        notes.at(3001, "too late")
        await time.advance(3000)
        assert notes.seen == [("first", 1000), ("armed by a timer", 2500), ("third", 3000)]
        await time.advance(1)
        assert notes.seen[3:] == [("too late", 3001)]

    run(work)


def test_both_clocks_move_by_what_is_asked_for_and_run_on() -> None:
    async def work(time: VirtualTime) -> None:
        wall, real = time.clients, RealClock()
        assert abs(wall.now_ms() - real.now_ms()) < 1000
        before = wall.monotonic_ms()
        await time.advance(HOUR_MS)
        assert HOUR_MS <= wall.monotonic_ms() - before < HOUR_MS + 1000
        assert HOUR_MS - 1 <= wall.now_ms() - real.now_ms() < HOUR_MS + 1
        assert time.cluster.now_ms() - real.now_ms() > HOUR_MS - 2
        at = wall.monotonic_ms()
        await asyncio.sleep(0.005)
        assert wall.monotonic_ms() > at

    run(work)


def test_timers_run_by_real_time_too() -> None:
    async def work(time: VirtualTime) -> None:
        await time.advance(HOUR_MS)
        done = asyncio.Event()
        begun = time.clients.monotonic_ms()
        time.clients.call_later(60_000, lambda: None)
        time.clients.call_later(20, done.set)
        async with asyncio.timeout(5):
            await done.wait()
        assert time.clients.monotonic_ms() - begun >= 20

    run(work)


def test_time_that_is_frozen_stands_still_but_for_advances() -> None:
    async def work(time: VirtualTime) -> None:
        notes = Notes(time.clients)
        notes.at(1, "due")
        time.freeze()
        at = time.clients.monotonic_ms(), time.clients.now_ms()
        await asyncio.sleep(0.01)
        assert (time.clients.monotonic_ms(), time.clients.now_ms()) == at
        assert notes.seen == []
        await time.advance(5)
        assert time.is_frozen
        assert (time.clients.monotonic_ms(), time.clients.now_ms()) == (at[0] + 5, at[1] + 5)
        assert [name for name, _at in notes.seen] == ["due"]
        time.resume()
        await asyncio.sleep(0.002)
        assert at[0] + 5 < time.clients.monotonic_ms() < at[0] + 1000

    run(work)


def test_time_between_nodes_is_never_frozen() -> None:
    async def work(time: VirtualTime) -> None:
        time.freeze()
        done = asyncio.Event()
        time.cluster.call_later(1, done.set)
        async with asyncio.timeout(5):
            await done.wait()

    run(work)


def test_nodes_notice_as_much_of_an_advance_as_can_make_a_difference() -> None:
    async def work(time: VirtualTime) -> None:
        time.know(config_with({"broker.session.timeout.ms": "20000", "replica.lag.time.max.ms": "40000"}))
        limit_ms = 20_000 + 60_000 + CLUSTER_MARGIN_MS
        assert time.cluster_ms == limit_ms
        notes = Notes(time.cluster)

        def beat() -> None:
            notes.note("beat")()
            time.cluster.call_later(1000, beat)

        time.cluster.call_later(1000, beat)
        await time.advance(3000)
        assert [at for _name, at in notes.seen] == [1000, 2000, 3000]
        await time.advance(1000 * HOUR_MS)
        assert notes.seen[-1][1] == 3000 + limit_ms

    run(work)


def test_both_lines_go_through_an_advance_side_by_side() -> None:
    async def work(time: VirtualTime) -> None:
        order: list[str] = []
        for line, name, later_ms in ((time.clients, "clients", 100), (time.cluster, "cluster", 0)):
            for at in (1000, 2000):
                line.call_later(at + later_ms, partial(order.append, f"{name} {at}"))
        await time.advance(5000)
        assert order == ["cluster 1000", "clients 1000", "cluster 2000", "clients 2000"]

    run(work)


def test_what_looks_for_due_things_looks_at_the_end_once_more() -> None:
    async def work(time: VirtualTime) -> None:
        time.freeze()
        notes = Notes(time.clients)

        def look() -> None:
            notes.note("look")()
            time.clients.call_later(300, Recurring(look))

        time.clients.call_later(300, Recurring(look))
        time.clients.call_later(500, Recurring(lambda: None)).cancel()
        await time.advance(1000)
        assert notes.seen == [("look", at) for at in (300, 600, 900, 1000)]
        # From then on it is at its usual intervals.
        await time.advance(300)
        assert notes.seen[4:] == [("look", 1300), ("look", 1300)]

    run(work)


def test_what_looks_for_due_things_looks_seldom_in_a_long_time() -> None:
    async def work(time: VirtualTime) -> None:
        seen: list[float] = []

        def look() -> None:
            seen.append(time.clients.monotonic_ms())
            time.clients.call_later(1, Recurring(look))

        time.clients.call_later(1, Recurring(look))
        await time.advance(HOUR_MS)
        assert RECURRENCES - 1 <= len(seen) <= RECURRENCES + 2

    run(work)


def test_an_advance_waits_for_other_threads_and_what_follows() -> None:
    async def work(time: VirtualTime) -> None:
        loop = asyncio.get_running_loop()
        executor = ThreadExecutor(loop)
        ports = time.ports(Ports(time.clients, time.clients, executor, SystemRandom(), MemoryFileSystem()))
        seen: list[str] = []
        begun, may_end = threading.Event(), threading.Event()

        def slow() -> str:
            begun.set()
            may_end.wait(5)
            return "worked"

        def due() -> None:
            ports.executor.submit(slow).on_done(
                lambda done: ports.scheduler.call_soon(lambda: seen.append(done.result()))
            )

        ports.scheduler.call_later(1000, due)
        ports.scheduler.call_later(1001, lambda: seen.append("next"))
        advancing = asyncio.ensure_future(time.advance(1001))
        await asyncio.to_thread(begun.wait, 5)
        await asyncio.sleep(0.01)
        assert not advancing.done()
        may_end.set()
        await advancing
        assert seen == ["worked", "next"]
        executor.shutdown()

    run(work)


class FarAway:
    """Other nodes and processes, from which an answer takes some turns of the loop that nobody counts."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    def send(self, host: str, port: int, request: Message, response: type[R], *, timeout_ms: float) -> Promise[R]:
        return self._answer(response())

    def run(self, job: str, request: str, bytes_per_second: float, on_message: Callable[[str], None]) -> Promise[str]:
        return self._answer("done")

    def cancel(self) -> None: ...

    def close(self) -> None: ...

    def _answer(self, value: T) -> Promise[T]:
        promise: Promise[T] = Promise()
        loop = asyncio.get_running_loop()

        def turn(left: int) -> None:
            if left:
                loop.call_soon(turn, left - 1)
            else:
                promise.resolve(value)

        turn(self.turns)
        return promise


def far_away(time: VirtualTime, turns: int) -> Ports:
    there = FarAway(turns)
    executor = ThreadExecutor(asyncio.get_running_loop())
    return time.ports(
        Ports(time.clients, time.clients, executor, SystemRandom(), MemoryFileSystem(), lambda: there, lambda *_: there)
    )


def test_an_advance_waits_for_nodes_that_ask_each_other_again_and_again() -> None:
    async def work(time: VirtualTime) -> None:
        ports = far_away(time, QUIET_TURNS - 2)
        assert ports.new_peers is not None
        peers = ports.new_peers("PLAINTEXT", "purpose")
        seen: list[str] = []

        def ask(times: int) -> None:
            if times:
                answer = peers.send("host", 1, ApiVersionsRequest(), ApiVersionsResponse, timeout_ms=1000)
                answer.on_done(lambda _answer: ask(times - 1))
            else:
                seen.append("answered")

        time.cluster.call_later(1000, lambda: ask(5))
        time.cluster.call_later(1001, lambda: seen.append("next"))
        await time.advance(2000)
        assert seen == ["answered", "next"]

    run(work)


def test_an_advance_waits_for_other_processes() -> None:
    async def work(time: VirtualTime) -> None:
        ports = far_away(time, 1000)
        assert ports.new_job_process is not None
        process = ports.new_job_process()
        seen: list[str] = []

        def work() -> None:
            process.run("module:job", "request", 1.0, lambda _message: None).on_done(lambda _done: seen.append("done"))

        time.clients.call_later(1000, work)
        time.clients.call_later(1001, lambda: seen.append("next"))
        await time.advance(2000)
        assert seen == ["done", "next"]

    run(work)


def test_work_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(time: VirtualTime) -> None:
        def again() -> None:
            time.clients.call_soon(again)

        time.clients.call_later(1, again)
        monkeypatch.setattr(virtual_time, "SETTLE_S", 0.02)
        with pytest.raises(TimeoutError, match="has not come to an end"):
            await time.advance(1)
        assert not time.clients.is_held

    run(work)


def test_a_timer_that_fails_harms_no_other() -> None:
    async def work(time: VirtualTime) -> None:
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context["exception"]))
        notes = Notes(time.clients)
        error = ValueError("no")

        def fail() -> None:
            raise error

        time.clients.call_later(1, fail)
        notes.at(2, "next")
        await time.advance(2)
        assert problems == [error]
        assert [name for name, _at in notes.seen] == ["next"]

    run(work)


def test_timers_that_are_cancelled_take_no_room() -> None:
    async def work(time: VirtualTime) -> None:
        notes = Notes(time.clients)
        for _ in range(10_000):
            time.clients.call_later(HOUR_MS, lambda: None).cancel()
        assert len(time.clients._timers) < 1000
        notes.at(5, "left")
        await time.advance(2 * HOUR_MS)
        assert [name for name, _at in notes.seen] == ["left"]

    run(work)


def test_advances_at_the_same_time_come_one_after_the_other() -> None:
    async def work(time: VirtualTime) -> None:
        time.freeze()
        at = time.clients.monotonic_ms()
        notes = Notes(time.clients)
        notes.at(15, "due")
        await asyncio.gather(time.advance(10), time.advance(20))
        assert time.clients.monotonic_ms() == at + 30
        assert notes.seen == [("due", 15)]

    run(work)
