"""Jobs in a process of their own: what comes back, and what becomes of a process that dies, hangs or is not needed."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from odradek.net import job_worker
from odradek.net.job_process import SubprocessJobs
from odradek.ports import FileSystem, Promise
from odradek.ports.jobs import JobCancelledError, JobFailedError, JobLostError, JobSteps

FAST = float(2**63)
PATIENCE_S = 60.0
"""The processes take what others leave of the processors, which is little where many tests run."""
HERE = __name__


def echo(files: FileSystem, request: str) -> JobSteps:
    """Says what it was asked, and which process it is."""
    yield 0
    yield request
    yield f"{request}, exists: {files.exists(request)}"
    return str(os.getpid())


def fail(_files: FileSystem, request: str) -> JobSteps:
    """Fails as it is told."""
    yield 0
    match request:
        case "job":
            raise JobFailedError("not like this")
        case "disk":
            raise OSError(errno.ENOSPC, "no space")
        case "exit":
            os._exit(7)
    raise ValueError(f"a defect, {request}")


def write_on(files: FileSystem, request: str) -> JobSteps:
    """Writes a byte every few milliseconds, and never ends."""
    file = files.open(request, create=True)
    size = 0
    while True:
        size += file.pwrite(b"x", size)
        if size == 5:
            yield "begun"
        time.sleep(0.002)
        yield 1


def move(_files: FileSystem, request: str) -> JobSteps:
    """Pretends to read and write this many kilobytes."""
    for _ in range(int(request)):
        yield 1000
    return "moved"


def say_nothing(_files: FileSystem, _request: str) -> JobSteps:
    """Hangs."""
    yield "hanging"
    time.sleep(600)
    return ""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One kind of loop is enough: timers and calls from another thread are all that is asked of it."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Jobs:
    """A process, and what its jobs said."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.process = SubprocessJobs(loop)
        self.messages: list[str] = []

    def run(self, job: Callable[[FileSystem, str], JobSteps], request: str = "", rate: float = FAST) -> Promise[str]:
        return self.process.run(f"{HERE}:{job.__name__}", request, rate, self.messages.append)

    def result(self, promise: Promise[str]) -> str:
        self.wait(lambda: promise.done)
        return promise.result()

    def wait(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        async def poll() -> None:
            deadline = time.monotonic() + timeout_s
            while not condition():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)

        self.do(poll())

    def do(self, work: Coroutine[object, object, None]) -> None:
        self.loop.run_until_complete(work)


@pytest.fixture
def jobs(loop: asyncio.AbstractEventLoop) -> Iterator[Jobs]:
    jobs = Jobs(loop)
    yield jobs
    jobs.process.close()
    jobs.wait(lambda: all(thread.name != "odradek-job" for thread in threading.enumerate()))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_job_runs_elsewhere_and_its_words_come_in_order(jobs: Jobs, tmp_path: Path) -> None:
    assert jobs.process.pid is None, "nothing is started before it is needed"
    pid = int(jobs.result(jobs.run(echo, str(tmp_path))))
    assert pid == jobs.process.pid != os.getpid()
    assert jobs.messages == [str(tmp_path), f"{tmp_path}, exists: True"]
    assert int(jobs.result(jobs.run(echo, "x" * 3_000_000))) == pid, "the next job has the same process"
    assert len(jobs.messages[2]) == 3_000_000


@pytest.mark.parametrize(
    ("request_", "kind", "text"),
    [("job", JobFailedError, "not like this"), ("disk", OSError, "no space"), ("other", JobFailedError, "a defect")],
)
def test_failures_are_told_and_the_process_goes_on(jobs: Jobs, request_: str, kind: type[Exception], text: str) -> None:
    failing = jobs.run(fail, request_)
    with pytest.raises(kind, match=text) as raised:
        jobs.result(failing)
    if isinstance(raised.value, OSError):
        assert raised.value.errno == errno.ENOSPC
    pid = jobs.process.pid
    assert int(jobs.result(jobs.run(echo))) == pid


@pytest.mark.skipif(sys.platform != "linux", reason="no such scheduling policy")
def test_the_process_takes_what_others_leave_of_the_processors(jobs: Jobs) -> None:
    assert os.sched_getscheduler(int(jobs.result(jobs.run(echo)))) == os.SCHED_IDLE


@pytest.mark.skipif(sys.platform != "linux", reason="no such scheduling policy")
def test_a_process_that_somebody_waits_for_takes_its_share(jobs: Jobs) -> None:
    jobs.process = SubprocessJobs(jobs.loop, gives_way=False)
    assert os.sched_getscheduler(int(jobs.result(jobs.run(echo)))) == os.SCHED_OTHER


