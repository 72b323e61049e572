"""A program that a test starts, pauses, kills and starts again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_S = 60.0
JAVA_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class ProgramFailed(Exception):
    """The program ended by itself; the message holds the end of its output."""


class Program:
    """One command line over one directory. Its output goes to a file there, over all its starts."""

    def __init__(
        self, argv: Sequence[str], directory: Path, *, name: str, env: Mapping[str, str] | None = None
    ) -> None:
        self.output_path = directory / f"{name}.log"
        self._argv = list(argv)
        self._directory = directory
        self._env = {**os.environ, "PYTHONFAULTHANDLER": "1", **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """Standard output and error of all starts."""
        return self.output_path.read_text(errors="replace")

    def start(self) -> None:
        with self.output_path.open("ab") as output:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=self._env,
            )

    def check(self) -> None:
        """Raises ProgramFailed if it ended by itself, and not with 0."""
        if self._process is not None and self._process.poll():
            tail = "\n".join(self.output.splitlines()[-40:])
            raise ProgramFailed(f"{self._argv[0]} ended with {self._process.returncode}:\n{tail}")

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Until it has ended by itself. Raises ProgramFailed if not with 0, TimeoutExpired."""
        assert self._process is not None
        self._process.wait(timeout_s)
        self.check()

    def pause(self) -> None:
        """SIGSTOP: to everybody else it looks as if its machine hung."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, and SIGABRT for one that does not end in time: Python and Java then write where they were.

        Returns the exit code, -SIGABRT in this case.
        """
        return self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """SIGKILL: it cannot say good-bye to anybody."""
        self._end(signal.SIGKILL)

    def end_with(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait until it has."""
        self._end(number)

    def close(self) -> None:
        """End it if it runs."""
        if self.running:
            self.kill()

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals, timeout_s: float = STOP_TIMEOUT_S) -> int:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            return process.wait()
