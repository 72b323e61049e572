"""The real ports keep the promises of odradek.ports."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from odradek.net.real import LoopScheduler, RealClock, SystemRandom, ThreadExecutor
from odradek.ports import Promise
from odradek.wire import uuid_to_string


async def settled(promise: Promise[object]) -> None:
    done = asyncio.Event()
    promise.on_done(lambda _promise: done.set())
    await asyncio.wait_for(done.wait(), 10)


def test_clocks(loop: asyncio.AbstractEventLoop) -> None:
    clock = RealClock()
    assert abs(clock.now_ms() - time.time() * 1000) < 1000
    first = clock.monotonic_ms()
    assert clock.monotonic_ms() >= first


def test_callbacks_run_in_order_and_a_cancelled_one_not_at_all(loop: asyncio.AbstractEventLoop) -> None:
    calls: list[str] = []

    async def scenario() -> None:
        scheduler = LoopScheduler(loop)
        last = asyncio.Event()
        scheduler.call_later(30, last.set)
        scheduler.call_later(1, lambda: calls.append("cancelled")).cancel()
        scheduler.call_later(5, lambda: calls.append("later"))
        scheduler.call_soon(lambda: calls.append("soon"))
        calls.append("now")
        await asyncio.wait_for(last.wait(), 10)

    loop.run_until_complete(scenario())
    assert calls == ["now", "soon", "later"]


def test_work_runs_elsewhere_and_settles_on_the_loops_thread(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[int] = []

    async def scenario() -> None:
        executor = ThreadExecutor(loop, threads=1)
        promise = executor.submit(threading.get_ident)
        promise.on_done(lambda _promise: seen.append(threading.get_ident()))
        await settled(promise.then(lambda ident: ident))
        assert promise.result() != threading.get_ident()
        failing: Promise[float] = executor.submit(lambda: 1 / 0)
        await settled(failing.then(lambda value: value))
        with pytest.raises(ZeroDivisionError):
            failing.result()
        executor.shutdown()

    loop.run_until_complete(scenario())
    assert seen == [threading.get_ident()]


def test_each_thread_says_that_it_is_there_before_it_works(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[str] = []

    async def scenario() -> None:
        executor = ThreadExecutor(loop, threads=1, on_thread=lambda: seen.append(threading.current_thread().name))
        for _ in range(2):
            await settled(executor.submit(lambda: seen.append("work")).then(lambda value: value))
        executor.shutdown()

    loop.run_until_complete(scenario())
    assert seen == ["odradek-worker_0", "work", "work"]


def test_shutting_down_finishes_what_runs_and_fails_what_waits(loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        executor = ThreadExecutor(loop, threads=1)
        begun, go_on = threading.Event(), threading.Event()

        def work() -> str:
            begun.set()
            go_on.wait(10)
            return "done"

        running, waiting = executor.submit(work), executor.submit(lambda: "never")
        assert begun.wait(10)
        threading.Timer(0.01, go_on.set).start()
        executor.shutdown()
        await settled(running.then(lambda value: value))
        await settled(waiting.then(lambda value: value))
        assert running.result() == "done"
        assert isinstance(waiting.error, RuntimeError)

    loop.run_until_complete(scenario())


def test_random_numbers_are_below_their_bound_and_reach_every_value() -> None:
    source = SystemRandom()
    assert {source.below(5) for _ in range(500)} == {0, 1, 2, 3, 4}
    assert source.below(1) == 0
    assert 0 <= source.below(2**70) < 2**70
    assert len(source.token(33)) == 33
    with pytest.raises(ValueError, match="below 0"):
        source.below(0)


def test_uuids_are_version_4_and_never_look_like_an_option() -> None:
    source = SystemRandom()
    uuids = [source.uuid() for _ in range(2000)]
    assert len(set(uuids)) == 2000
    assert not any(uuid_to_string(uuid).startswith("-") for uuid in uuids)
    assert {uuid[6] >> 4 for uuid in uuids} == {4}
    assert {uuid[8] >> 6 for uuid in uuids} == {2}
