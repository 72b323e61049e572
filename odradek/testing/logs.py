"""What embedded nodes log, kept apart from what the program around them logs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

Sink = Callable[[str], None]
"""Takes one line of a log, maybe with a traceback's lines behind it. Called on any thread of the nodes."""

_OURS = logging.getLogger("odradek")
_here = threading.local()


def log_to(sink: Sink) -> None:
    """Send what this thread logs from now on to `sink`, while `Quiet` is in force."""
    _here.sink = sink


_NOWHERE = -1
"""A level that no handler takes."""


class _Router(logging.Handler):
    """The first handler of our loggers: what a thread with a sink logs goes there, and to no other handler.

    `propagate` stays as it is, for pytest adds handlers to loggers that do not propagate.
    """

    def __init__(self, level_before: int) -> None:
        """`level_before` is what the program wants to see of ours."""
        super().__init__()
        self._level_before = level_before
        self.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take the record to where its thread logs to."""
        sink: Sink | None = getattr(_here, "sink", None)
        if sink is not None:
            sink(self.format(record))
        if sink is not None or record.levelno < self._level_before:
            # Whoever is behind this one compares the level first.
            record.levelno = _NOWHERE


class Quiet:
    """While there is at least one, no line of embedded nodes reaches the program's handlers."""

    _lock = threading.Lock()
    _count = 0
    _router: _Router | None = None
    _level_before = logging.NOTSET

    def __enter__(self) -> Quiet:
        with Quiet._lock:
            if Quiet._count == 0:
                effective = _OURS.getEffectiveLevel()
                Quiet._level_before = _OURS.level
                Quiet._router = _Router(effective)
                _OURS.handlers.insert(0, Quiet._router)
                _OURS.setLevel(min(logging.INFO, effective))
            Quiet._count += 1
        return self

    def __exit__(self, *_error: object) -> None:
        with Quiet._lock:
            Quiet._count -= 1
            if Quiet._count == 0 and Quiet._router is not None:
                _OURS.removeHandler(Quiet._router)
                _OURS.setLevel(Quiet._level_before)
                Quiet._router = None
