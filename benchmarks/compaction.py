"""What compaction costs: how fast it is beside a plain loop, and what a steady producer notices of it.

`python -m benchmarks.compaction` prints two tables and removes what it wrote. For the first, segments are cleaned by
the code that the node's subprocess runs, beside a loop that reads them, takes their checksum and writes them, with as
many syncs; rounds alternate. For the second, a producer sends one batch at a time at a steady pace to a broker with a
dirty log of 1 GB, first while that waits, then while it is cleaned, round by round.
"""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.stats import quantile
from odradek.net.files import OsFileSystem
from odradek.storage.cleaner.job import SYNC_BYTES, clean
from odradek.storage.cleaner.plan import CleanerLimits, CleaningPlan, SegmentToClean
from odradek.storage.file_pool import FilePool
from odradek.storage.segment import Segment
from odradek.wire.records.batch import build_batch
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import parse_header
from odradek.wire.records.record import Record
from tests.support.odradek import Odradek
from tests.support.process import wait_for
from tests.support.requests import TOPIC, alter_configs, connect, create_topic, produce
from tests.support.wire import Connection

MIB = 1 << 20
NOW_MS = 1_700_000_000_000
SEGMENT_BYTES = 64 * MIB
CHUNK_BYTES = 256 * 1024
BATCH_BYTES = 64 * 1024
PACE_S = 0.001
PRODUCED_BYTES = 1000


class Shape(NamedTuple):
    """What the log is made of."""

    name: str
    record_bytes: int
    keys_per_batch: str
    """`unique`: nothing is superseded; `half`: half of each batch is; `all`: all batches but the last of each key."""


SHAPES = (
    Shape("1 KiB records, nothing superseded", 1000, "unique"),
    Shape("1 KiB records, half of each batch superseded", 1000, "half"),
    Shape("1 KiB records, nearly all superseded", 1000, "all"),
    Shape("100 B records, half of each batch superseded", 75, "half"),
)


def write_segments(directory: Path, shape: Shape, size_bytes: int) -> tuple[tuple[SegmentToClean, ...], int]:
    """Closed segments of `size_bytes` in all, and the offset behind them."""
    directory.mkdir(parents=True)
    fs = OsFileSystem()
    pool = FilePool(fs)
    source = random.Random(1)
    value = source.randbytes(shape.record_bytes - 20)
    count = BATCH_BYTES // shape.record_bytes
    segments = []
    offset = 0
    written = 0
    while written < size_bytes:
        segment = Segment.create(pool, str(directory), offset, now_ms=NOW_MS)
        while segment.size < SEGMENT_BYTES and written < size_bytes:
            records = [Record(offset + n, NOW_MS, _key(shape, offset + n, n), value) for n in range(count)]
            batch = build_batch(records, offset)
            segment.note(parse_header(batch), offset + count - 1, segment.size, 4096)
            segment.log.append(batch)
            offset += count
            written += len(batch)
        segment.seal()
        segments.append(SegmentToClean(segment.base_offset, segment.size))
        segment.close()
    return tuple(segments), offset


def _key(shape: Shape, offset: int, number: int) -> bytes:
    if shape.keys_per_batch == "all" or (shape.keys_per_batch == "half" and number % 2):
        return b"key-%016d" % (offset % 1000)
    return b"key-%016d" % offset


def plain_loop(directory: Path, segments: Sequence[SegmentToClean]) -> float:
    """Seconds for reading, taking checksums and writing the same files."""
    fs = OsFileSystem()
    begun = time.perf_counter()
    for segment in segments:
        source = fs.open(f"{directory}/{segment.base_offset:020d}.log")
        target = fs.open(f"{directory}/plain", create=True)
        for position in range(0, segment.size, CHUNK_BYTES):
            chunk = source.pread(CHUNK_BYTES, position)
            crc32c(chunk)
            target.pwrite(chunk, position)
            if position % SYNC_BYTES == 0:
                target.sync()
        target.sync()
        target.close()
        source.close()
        fs.remove(f"{directory}/plain")
    return time.perf_counter() - begun


def clean_once(directory: Path, segments: tuple[SegmentToClean, ...], end_offset: int) -> float:
    """Seconds for one cleaning; what it wrote is removed."""
    plan = CleaningPlan(
        str(directory), segments, 0, end_offset, end_offset, NOW_MS, 1000, 2**31 - 9, 1 << 30, 10 * MIB, 4096, (), {},
        CleanerLimits(io_buffer_bytes=CHUNK_BYTES),
    )  # fmt: skip
    begun = time.perf_counter()
    for _ in clean(OsFileSystem(), plan):
        pass
    seconds = time.perf_counter() - begun
    for path in directory.glob("*.cleaned"):
        path.unlink()
    return seconds


def measure_speed(root: Path, size_bytes: int, rounds: int) -> None:
    """The first table."""
    click.echo(f"{'log':48} {'plain':>10} {'cleaning':>10} {'ratio':>6}")
    for number, shape in enumerate(SHAPES):
        directory = root / f"shape-{number}"
        segments, end_offset = write_segments(directory, shape, size_bytes)
        pairs = []
        runs = (partial(plain_loop, directory, segments), partial(clean_once, directory, segments, end_offset))
        for turn in range(rounds + 1):
            seconds = [0.0, 0.0]
            for index in (0, 1) if turn % 2 else (1, 0):
                seconds[index] = runs[index]()
            if turn:  # the first one meets cold caches
                pairs.append(seconds)
        plain, cleaning = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        mib = size_bytes / MIB
        click.echo(f"{shape.name:48} {mib / plain:7.0f} MB/s {mib / cleaning:5.0f} MB/s {ratio:6.2f}")
        shutil.rmtree(directory)


