"""Logs on stderr: readable on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import TextIO

_OF_EVERY_RECORD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
"""What a record has beside what was given as `extra`."""

EVENT_COLUMNS = 30
"""Where on a terminal the names of loggers begin."""
_BOLD = "\x1b[1m"
_DIM = "\x1b[2m"
_RESET = "\x1b[0m"
_COLOURS = {
    "debug": "\x1b[32m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[31m",
}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: event, logger, level, timestamp, what was given as `extra`, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        line = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": _timestamp(record),
            **dict(_extras(record)),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TerminalFormatter(logging.Formatter):
    """Time, level, event, logger and what was given as `extra`, in colours; a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of one record."""
        level = record.levelname.lower()
        words = [
            f"{_DIM}{_timestamp(record)}{_RESET}",
            f"[{_COLOURS.get(level, _BOLD)}{level:<9}{_RESET}]",
            f"{_BOLD}{record.getMessage():<{EVENT_COLUMNS}}{_RESET}",
            f"{_DIM}[{record.name}]{_RESET}",
            *(f"{name}={value}" for name, value in _extras(record)),
        ]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send this process's logs from `level` ("info") on to `stream` (stderr)."""
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter() if stream.isatty() else JsonFormatter())
    # Nobody is shown where in the source a line comes from, and of which thread and process: it takes half the time.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _timestamp(record: logging.LogRecord) -> str:
    """When a record was made, in UTC, as of ISO 8601, with microseconds."""
    seconds = int(record.created)
    microseconds = int((record.created - seconds) * 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{microseconds:06d}Z"


def _extras(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in record.__dict__.items() if name not in _OF_EVERY_RECORD)
