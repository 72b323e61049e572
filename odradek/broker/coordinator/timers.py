"""Time-outs as inputs of a state machine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from odradek.broker.coordinator.result import CoordinatorResult
from odradek.ports import Clock, Promise, Recurring, Scheduler, TimerHandle

TimerOperation = Callable[[], CoordinatorResult[None] | Coroutine[Promise[object], None, CoordinatorResult[None]]]
Submit = Callable[[str, TimerOperation], None]


class Timers:
    """Named timers of one shard; when one is due, its operation runs like a request's.

    Moving a deadline back, which every heartbeat does, only writes it down: the call that was scheduled looks at
    it when it comes and waits for the rest.
    """

    def __init__(self, clock: Clock, scheduler: Scheduler, submit: Submit) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._submit = submit
        self._timers: dict[str, _Timer] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._timers

    def schedule(self, key: str, delay_ms: float, operation: TimerOperation, *, recurring: bool = False) -> None:
        """Run `operation` in `delay_ms`, in place of what was scheduled under `key`.

        One that is `recurring` looks for what is due, and schedules itself again (see `Recurring`).
        """
        deadline_ms = self._clock.monotonic_ms() + max(delay_ms, 0)
        timer = self._timers.get(key)
        if timer is None or timer.wakes_at_ms > deadline_ms:
            if timer is not None:
                timer.handle.cancel()
            timer = self._arm(key, deadline_ms, max(delay_ms, 0), recurring)
        timer.deadline_ms = deadline_ms
        timer.operation = operation

    def fire(self, key: str) -> None:
        """Let a timer be due now; one that is not there is fine."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.handle.cancel()
            self._submit(key, timer.operation)

    def cancel(self, key: str) -> None:
        """Drop a timer; one that is not there is fine."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.handle.cancel()

    def cancel_all(self) -> None:
        """Drop all of them."""
        for key in list(self._timers):
            self.cancel(key)

    def _arm(self, key: str, deadline_ms: float, delay_ms: float, recurring: bool) -> _Timer:
        timer = _Timer(deadline_ms)
        wake: Callable[[], None] = lambda: self._wake(key, timer, recurring)  # noqa: E731 - one of two callbacks
        timer.handle = self._scheduler.call_later(delay_ms, Recurring(wake) if recurring else wake)
        self._timers[key] = timer
        return timer

    def _wake(self, key: str, timer: _Timer, recurring: bool) -> None:
        if self._timers.get(key) is not timer:
            return
        left_ms = timer.deadline_ms - self._clock.monotonic_ms()
        if left_ms > 0 and not recurring:
            timer.wakes_at_ms = timer.deadline_ms
            timer.handle = self._scheduler.call_later(left_ms, lambda: self._wake(key, timer, recurring))
            return
        del self._timers[key]
        self._submit(key, timer.operation)


class _Timer:
    __slots__ = ("deadline_ms", "handle", "operation", "wakes_at_ms")

    handle: TimerHandle
    operation: TimerOperation

    def __init__(self, deadline_ms: float) -> None:
        self.deadline_ms = deadline_ms
        self.wakes_at_ms = deadline_ms
