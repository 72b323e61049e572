"""Cleaning without another process."""

from __future__ import annotations

from collections.abc import Callable

from odradek.ports import Clock, FileSystem, Promise, Scheduler
from odradek.ports.jobs import JobCancelledError, JobFailedError
from odradek.ports.turns import SLICE_MS
from odradek.storage.cleaner.job import Cleaning, clean
from odradek.storage.cleaner.plan import CleanedSegment, CleaningPlan, CleaningResult


class SlicedRunner:
    """Cleans on the state machines' thread, a slice in each turn: for files in memory, and for simulations."""

    def __init__(self, fs: FileSystem, clock: Clock, scheduler: Scheduler) -> None:
        self._fs = fs
        self._clock = clock
        self._scheduler = scheduler
        self._cleaning: Cleaning | None = None
        self._outcome: Promise[CleaningResult] = Promise()

    def start(self, plan: CleaningPlan, on_segment: Callable[[CleanedSegment], object]) -> Promise[CleaningResult]:
        """Begin in the next turn."""
        self._cleaning = cleaning = clean(self._fs, plan)
        self._outcome = Promise()
        self._scheduler.call_soon(lambda: self._go_on(cleaning, on_segment))
        return self._outcome

    def cancel(self) -> None:
        """Give up."""
        if self._cleaning is not None:
            cleaning, self._cleaning = self._cleaning, None
            cleaning.close()
            self._outcome.reject(JobCancelledError())

    def close(self) -> None:
        """Give up; there is nothing else to let go of."""
        self.cancel()

    def _go_on(self, cleaning: Cleaning, on_segment: Callable[[CleanedSegment], object]) -> None:
        until_ms = self._clock.monotonic_ms() + SLICE_MS
        try:
            while self._cleaning is cleaning:
                step = next(cleaning)
                if isinstance(step, CleanedSegment):
                    on_segment(step)
                if self._clock.monotonic_ms() >= until_ms or isinstance(step, CleanedSegment):
                    self._scheduler.call_soon(lambda: self._go_on(cleaning, on_segment))
                    return
        except StopIteration as stop:
            self._cleaning = None
            self._outcome.resolve(stop.value)
        except (OSError, JobFailedError) as error:
            self._cleaning = None
            self._outcome.reject(error)
