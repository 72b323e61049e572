"""The world as tests hand it to state machines: time that moves when told, and randomness from a seed."""

from __future__ import annotations

import heapq
import itertools
import random
import uuid
from collections.abc import Callable
from typing import TypeVar

from odradek.ports import Promise

T = TypeVar("T")


class FakeTimer:
    """A scheduled call of `FakeWorld`."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeWorld:
    """Clock, scheduler, random and executor in one; nothing happens but by `advance` and `run_soon`."""

    def __init__(self, seed: int = 0, now_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = now_ms
        self._elapsed_ms = 0.0
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._soon: list[Callable[[], None]] = []

    @property
    def waiting_timers(self) -> int:
        """How many timers will run, if enough time passes."""
        return sum(timer.callback is not None for _due_ms, _order, timer in self._timers)

    def now_ms(self) -> int:
        return self._start_ms + int(self._elapsed_ms)

    def monotonic_ms(self) -> float:
        return self._elapsed_ms

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self._elapsed_ms + max(0.0, delay_ms), next(self._order), timer))
        return timer

    def run_soon(self) -> None:
        """Run what waits for the next turn, and what that schedules in turn."""
        while self._soon:
            self.run_one_turn()

    def run_one_turn(self) -> None:
        """Run what waits for the next turn, and leave what that schedules to the one after it."""
        callbacks, self._soon = self._soon, []
        for callback in callbacks:
            callback()

    def set_clock(self, change_ms: int) -> None:
        """Somebody sets the wall clock; what is monotonic goes on."""
        self._start_ms += change_ms

    def advance_clock(self, milliseconds: float) -> None:
        """Let time pass, as work does that keeps the thread: no timer runs."""
        self._elapsed_ms += milliseconds

    def advance(self, milliseconds: float) -> None:
        """Let time pass, running each timer at its moment, or now if that is over."""
        end = self._elapsed_ms + milliseconds
        self.run_soon()
        while self._timers and self._timers[0][0] <= end:
            due_ms, _, timer = heapq.heappop(self._timers)
            self._elapsed_ms = max(self._elapsed_ms, due_ms)
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
            self.run_soon()
        self._elapsed_ms = end

    def token(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def below(self, bound: int) -> int:
        return self._random.randrange(bound)

    def uuid(self) -> bytes:
        return uuid.UUID(bytes=self._random.randbytes(16), version=4).bytes

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        promise: Promise[T] = Promise()

        def run() -> None:
            try:
                promise.resolve(work())
            except Exception as error:  # noqa: BLE001 - handed to whoever waits, as a thread pool does
                promise.reject(error)

        self.call_soon(run)
        return promise
