"""Cleaning in another process."""

from __future__ import annotations

import json
from collections.abc import Callable

from odradek.ports import FileSystem, Promise
from odradek.ports.jobs import JobProcess, JobSteps
from odradek.storage.cleaner.plan import CleanedSegment, CleaningPlan, CleaningResult

_JOB = f"{__name__}:run"


class ProcessRunner:
    """A `CleaningRunner` over a process that runs jobs."""

    def __init__(self, process: JobProcess) -> None:
        self._process = process

    def start(self, plan: CleaningPlan, on_segment: Callable[[CleanedSegment], object]) -> Promise[CleaningResult]:
        """Begin a cleaning."""

        def hear(message: str) -> None:
            replaced, *rest = json.loads(message)
            on_segment(CleanedSegment(tuple(replaced), *rest))

        done = self._process.run(_JOB, plan.to_json(), plan.limits.bytes_per_second, hear)
        return done.then(lambda text: CleaningResult(*json.loads(text)))

    def cancel(self) -> None:
        """Kill the process, if it is cleaning."""
        self._process.cancel()

    def close(self) -> None:
        """End the process."""
        self._process.close()


def run(fs: FileSystem, request: str) -> JobSteps:
    """The job, in the other process. Raises OSError, JobFailedError."""
    from odradek.storage.cleaner.job import clean  # the node itself has no use for what it imports

    cleaning = clean(fs, CleaningPlan.from_json(request))
    while True:
        try:
            step = next(cleaning)
        except StopIteration as stop:
            return json.dumps(stop.value)
        yield json.dumps(step) if isinstance(step, CleanedSegment) else step
