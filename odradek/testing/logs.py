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


class _Router(logging.Handler):
    """Between our loggers and the program's: threads with a sink log to that, all others as if it were not there."""

    def __init__(self, passing_level: int) -> None:
        super().__init__()
        self._passing_level = passing_level
        self.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take the record to where its thread logs to."""
        sink: Sink | None = getattr(_here, "sink", None)
        if sink is not None:
            sink(self.format(record))
        elif _OURS.parent is not None and record.levelno >= self._passing_level:
            _OURS.parent.callHandlers(record)


class Quiet:
    """While there is at least one, no line of embedded nodes reaches the program's handlers."""

    _lock = threading.Lock()
    _count = 0
    _router: _Router | None = None
    _before: tuple[int, bool] = (logging.NOTSET, True)

    def __enter__(self) -> Quiet:
        with Quiet._lock:
            if Quiet._count == 0:
                Quiet._before = _OURS.level, _OURS.propagate
                Quiet._router = _Router(_OURS.getEffectiveLevel())
                _OURS.addHandler(Quiet._router)
                _OURS.propagate = False
                _OURS.setLevel(min(logging.INFO, _OURS.getEffectiveLevel()))
            Quiet._count += 1
        return self

    def __exit__(self, *_error: object) -> None:
        with Quiet._lock:
            Quiet._count -= 1
            if Quiet._count == 0 and Quiet._router is not None:
                _OURS.removeHandler(Quiet._router)
                _OURS.setLevel(Quiet._before[0])
                _OURS.propagate = Quiet._before[1]
                Quiet._router = None
