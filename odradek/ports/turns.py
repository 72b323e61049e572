"""Long work in slices, so that the thread that it shares is not kept from everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from odradek.ports.clock import Clock, Scheduler
from odradek.ports.promise import Promise

T = TypeVar("T")

SLICE_MS = 10.0
"""How long work on many elements goes on before others have their turn."""
_LOOK_EVERY = 64
"""Elements between two looks at the clock."""


class Turns:
    """Lets an `async def` function that is driven by `spawn` give way to what else the thread has to do."""

    def __init__(self, clock: Clock, scheduler: Scheduler) -> None:
        self._clock = clock
        self._scheduler = scheduler

    def next(self) -> Promise[None]:
        """Settles in the thread's next turn."""
        promise: Promise[None] = Promise()
        self._scheduler.call_soon(lambda: promise.resolve(None))
        return promise

    async def each(self, items: Iterable[T]) -> AsyncIterator[T]:
        """The items one by one, with a turn for others after every `SLICE_MS` that the caller spends on them.

        What the caller looked at before may have changed after any of them.
        """
        until_ms = self._clock.monotonic_ms() + SLICE_MS
        for number, item in enumerate(items, 1):
            yield item
            if number % _LOOK_EVERY == 0 and self._clock.monotonic_ms() >= until_ms:
                await self.next()
                until_ms = self._clock.monotonic_ms() + SLICE_MS
