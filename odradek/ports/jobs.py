"""Long work of Python code, which would keep the interpreter's lock from the state machines, in another process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from odradek.ports.files import FileSystem
from odradek.ports.promise import Promise

JobSteps = Generator[int | str, None, str]
"""What a job yields: bytes that it has read and written since the step before, or a message; it returns its result.
Messages and results are single lines."""

Job = Callable[[FileSystem, str], JobSteps]
"""A function of a module; the other process finds it by `module:function`. It is given files and a request."""


class JobFailedError(Exception):
    """The job met what it cannot work with; another try would meet it again."""


class JobLostError(Exception):
    """The process has died, or does not answer, or could not be started; another try may succeed."""


class JobCancelledError(Exception):
    """The job was given up, since its caller said so."""


class JobProcess(Protocol):
    """Runs one job at a time, in a process that is started when it is first needed and ends when it is idle."""

    def run(self, job: str, request: str, bytes_per_second: float, on_message: Callable[[str], None]) -> Promise[str]:
        """Run the function `job` (`module:function`); it is held back where it moves more bytes than that.

        `on_message` is called on the state machines' thread. The promise is of the result; it fails with OSError,
        JobFailedError, JobLostError, JobCancelledError.
        """
        ...

    def cancel(self) -> None:
        """Kill the job that is running, if there is one: it begins nothing more after this."""
        ...

    def close(self) -> None:
        """`cancel`, and end the process. A later `run` is fine."""
        ...
