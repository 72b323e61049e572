"""Work that comes again and again until its owner stops."""

from __future__ import annotations

from collections.abc import Callable

from odradek.ports import Recurring, Scheduler, TimerHandle
from odradek.storage.log_config import INFINITE


class RepeatingTimers:
    """Any number of them, which end together."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._handles: dict[int, TimerHandle] = {}

    def repeat(self, initial_ms: int, interval_ms: int, work: Callable[[], object]) -> None:
        """Do `work` after `initial_ms`, and from then on every `interval_ms`; never if that is without end."""
        if interval_ms >= INFINITE:
            return
        number = len(self._handles)

        def tick() -> None:
            self._handles[number] = self._scheduler.call_later(interval_ms, Recurring(tick))
            work()

        self._handles[number] = self._scheduler.call_later(initial_ms, Recurring(tick))

    def cancel(self) -> None:
        """End them all."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
