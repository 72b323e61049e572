"""A subprocess that runs jobs one at a time (`odradek.ports.jobs`), seen from the node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial

from odradek.ports.jobs import JobCancelledError, JobFailedError, JobLostError
from odradek.ports.promise import Promise

IDLE_MS = 20_000
"""How long the process waits for another job before it is ended."""
HANG_MS = 300_000
"""How long it may be silent, where it speaks every second: a sync on a disk that is busy may take long."""
_JOIN_SECONDS = 1.0
# The modules have to be found in the same places, however the parent came to know them.
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from odradek.net.job_worker import main; main(gives_way={})"


class SubprocessJobs:
    """Implements `JobProcess` over pipes, which every platform has. A thread reads while a job is running."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, gives_way: bool = True) -> None:
        """A process that `gives_way` takes what others leave of the processors."""
        self._gives_way = gives_way
        self.idle_ms: float = IDLE_MS
        self.hang_ms: float = HANG_MS
        self._loop = loop
        self._worker: _Worker | None = None
        self._outcome: Promise[str] = Promise.of("")
        self._on_message: Callable[[str], None] = _ignore
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The process that there is now; None while there is none."""
        return self._worker.pid if self._worker is not None else None

    def run(self, job: str, request: str, bytes_per_second: float, on_message: Callable[[str], None]) -> Promise[str]:
        """Run a job, in the process of the one before if it is still there."""
        if not self._outcome.done:
            raise RuntimeError("a job is running already")
        if self._worker is None:
            self._worker = _Worker(gives_way=self._gives_way)
        self._outcome = Promise()
        self._on_message = on_message
        self._watch()
        line = json.dumps([job, bytes_per_second, request]).encode() + b"\n"
        self._worker.talk(line, partial(self._post, self._worker))
        return self._outcome

    def cancel(self) -> None:
        """Kill the process if it is at work."""
        if not self._outcome.done:
            self._end(JobCancelledError())

    def close(self) -> None:
        """Kill the process, and wait a moment for it to be gone."""
        worker = self._worker
        self._end(JobCancelledError())
        if worker is not None:
            worker.join()

    def _post(self, worker: _Worker, fields: dict[str, object]) -> None:
        """Hand what the process said to the loop; called by the thread."""
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            self._loop.call_soon_threadsafe(self._heard, worker, fields)

    def _heard(self, worker: _Worker, fields: dict[str, object]) -> None:
        if worker is not self._worker or self._outcome.done:
            return
        self._watch()
        if "message" in fields:
            self._on_message(str(fields["message"]))
        elif "result" in fields:
            self._rest()
            self._outcome.resolve(str(fields["result"]))
        elif "errno" in fields:
            self._rest()
            self._outcome.reject(OSError(fields["errno"], str(fields["text"])))
        elif "failed" in fields:
            self._rest()
            self._outcome.reject(JobFailedError(str(fields["failed"])))
        elif "lost" in fields:
            self._end(JobLostError(str(fields["lost"])))

    def _watch(self) -> None:
        self._set_timer(self.hang_ms, self._hangs)

    def _rest(self) -> None:
        self._set_timer(self.idle_ms, self._leave)

    def _leave(self) -> None:
        self._end(JobCancelledError())

    def _hangs(self) -> None:
        self._end(JobLostError(f"the process has said nothing for {self.hang_ms / 1000:.0f} s"))

    def _set_timer(self, delay_ms: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_ms / 1000, callback)

    def _end(self, reason: Exception) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
        self._outcome.reject(reason)


class _Worker:
    """One process, and the thread that talks with it while a job is running."""

    def __init__(self, *, gives_way: bool) -> None:
        self._gives_way = gives_way
        self._lock = threading.Lock()
        """For the process and who reaps it: the thread while it talks, else one that is started when it is killed."""
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        self._is_talking = False
        self._is_over = False
        """The job that was talked about has come to its end."""
        self._thread: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The process; None before it was started."""
        return self._process.pid if self._process is not None else None

    def talk(self, line: bytes, post: Callable[[dict[str, object]], None]) -> None:
        """Send a request, and post everything that comes back."""
        self.join()
        self._is_talking = True
        self._is_over = False
        self._thread = _in_thread(partial(self._talk, line, post))

    def kill(self) -> None:
        """End the process at once."""
        with self._lock:
            self._is_killed = True
            process = self._process
            if process is None:
                return
            process.kill()
            if not self._is_talking:
                self._thread = _in_thread(partial(_reap, process))
        if sys.platform == "win32":
            self.join()  # files that it has open cannot be renamed there

    def join(self) -> None:
        """Wait a moment for the thread, which ends when the job is over, or with a process that is killed."""
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _talk(self, line: bytes, post: Callable[[dict[str, object]], None]) -> None:
        was_idle = self._process is not None
        try:
            if not self._converse(line, post) and was_idle:
                # It had died before it was asked, so that nobody need know.
                self._forget()
                self._converse(line, post)
            self._tell_end(post)
        except (OSError, ValueError) as error:
            post({"lost": f"the process is not there: {error}"})
        finally:
            with self._lock:
                self._is_talking = False
                process = self._process if self._is_killed else None
            if process is not None:
                _reap(process)

    def _converse(self, line: bytes, post: Callable[[dict[str, object]], None]) -> bool:
        """Send a request and post the answers, to the last one or the end of the process; whether there were any."""
        process = self._started()
        if process is None or process.stdout is None or process.stdin is None:
            return False
        has_answered = False
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(line)
            process.stdin.flush()
        for answer in process.stdout:
            has_answered = True
            fields = json.loads(answer)
            self._is_over = not fields.keys().isdisjoint(_LAST_WORDS)
            post(fields)
            if self._is_over:
                break
        return has_answered

    def _tell_end(self, post: Callable[[dict[str, object]], None]) -> None:
        """Post what became of a process that ended before its job."""
        process = self._process
        if not self._is_over and process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_JOIN_SECONDS)
            post({"lost": f"the process ended with exit code {process.returncode}"})

    def _forget(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            _reap(process)

    def _started(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._process is None and not self._is_killed:
                if not sys.executable:
                    raise OSError("there is no Python to start")
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _BOOT.format(self._gives_way), *(path or os.getcwd() for path in sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    creationflags=_LOW_PRIORITY if self._gives_way else 0,
                )
            return None if self._is_killed else self._process


_LAST_WORDS = frozenset({"result", "errno", "failed"})
_LOW_PRIORITY: int = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, name="odradek-job", daemon=True)
    thread.start()
    return thread


def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was killed, and close the pipes.

    It takes what others leave of the processors for dying, too: where these leave nothing, that may be seconds.
    """
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _ignore(_message: str) -> None:
    """Nobody asked for messages."""
