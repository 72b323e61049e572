"""Time and timers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Clock(Protocol):
    """Reads time; two clocks, since the wall clock may jump."""

    def now_ms(self) -> int:
        """Wall clock, milliseconds since the Unix epoch: what goes into records."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds that never run backwards: what time-outs are measured with."""
        ...


class TimerHandle(Protocol):
    """A call that has been scheduled."""

    def cancel(self) -> None:
        """Drop the call if it has not run yet; otherwise do nothing."""
        ...


class Scheduler(Protocol):
    """Runs callbacks later, on the one thread that owns the state machines."""

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` in this thread's next turn, after what is already waiting."""
        ...

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> TimerHandle:
        """Run `callback` once, `delay_ms` milliseconds from now."""
        ...


class Timing(NamedTuple):
    """A clock, and what runs by it."""

    clock: Clock
    scheduler: Scheduler


class Recurring:
    """A callback that looks for what is due, and is scheduled again and again.

    When it runs matters little to what comes of it, so where time is moved it may run sooner, and less often.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work

    def __call__(self) -> None:
        self._work()
