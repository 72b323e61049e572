"""Who carries out a cleaning: this process in slices (`SlicedRunner`), or one of its own (`ProcessRunner`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from odradek.ports import Promise
from odradek.storage.cleaner.plan import CleanedSegment, CleaningPlan, CleaningResult


class CleaningRunner(Protocol):
    """Carries out one cleaning at a time."""

    def start(self, plan: CleaningPlan, on_segment: Callable[[CleanedSegment], object]) -> Promise[CleaningResult]:
        """Begin a cleaning. `on_segment` is called, on the state machines' thread, with each segment that is done.

        The promise fails with OSError, JobFailedError, JobLostError, JobCancelledError.
        """
        ...

    def cancel(self) -> None:
        """Give up the cleaning that is going on: when this returns, nothing is written any more."""
        ...

    def close(self) -> None:
        """`cancel`, and let go of everything; a later `start` is fine."""
        ...