@contextmanager
def broker(root: Path) -> Iterator[Odradek]:
    """A broker that cleans what is dirty, soon."""
    (root / "broker").mkdir()
    node = Odradek(root / "broker", {"log.cleaner.backoff.ms": "200", "odradek.record.validation": "header"})
    node.start()
    try:
        yield node
    finally:
        node.close()


def fill(connection: Connection, topic: str, size_bytes: int) -> None:
    """Write a log that has all to be cleaned, but is not dirty enough."""
    configs = {
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1.0", "segment.bytes": str(SEGMENT_BYTES),
        "file.delete.delay.ms": "1000",
    }  # fmt: skip
    create_topic(connection, topic, configs=configs)
    source = random.Random(2)
    batches = []
    for _ in range(50):
        now_ms = int(time.time() * 1000)
        pairs = [(b"key-%08d" % source.randrange(100_000), source.randbytes(1000)) for _ in range(128)]
        batches.append(build_batch([Record(n, now_ms, key, value) for n, (key, value) in enumerate(pairs)]))
    written = 0
    while written < size_bytes:
        batch = source.choice(batches)
        answer = produce(connection, topic, batch)
        assert answer.error_code == 0
        written += len(batch)


def produce_steadily(connection: Connection, topic: str, is_over: Callable[[], bool]) -> list[float]:
    """Milliseconds from when each batch was due to its answer, at a steady pace."""
    batch = build_batch([Record(0, int(time.time() * 1000), b"key", b"x" * PRODUCED_BYTES)])
    latencies_ms = []
    due = time.perf_counter()
    while not is_over():
        due += PACE_S
        time.sleep(max(0.0, due - time.perf_counter()))
        answer = produce(connection, topic, batch, acks=1)
        assert answer.error_code == 0
        latencies_ms.append((time.perf_counter() - due) * 1000)
    return latencies_ms


def measure_producer(root: Path, size_bytes: int, rounds: int, seconds: float) -> None:
    """The second table."""
    click.echo(
        f"\n{'round':>5} {'cleaned in':>11} {'p50 alone':>10} {'p99 alone':>10} {'p50':>8} {'p99':>8} {'p99 ratio':>10}"
    )
    ratios = []
    with broker(root) as node, connect(node, 120.0) as connection:
        create_topic(connection, "steady")
        checkpoint = node.data_dir / "cleaner-offset-checkpoint"
        for number in range(rounds):
            topic = f"dirty-{number}"
            fill(connection, topic, size_bytes)
            time.sleep(3.0)  # what was written reaches the disk
            alone = produce_steadily(connection, "steady", _Deadline(seconds).is_over)
            alter_configs(connection, TOPIC, topic, {"min.cleanable.dirty.ratio": "0.01"})
            wait_for(partial(is_being_cleaned, node.data_dir / f"{topic}-0"), "cleaning has begun", 30)
            begun = time.perf_counter()
            beside = produce_steadily(connection, "steady", _Watch(checkpoint, topic).is_clean)
            took_s = time.perf_counter() - begun
            figures = [quantile(sorted(sample), share) for sample in (alone, beside) for share in (0.5, 0.99)]
            ratios.append(figures[3] / figures[1])
            click.echo(
                f"{number:5} {took_s:9.1f} s {figures[0]:7.2f} ms {figures[1]:7.2f} ms {figures[2]:5.2f} ms "
                f"{figures[3]:5.2f} ms {ratios[-1]:10.2f}"
            )
    click.echo(f"median of the ratios: {statistics.median(ratios):.2f}")


def is_being_cleaned(directory: Path) -> bool:
    """Whether something is written beside the segments."""
    return any(path.name.endswith(".cleaned") for path in directory.iterdir())


class _Deadline:
    """A time that will come."""

    def __init__(self, seconds: float) -> None:
        self._until = time.perf_counter() + seconds

    def is_over(self) -> bool:
        return time.perf_counter() >= self._until


class _Watch:
    """Looks from time to time whether a log is clean."""

    def __init__(self, checkpoint: Path, topic: str) -> None:
        self._checkpoint = checkpoint
        self._line = f"{topic} 0 "
        self._next = 0.0

    def is_clean(self) -> bool:
        now = time.perf_counter()
        if now < self._next:
            return False
        self._next = now + 0.1
        return self._checkpoint.exists() and self._line in self._checkpoint.read_text()


@click.command()
@click.option("--size-mb", default=1024, help="Of the log that is cleaned beside a producer.")
@click.option("--speed-mb", default=256, help="Of the logs that are cleaned for speed.")
@click.option("--rounds", default=5)
@click.option("--seconds", default=15.0, help="How long the producer is measured alone.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where to write; a temporary one by default.")
def main(size_mb: int, speed_mb: int, rounds: int, seconds: float, directory: Path | None) -> None:
    """Measure compaction."""
    root = Path(tempfile.mkdtemp(prefix="compaction-", dir=directory))
    try:
        measure_speed(root, speed_mb * MIB, rounds)
        measure_producer(root, size_mb * MIB, rounds, seconds)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
