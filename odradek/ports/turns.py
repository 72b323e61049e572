"""Long work in slices, so that the thread that it shares is not kept from everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from odradek.ports.clock import Clock, Scheduler
from odradek.ports.promise import Promise

T = TypeVar("T")

SLICE_MS = 0.25
"""How long work on many elements goes on before others have their turn: what such work may add to each of their
answers. A turn costs some 10 microseconds."""
_LOOK_EVERY = 16
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

    @property
    def now_ms(self) -> float:
        """Monotonic milliseconds."""
        return self._clock.monotonic_ms()


class Slices:
    """One piece of long work, which may go through several collections one after the other or one in the other."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._until_ms = turns.now_ms + SLICE_MS
        self._unlooked = _LOOK_EVERY

    async def pause(self) -> None:
        """Let others have their turn, if the slice is over. For work that comes in steps of its own."""
        if self._turns.now_ms >= self._until_ms:
            await self._turns.next()
            self._until_ms = self._turns.now_ms + SLICE_MS

    async def each_long(self, items: Iterable[T]) -> AsyncIterator[T]:
        """`each` for items of which every one may take long."""
        for item in items:
            yield item
            await self.pause()

    async def each(self, items: Iterable[T]) -> AsyncIterator[T]:
        """The items one by one, with a turn for others after every `SLICE_MS` that the caller spends on them.

        What the caller looked at before may have changed after any of them.
        """
        for item in items:
            yield item
            self._unlooked -= 1
            if self._unlooked <= 0:
                self._unlooked = _LOOK_EVERY
                if self._turns.now_ms >= self._until_ms:
                    await self._turns.next()
                    self._until_ms = self._turns.now_ms + SLICE_MS
