"""A broker that a test session starts, kills and restarts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
HOST = "127.0.0.1"


class BrokerFailed(Exception):
    """The broker did not start, or ended by itself; the message holds the end of its log."""


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 15.0, interval_s: float = 0.02) -> None:
    """Poll ``condition`` until it holds. Raises TimeoutError naming ``what`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(interval_s)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def serves_metadata(host: str, port: int) -> bool:
    """Whether a Metadata v0 request is answered with at least one broker."""
    body = struct.pack(">hhih", 3, 0, 7, -1) + struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as stream:
                header = stream.read(12)
    except OSError:
        return False
    return len(header) == 12 and struct.unpack(">iii", header)[2] > 0


class BrokerProcess:
    """One broker process over one data directory, which outlives restarts."""

    name = "broker"

    def __init__(self, directory: Path, overrides: Mapping[str, str]) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.overrides = dict(overrides)
        self.host = HOST
        self.port = 0
        self.log_path = directory / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BrokerFailed("the broker is not running")
        return self._process.pid

    @property
    def stdout(self) -> IO[bytes]:
        """What the process prints, if that is not in its log."""
        if self._process is None or self._process.stdout is None:
            raise BrokerFailed("the broker is not running, or prints to its log")
        return self._process.stdout

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def has_ended_by_itself(self) -> bool:
        """Whether it was started, and runs no more, though nobody has ended it."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: nothing gets the chance to clean up."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, kill: bool = False) -> None:
        if self.running:
            self._end(signal.SIGKILL if kill else signal.SIGTERM)
        self.start()

    def close(self) -> None:
        """End the process, if it runs; the data stays."""
        if self.running:
            self.kill()

    def resident_bytes(self) -> int:
        """Resident set size in bytes, where /proc tells it; else 0."""
        return self._status_bytes("VmRSS:")

    def peak_bytes_since_reset(self) -> int:
        """Highest resident set size in bytes since ``reset_peak``, where /proc tells it; else 0."""
        return self._status_bytes("VmHWM:")

    def reset_peak(self) -> None:
        """Let the highest resident set size start again from what is resident now."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status_bytes(self, field: str) -> int:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
        return 0

    def log_tail(self, lines: int = 40) -> str:
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(no log)"

    def _spawn(self, argv: Sequence[str], *, pipe_stdout: bool, env: Mapping[str, str] | None = None) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe_stdout else log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **(env or {})},
            )

    def _await_metadata(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not serves_metadata(self.host, self.port):
            if not self.running or time.monotonic() > deadline:
                if self.running:
                    self.kill()
                raise BrokerFailed(f"{self.name} did not start; its log ends:\n{self.log_tail()}")
            time.sleep(0.05)

    def _end(self, signum: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(signum)
        try:
            code = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None
        return code
