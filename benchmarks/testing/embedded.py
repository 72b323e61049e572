"""Figures of `EmbeddedKafka` in this process, which has started one before."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Producer

from benchmarks import procfs
from odradek.testing import EmbeddedKafka

DESCRIPTORS = Path("/proc/self/fd")
FLUSH_S = 10.0


class Times(NamedTuple):
    """Seconds."""

    ready: Sequence[float]
    closed: Sequence[float]


class Left(NamedTuple):
    """What there is more after some starts and stops than before them."""

    threads: int
    descriptors: int
    resident_bytes: int


def timed(work: Callable[[], object]) -> float:
    """How many seconds it takes."""
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def starts(new: Callable[[], EmbeddedKafka], rounds: int) -> Times:
    """From `start` until clients can connect, and from `stop` until nothing is left; the first one warms up."""
    ready, closed = [], []
    for _ in range(rounds + 1):
        kafka = new()
        ready.append(timed(kafka.start))
        closed.append(timed(kafka.stop))
    return Times(ready[1:], closed[1:])


def resets(new: Callable[[], EmbeddedKafka], rounds: int) -> list[float]:
    """`reset` of nodes with a topic that has a record."""
    found = []
    with new() as kafka:
        for _ in range(rounds + 1):
            send(kafka.bootstrap_servers)
            found.append(timed(kafka.reset))
    return found[1:]


def left_by(cycles: int, warm_up: int) -> Left:
    """What `cycles` starts and stops leave, with a client in each; what the first ones leave does not count."""
    for _ in range(warm_up):
        _cycle()
    before = _there_is()
    for _ in range(cycles):
        _cycle()
    after = _there_is()
    return Left(*(late - early for early, late in zip(before, after, strict=True)))


def send(bootstrap_servers: str) -> None:
    """Produce a record; raises RuntimeError."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    producer.produce("t", b"v")
    if producer.flush(FLUSH_S):
        raise RuntimeError("a record was not delivered")


def _cycle() -> None:
    running: AbstractContextManager[EmbeddedKafka] = EmbeddedKafka(topics=["t"])
    with running as kafka:
        send(kafka.bootstrap_servers)


def _there_is() -> tuple[int, int, int]:
    gc.collect()
    return threading.active_count(), len(os.listdir(DESCRIPTORS)), procfs.resident_bytes(os.getpid())
