"""Time-outs of many fetches that wait, by one timer: nearly all are answered long before."""

from __future__ import annotations

import heapq
from typing import Protocol

from odradek.ports import TimerHandle, Timing

EARLY_MS = 1.0
"""A timer that rings this much too early counts as in time."""
_FEW = 64


class Waiting(Protocol):
    """A fetch that waits."""

    @property
    def is_done(self) -> bool:
        """Whether it waits no more."""
        ...

    def finish(self) -> None:
        """Its time is over. Then `is_done` holds, and `Deadlines.done` was called."""
        ...


class Deadlines:
    """Calls `finish` of those who still wait then. What is done is forgotten by and by."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._heap: list[tuple[float, int, Waiting]] = []
        self._count = 0
        self._done = 0
        self._timer: TimerHandle | None = None
        self._rings_at_ms = 0.0

    def __len__(self) -> int:
        """How many are remembered, with some that are done."""
        return len(self._heap)

    def add(self, waiting: Waiting, delay_ms: float) -> None:
        """Let `waiting` finish in `delay_ms` milliseconds."""
        now_ms = self._timing.clock.monotonic_ms()
        self._count += 1
        heapq.heappush(self._heap, (now_ms + delay_ms, self._count, waiting))
        if self._timer is None or self._heap[0][0] < self._rings_at_ms:
            self._set_timer(now_ms)

    def done(self) -> None:
        """One of those that were added waits no more."""
        self._done += 1
        if self._done > _FEW and self._done > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if not entry[2].is_done]
            heapq.heapify(self._heap)
            self._done = 0

    def _set_timer(self, now_ms: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at_ms = self._heap[0][0]
        self._timer = self._timing.scheduler.call_later(max(0.0, self._rings_at_ms - now_ms), self._ring)

    def _ring(self) -> None:
        self._timer = None
        now_ms = self._timing.clock.monotonic_ms()
        while self._heap and (self._heap[0][2].is_done or self._heap[0][0] < now_ms + EARLY_MS):
            _, _, waiting = heapq.heappop(self._heap)
            if not waiting.is_done:
                waiting.finish()
            self._done = max(0, self._done - 1)
        if self._heap and self._timer is None:
            self._set_timer(now_ms)
