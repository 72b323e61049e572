from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks import procfs

STAT = "4242 (a (strange) name) S 1 4242 4242 0 -1 4194560 100 200 0 0 1500 250 30 4 20 0 9 0 12345 1000 50 0 0"
STATUS = "Name:\tjava\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\nThreads:\t9\n"
needs_proc = pytest.mark.skipif(not procfs.available(), reason="no /proc here")


def test_the_time_of_ended_children_is_read_behind_a_name_with_parentheses() -> None:
    assert procfs.parse_reaped_ticks(STAT) == 34


def test_sizes_are_in_bytes() -> None:
    assert procfs.parse_status_bytes(STATUS, "VmRSS") == 102400 * 1024
    assert procfs.parse_status_bytes(STATUS, "VmHWM") == 204800 * 1024
    assert procfs.parse_status_bytes(STATUS, "VmSwap") == 0


@needs_proc
def test_the_time_of_a_child_counts_while_it_runs_and_after() -> None:
    before_s = procfs.cpu_s(os.getpid())
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"done\n"
    assert procfs.cpu_s(os.getpid()) - before_s >= 0.15
    child.communicate(b"\n")
    assert procfs.cpu_s(os.getpid()) - before_s >= 0.15


@needs_proc
def test_the_time_is_exact_and_has_that_of_ended_threads() -> None:
    def burn() -> None:
        until_s = time.thread_time() + 0.03
        while time.thread_time() < until_s:
            pass

    before_s = procfs.cpu_s(os.getpid())
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    assert procfs.cpu_s(os.getpid()) - before_s >= 0.03


@needs_proc
def test_a_peak_begins_anew() -> None:
    held = bytearray(os.urandom(32 << 20))
    del held
    before = procfs.peak_resident_bytes(os.getpid())
    procfs.reset_peak(os.getpid())
    assert procfs.peak_resident_bytes(os.getpid()) <= before - (16 << 20)


@needs_proc
def test_the_peak_is_at_least_what_is_resident() -> None:
    resident_bytes = procfs.resident_bytes(os.getpid())
    assert 1 << 20 < resident_bytes <= procfs.peak_resident_bytes(os.getpid()) + (1 << 20)


def test_a_thread_that_ends_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for member, tasks in ((1, ("1", "9")), (2, ("2",))):
        for task in tasks:
            (tmp_path / str(member) / "task" / task).mkdir(parents=True)
        (tmp_path / str(member) / "status").write_text("VmRSS:\t     3 kB\n")
    (tmp_path / "1" / "task" / "1" / "children").write_text("2 ")
    (tmp_path / "2" / "task" / "2" / "children").write_text("")
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    assert procfs.resident_bytes(1) == 6 * 1024