def test_a_process_that_dies_costs_its_job_only(jobs: Jobs) -> None:
    with pytest.raises(JobLostError, match="exit code 7"):
        jobs.result(jobs.run(fail, "exit"))
    pid = int(jobs.result(jobs.run(echo)))
    os.kill(pid, 9)
    assert int(jobs.result(jobs.run(echo))) != pid, "it was idle: nobody need know"


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_job_that_is_given_up_writes_nothing_more(jobs: Jobs, tmp_path: Path, how: str) -> None:
    path = tmp_path / "file"
    running = jobs.run(write_on, str(path))
    jobs.wait(lambda: jobs.messages == ["begun"])
    pid = jobs.process.pid
    assert pid is not None
    getattr(jobs.process, how)()
    assert isinstance(running.error, JobCancelledError)
    assert jobs.process.pid is None
    jobs.wait(lambda: not is_running(pid))
    size = path.stat().st_size
    time.sleep(0.05)
    assert path.stat().st_size == size
    assert jobs.result(jobs.run(move, "1")) == "moved"


def test_a_job_that_is_given_up_before_its_process_has_started_does_not_start(jobs: Jobs, tmp_path: Path) -> None:
    for _ in range(5):
        running = jobs.run(write_on, str(tmp_path / "file"))
        jobs.process.cancel()
        assert isinstance(running.error, JobCancelledError)
    jobs.process.close()
    time.sleep(0.1)
    assert not (tmp_path / "file").exists() or (tmp_path / "file").stat().st_size <= 5


def test_cancelling_and_closing_an_idle_process(jobs: Jobs) -> None:
    jobs.process.cancel()
    jobs.process.close()
    pid = int(jobs.result(jobs.run(echo)))
    jobs.process.cancel()
    assert jobs.process.pid == pid, "there was nothing to cancel"
    jobs.process.close()
    assert not is_running(pid)


def test_an_idle_process_ends(jobs: Jobs) -> None:
    jobs.process.idle_ms = 50
    pid = int(jobs.result(jobs.run(echo)))
    jobs.wait(lambda: jobs.process.pid is None)
    jobs.wait(lambda: not is_running(pid))


@pytest.mark.parametrize("how", ["idle", "closed"])
def test_a_process_that_takes_long_to_die_is_waited_for_by_a_thread(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    may_die, wait = threading.Event(), subprocess.Popen.wait
    waiting: list[str] = []

    def wait_long(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        waiting.append(threading.current_thread().name)
        if not may_die.wait(timeout):
            raise subprocess.TimeoutExpired(process.args, timeout or 0.0)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_long)
    if how == "idle":
        jobs.process.idle_ms = 50
    pid = int(jobs.result(jobs.run(echo)))
    if how == "closed":
        jobs.process.close()
    jobs.wait(lambda: jobs.process.pid is None)
    assert is_running(pid)
    may_die.set()
    jobs.wait(lambda: not is_running(pid))
    assert waiting == ["odradek-job"]


def test_a_process_that_says_nothing_is_killed(jobs: Jobs) -> None:
    assert jobs.result(jobs.run(move, "1")) == "moved"
    jobs.process.hang_ms = 300
    hanging = jobs.run(say_nothing)
    pid = jobs.process.pid
    assert pid is not None
    with pytest.raises(JobLostError, match="said nothing"):
        jobs.result(hanging)
    assert jobs.messages in ([], ["hanging"])
    jobs.wait(lambda: not is_running(pid))


def test_a_job_that_is_held_back_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_worker, "HEARTBEAT_SECONDS", 0.01)
    said = io.BytesIO()
    job_worker.run(f"{HERE}:move", "3", 30_000, job_worker.Output(said))
    *beats, last = said.getvalue().splitlines()
    assert last == b'{"result": "moved"}'
    assert len(beats) > 3
    assert set(beats) == {b"{}"}


def test_a_job_moves_no_more_bytes_per_second_than_it_may(jobs: Jobs) -> None:
    jobs.result(jobs.run(move, "1"))
    begun = time.monotonic()
    assert jobs.result(jobs.run(move, "30", rate=100_000)) == "moved"
    assert time.monotonic() - begun >= 0.25


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    import signal
    import subprocess

    path = tmp_path / "file"
    program = (
        "import asyncio, sys; from odradek.net.job_process import SubprocessJobs\n"
        "loop = asyncio.new_event_loop(); jobs = SubprocessJobs(loop)\n"
        f"jobs.run('{HERE}:write_on', {str(path)!r}, 1e18, lambda _m: print(jobs.pid, flush=True))\n"
        "loop.run_forever()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_without_a_python_the_job_is_lost(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(JobLostError, match="no Python"):
        jobs.result(jobs.run(echo))
