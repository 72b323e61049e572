"""Writes what one client does into a history that many processes share."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from odradek.checker.history import Step, format_steps

DIE = signal.SIGUSR1
"""Ends the process as SIGKILL does, but never in the midst of a line."""


class Recorder:
    """Events of one process. Each line is one write to a file opened for appending: lines are in order of time."""

    def __init__(self, path: Path, process: str) -> None:
        self._process = process
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._lock = threading.Lock()

    def invoke(self, kind: str, intended: Iterable[Step] = ()) -> None:
        """An operation begins, which is going to do at most this."""
        self._write(type="invoke", f=kind, value=format_steps(intended))

    def commit(self, steps: Iterable[Step], **more: object) -> None:
        """The operation has done this, and its transaction, or where it came to, is about to be committed."""
        self._write(type="commit", value=format_steps(steps), **more)

    def end(self, kind: str, outcome: str, steps: Iterable[Step], **more: object) -> None:
        """The operation has ended with "ok", "fail" or "info", and done this; `odradek check` leaves `more` alone."""
        self._write(type=outcome, f=kind, value=format_steps(steps), **more)

    def mark(self, kind: str) -> None:
        """Between operations: "assign" or "drained"."""
        self._write(type="ok", f=kind)

    def die_on_signal(self) -> None:
        """Let DIE end this process. Call it before other threads start: they inherit that the signal waits."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {DIE})
        threading.Thread(target=self._wait_for_death, daemon=True).start()

    def leave(self) -> None:
        """End this process at once, with 0, but never in the midst of a line."""
        with self._lock:
            os._exit(0)

    def _wait_for_death(self) -> None:
        signal.sigwait({DIE})
        with self._lock:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, **event: object) -> None:
        line: Mapping[str, object] = {"process": self._process, **event}
        with self._lock:
            os.write(self._file, json.dumps(line).encode() + b"\n")
