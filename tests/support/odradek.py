"""This project's broker as a process, started the way a user starts it."""

from __future__ import annotations

import queue
import re
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tests.support.process import START_TIMEOUT_S, BrokerFailed, BrokerProcess

READY = re.compile(rb"odradek ready on (\S+):(\d+)\s*")
ROOT = Path(__file__).resolve().parents[2]


class Odradek(BrokerProcess):
    """``python -m odradek serve`` over a data directory; keeps its port across restarts."""

    name = "odradek"
    program: tuple[str, ...] = ("odradek",)
    """The module that is run, and what comes before ``serve``."""
    ready_after_s = 0.0

    def start(self) -> None:
        """Run until the line that says it is ready. Raises BrokerFailed."""
        argv = [sys.executable, "-m", *self.program, "serve", "--listen", f"{self.host}:{self.port}"]
        argv += ["--data-dir", str(self.data_dir)]
        # Apache Kafka looks at every record, and so does what is compared with it.
        for key, value in {"odradek.record.validation": "full", **self.overrides}.items():
            argv += ["--set", f"{key}={value}"]
        begun = time.monotonic()
        self._spawn(argv, pipe_stdout=True, env={"PYTHONPATH": str(ROOT)})
        self.port = await_ready(self)
        self.ready_after_s = time.monotonic() - begun


def await_ready(broker: BrokerProcess) -> int:
    """Wait for the line of a process of ours that says it is ready; its port. Raises BrokerFailed."""
    line = first_line(broker.stdout, START_TIMEOUT_S)
    match = READY.fullmatch(line)
    if match is None:
        if broker.running:
            broker.kill()
        raise BrokerFailed(f"odradek said {line!r} instead of being ready; its log ends:\n{broker.log_tail()}")
    return int(match[2])


def first_line(stream: IO[bytes], timeout_s: float) -> bytes:
    """What a process prints first; empty if that takes too long."""
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=timeout_s)
    except queue.Empty:
        return b""
