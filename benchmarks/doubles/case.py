"""One double in a process of its own: `python -m benchmarks.doubles.case NAME` prints its figures as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from benchmarks import procfs
from benchmarks.doubles.kinds import KINDS

TESTS = 100


def measure(key: str) -> dict[str, float]:
    """Start it, have a test with it, then a hundred, each with an empty topic. Times in seconds, memory in bytes."""
    import confluent_kafka  # noqa: F401 - a test has its client already

    double = KINDS[key][1]()
    before = procfs.resident_bytes(os.getpid())
    ready_s = _timed(double.start)
    try:
        first_s = _timed(double.exchange)
        pid = double.pid()
        memory = procfs.resident_bytes(pid) if pid is not None else procfs.resident_bytes(os.getpid()) - before
        started_cpu_s = procfs.cpu_s(os.getpid())
        tests_s = _timed(lambda: _tests(double.clean, double.exchange))
        cpu_s = procfs.cpu_s(os.getpid()) - started_cpu_s
    finally:
        double.stop()
    again_s = _timed(double.start)
    double.stop()
    return {
        "ready_s": ready_s,
        "again_s": again_s,
        "first_s": first_s,
        "memory_bytes": memory,
        "tests_s": tests_s,
        "cpu_s": cpu_s,
    }


def _tests(clean: Callable[[], None], exchange: Callable[[], None]) -> None:
    for _ in range(TESTS):
        clean()
        exchange()


def _timed(action: Callable[[], None]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(sys.argv[1])) + "\n")
