"""What is measured: the engine's work, and the least that the machine needs for the same bytes."""

from __future__ import annotations

import os
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from benchmarks.storage.drain import Drain
from benchmarks.storage.stored import BASE_MS, StoredLog, batch_of
from odradek.net.output import Output
from odradek.storage.append_checks import parse_headers
from odradek.storage.batches import check_crc
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import ATTRIBUTES_AT

BATCH_BYTES = 64 << 10
FETCH_BYTES = 1 << 20
LOOKUPS = 5000


class Figure(ABC):
    """One line of the report. Both halves move the same bytes, and return their megabytes a second."""

    name: ClassVar[str]
    limit_name: ClassVar[str]
    wanted: ClassVar[float | None] = None
    """The ratio that is asked for."""

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self.directory = directory
        self.size_bytes = size_bytes
        self.stored = StoredLog(directory / "benchmark-0")

    @abstractmethod
    def engine(self) -> float:
        """What Odradek does."""

    @abstractmethod
    def limit(self) -> float:
        """The plain loop."""

    def close(self) -> None:
        """Give back what it holds."""
        self.stored.log.release()


class Append(Figure):
    """What a Produce with one batch costs once its bytes are there: header, checksum, offset, write, index."""

    name = "append, 64 KiB batches"
    limit_name = "crc32c + write"
    wanted = 0.7

    def engine(self) -> float:
        self.stored.begin_again()
        batch, log = batch_of(BATCH_BYTES), self.stored.log

        def work() -> None:
            for _ in range(self.size_bytes // BATCH_BYTES):
                view = memoryview(batch)
                headers = parse_headers(view)
                check_crc(view, headers[0], 0)
                log.append_as_leader(view, leader_epoch=0, now_ms=BASE_MS, headers=headers)

        rate = _rate(self.size_bytes, work)
        self.stored.begin_again()
        return rate

    def limit(self) -> float:
        path = self.directory / "plain"
        batch = memoryview(batch_of(BATCH_BYTES))
        fd = os.open(path, os.O_CREAT | os.O_RDWR)

        def work() -> None:
            for _ in range(self.size_bytes // BATCH_BYTES):
                crc32c(batch[ATTRIBUTES_AT:], 0)
                os.write(fd, batch)

        rate = _rate(self.size_bytes, work)
        os.close(fd)
        path.unlink()
        return rate


class _Filled(Figure):
    def __init__(self, directory: Path, size_bytes: int) -> None:
        super().__init__(directory, size_bytes)
        self.stored.fill(batch_of(BATCH_BYTES), size_bytes)
        self.bytes = self.stored.log.size_bytes


class SequentialRead(_Filled):
    """Fetches of 1 MiB, one behind the other, from the page cache into a socket."""

    name = "sequential fetch, 1 MiB"
    limit_name = "sendfile"
    wanted = 0.8

    def engine(self) -> float:
        drain, log = Drain(), self.stored.log
        output = Output(asks=True)

        def work() -> None:
            offset = 0
            while offset < log.log_end_offset:
                found = self.stored.read(offset, FETCH_BYTES)
                output.append([b"head", found, b"tail"])
                offset += found.size // BATCH_BYTES
                while output.size_bytes:
                    if not output.send(drain.sock):
                        drain.wait()
                    assert output.cold is None, "the files are not in memory"

        rate = _rate(self.bytes, work)
        drain.close()
        return rate

    def limit(self) -> float:
        drain = Drain()
        files = [os.open(path, os.O_RDONLY) for path in self.stored.segment_paths()]

        def work() -> None:
            for fd in files:
                at, end = 0, os.fstat(fd).st_size
                while at < end:
                    try:
                        at += os.sendfile(drain.sock.fileno(), fd, at, min(FETCH_BYTES, end - at))
                    except BlockingIOError:
                        drain.wait()

        rate = _rate(self.bytes, work)
        drain.close()
        for fd in files:
            os.close(fd)
        return rate


class RandomRead(_Filled):
    """One batch at a random offset, into memory."""

    name = "random read, 64 KiB"
    limit_name = "pread"

    def engine(self) -> float:
        offsets = random.Random(1).choices(range(self.stored.log.log_end_offset), k=LOOKUPS)

        def work() -> None:
            for offset in offsets:
                found = self.stored.read(offset, 1)
                assert len(found.read(0, found.size)) == found.size
                found.release()

        return _rate(LOOKUPS * BATCH_BYTES, work)

    def limit(self) -> float:
        size = BATCH_BYTES
        files = [(os.open(path, os.O_RDONLY), os.stat(path).st_size // size) for path in self.stored.segment_paths()]
        chosen = random.Random(1)
        places = [(fd, chosen.randrange(count) * size) for fd, count in chosen.choices(files, k=LOOKUPS)]

        def work() -> None:
            for fd, position in places:
                os.pread(fd, size, position)

        rate = _rate(LOOKUPS * size, work)
        for fd, _count in files:
            os.close(fd)
        return rate


class Recovery(_Filled):
    """Opening the log as after a crash: every batch is checked, indexes and producer state are made anew."""

    name = "recovery"
    limit_name = "read + crc32c"
    wanted = 0.7

    def engine(self) -> float:
        return _rate(self.bytes, self.stored.recover)

    def limit(self) -> float:
        def work() -> None:
            for path in self.stored.segment_paths():
                fd = os.open(path, os.O_RDONLY)
                at = 0
                while data := os.pread(fd, FETCH_BYTES, at):
                    crc32c(data, 0)
                    at += len(data)
                os.close(fd)

        return _rate(self.bytes, work)


FIGURES: tuple[type[Figure], ...] = (Append, SequentialRead, RandomRead, Recovery)
"""What `python -m benchmarks.storage` reports, in this order; another figure is another class here."""


def _rate(size_bytes: int, work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return size_bytes / 1e6 / (time.perf_counter() - begun)
