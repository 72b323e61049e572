"""Promises and the coroutines that await them."""

from __future__ import annotations

import pytest

from odradek.ports import Promise, gather, spawn


def test_callbacks_run_in_order_when_it_settles() -> None:
    promise: Promise[int] = Promise()
    seen: list[str] = []
    promise.on_done(lambda settled: seen.append(f"first {settled.result()}"))
    promise.on_done(lambda settled: seen.append(f"second {settled.result()}"))
    assert seen == []
    promise.resolve(7)
    promise.on_done(lambda settled: seen.append(f"late {settled.result()}"))
    assert seen == ["first 7", "second 7", "late 7"]


def test_the_first_settlement_counts() -> None:
    promise = Promise.of(1)
    promise.resolve(2)
    promise.reject(ValueError("late"))
    assert promise.result() == 1


def test_a_pending_promise_has_no_result() -> None:
    with pytest.raises(RuntimeError, match="pending"):
        Promise[int]().result()


def test_then_carries_values_and_failures() -> None:
    source: Promise[int] = Promise()
    doubled = source.then(lambda value: value * 2)
    broken = source.then(lambda value: value // 0)
    source.resolve(21)
    assert doubled.result() == 42
    assert isinstance(broken.error, ZeroDivisionError)
    assert isinstance(Promise[int].failed(KeyError("x")).then(str).error, KeyError)


def test_spawn_runs_to_the_first_pending_promise_and_on_from_there() -> None:
    gate: Promise[int] = Promise()
    steps: list[str] = []

    async def work() -> int:
        steps.append("started")
        first = await Promise.of(1)
        steps.append("had one")
        return first + await gate

    result = spawn(work())
    assert steps == ["started", "had one"]
    assert not result.done
    gate.resolve(41)
    assert result.result() == 42


def test_spawn_hands_failures_to_the_coroutine_and_on() -> None:
    gate: Promise[int] = Promise()

    async def work() -> str:
        try:
            await gate
        except ValueError as error:
            return f"caught {error}"
        return "nothing"

    async def careless() -> None:
        await gate

    caught, failed = spawn(work()), spawn(careless())
    gate.reject(ValueError("it"))
    assert caught.result() == "caught it"
    assert isinstance(failed.error, ValueError)


def test_gather_waits_for_all_and_keeps_the_order() -> None:
    promises: list[Promise[int]] = [Promise(), Promise()]
    both = gather(promises)
    promises[1].resolve(2)
    assert not both.done
    promises[0].resolve(1)
    assert both.result() == [1, 2]
    assert gather([]).result() == []


def test_gather_fails_with_the_first_failure() -> None:
    both = gather([Promise[int].failed(KeyError("a")), Promise.of(1), Promise[int].failed(ValueError("b"))])
    assert isinstance(both.error, KeyError)


def test_a_callback_that_fails_harms_neither_the_others_nor_whoever_settles(caplog: pytest.LogCaptureFixture) -> None:
    promise: Promise[int] = Promise()
    seen: list[int] = []
    promise.on_done(lambda settled: seen.append(settled.result() // 0))
    promise.on_done(lambda settled: seen.append(settled.result()))
    promise.resolve(7)
    assert seen == [7]
    assert "ZeroDivisionError" in caplog.text


def test_whoever_makes_a_value_hears_once_that_nobody_needs_it() -> None:
    heard: list[str] = []
    promise: Promise[int] = Promise()
    promise.on_abandoned(lambda: heard.append("pending"))
    promise.abandon()
    promise.abandon()
    settled: Promise[int] = Promise()
    settled.on_abandoned(lambda: heard.append("settled"))
    settled.resolve(1)
    settled.abandon()
    assert heard == ["pending"]
