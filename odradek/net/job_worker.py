"""The process that runs jobs (`odradek.ports.jobs`). A request is a line on its input; what comes of it, lines of JSON:

    {"message": ...}                 the job says something
    {"result": ...}                  it is done
    {"errno": ..., "text": ...}      it met an OSError
    {"failed": ...}                  it met anything else
    {}                               it is at work

The end of its input ends it, whatever it is doing: its parent is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from typing import BinaryIO

from odradek.net.files import OsFileSystem
from odradek.ports.jobs import Job, JobFailedError

HEARTBEAT_SECONDS = 1.0
_NICE = 10


def main(*, gives_way: bool) -> None:
    """Run jobs until the input ends; one that `gives_way` takes what others leave of the processors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    if gives_way:
        _give_way()
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    output = Output(sys.stdout.buffer)
    while True:
        job, rate, request = json.loads(requests.get())
        run(job, request, rate, output)


def _give_way() -> None:
    """A node's thread that wakes up must not wait for a time slice to end."""
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        elif hasattr(os, "nice"):
            os.nice(_NICE)


def _read(source: BinaryIO, requests: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        requests.put(line)
    os._exit(0)


class Output:
    """Lines for the parent."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sent_at = time.monotonic()

    def send(self, **fields: object) -> None:
        """One line. A parent that is gone ends this process."""
        try:
            self._stream.write(json.dumps(fields).encode() + b"\n")
            self._stream.flush()
        except OSError:
            os._exit(0)
        self._sent_at = time.monotonic()

    def beat(self) -> None:
        """Tell that the job is at work, if nothing else was told lately."""
        if time.monotonic() - self._sent_at >= HEARTBEAT_SECONDS:
            self.send()


class Throttle:
    """Holds a job back that moves more than so many bytes per second."""

    def __init__(self, bytes_per_second: float) -> None:
        self._seconds_per_byte = 1 / bytes_per_second
        self._due = time.monotonic()
        """When as many bytes as were counted may have been moved."""

    def count(self, size: int, output: Output) -> None:
        """`size` bytes were moved: wait until they may have been."""
        now = time.monotonic()
        self._due = max(self._due, now - HEARTBEAT_SECONDS) + size * self._seconds_per_byte
        while self._due > now:
            time.sleep(min(self._due - now, HEARTBEAT_SECONDS))
            output.beat()
            now = time.monotonic()


def run(name: str, request: str, bytes_per_second: float, output: Output) -> None:
    """Run one job and tell what comes of it."""
    throttle = Throttle(bytes_per_second)
    try:
        module, _, function = name.partition(":")
        job: Job = getattr(import_module(module), function)
        steps = job(OsFileSystem(), request)
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                output.send(result=stop.value)
                return
            if isinstance(step, str):
                output.send(message=step)
            else:
                throttle.count(step, output)
                output.beat()
    except OSError as error:
        output.send(errno=error.errno or 0, text=str(error))
    except JobFailedError as error:
        output.send(failed=str(error))
    except Exception:  # noqa: BLE001 - told to the parent with its traceback, and this process goes on
        output.send(failed=traceback.format_exc())


if __name__ == "__main__":
    main(gives_way=True)
