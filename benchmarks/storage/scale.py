"""Does the storage engine's speed depend on how much is stored? One large partition, and a node of many partitions.

`python -m benchmarks.storage.scale` prints two tables and removes what it wrote. The large partition is sparse: a hole
of 1 MiB behind each header, since nothing that is measured looks at a payload, and a whole small batch behind each
hole, which look-ups by timestamp open. 50 GiB take about 0.5 GB of disk.
"""

from __future__ import annotations

import gc
import random
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks import procfs
from odradek.net.files import OsFileSystem
from odradek.storage.checkpoints import write_clean_shutdown
from odradek.storage.file_pool import FilePool
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.producer_snapshot import SnapshotFiles
from odradek.storage.segment import Segment
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.records.batch import build_batch
from odradek.wire.records.header import LOG_OVERHEAD_BYTES, BatchHeader, pack_header, parse_header
from odradek.wire.records.record import Record
from tests.support.odradek import Odradek
from tests.support.process import wait_for
from tests.support.requests import connect, create_topic, fetch, fetch_request, produce, serves
from tests.unit.fakes import FakeWorld

PARTITION = TopicPartition("large", 0)
SEGMENT_BYTES = 1 << 30
HOLE_BYTES = 1 << 20
HOLE_RECORDS = 1000
BASE_MS = 1_700_000_000_000
LOOKUPS = 3000
ROUNDS = 5
REQUESTS = 2000
INDEX_INTERVAL_BYTES = LogConfig().index_interval_bytes


class SparseLog:
    """One partition of `size_bytes` in a log directory, as after a clean stop."""

    def __init__(self, log_dir: Path, size_bytes: int) -> None:
        self.samples: list[tuple[int, int]] = []
        """(offset, timestamp in ms) of each small batch."""
        self._fs = OsFileSystem()
        self._directory = f"{log_dir}/large-0"
        self._fs.mkdir(self._directory)
        offset = 0
        while size_bytes > 0:
            segment_bytes = min(size_bytes, SEGMENT_BYTES)
            offset = self._write_segment(offset, segment_bytes)
            size_bytes -= segment_bytes
        SnapshotFiles(self._fs, self._directory, ()).write(offset, ())
        write_clean_shutdown(self._fs, str(log_dir), -1)

    def _write_segment(self, offset: int, size_bytes: int) -> int:
        segment = Segment.create(FilePool(self._fs), self._directory, offset, now_ms=BASE_MS)
        file = segment.log.file()
        while segment.size + 2 * HOLE_BYTES <= size_bytes:
            hole = BatchHeader(
                offset, HOLE_BYTES - LOG_OVERHEAD_BYTES, 0, 2, 0, 0, HOLE_RECORDS - 1, BASE_MS + offset,
                BASE_MS + offset, -1, -1, -1, HOLE_RECORDS,
            )  # fmt: skip
            file.pwrite(pack_header(hole), segment.size)
            segment.note(hole, hole.last_offset, segment.size, INDEX_INTERVAL_BYTES)
            segment.log.size += HOLE_BYTES
            offset += HOLE_RECORDS
            timestamp_ms = BASE_MS + offset
            small = build_batch([Record(offset, timestamp_ms, None, b"found")], offset)
            segment.note(parse_header(small), offset, segment.size, INDEX_INTERVAL_BYTES)
            segment.log.append(small)
            self.samples.append((offset, timestamp_ms))
            offset += 1
        segment.seal()
        segment.close()
        return offset


def measure_log(log_dir: Path, samples: Sequence[tuple[int, int]]) -> list[float]:
    """Start-up in CPU ms, KiB that the open log takes, and CPU microseconds per look-up by offset and by timestamp."""
    world = FakeWorld(now_ms=BASE_MS)
    start_ms = []
    for _ in range(ROUNDS):
        write_clean_shutdown(OsFileSystem(), str(log_dir), -1)
        manager = LogManager(OsFileSystem(), world, world, world, world, [str(log_dir)])
        gc.collect()
        tracemalloc.start()
        manager.load(lambda _topic: LogConfig())
        memory_kib = tracemalloc.get_traced_memory()[0] / 1024
        tracemalloc.stop()
        write_clean_shutdown(OsFileSystem(), str(log_dir), -1)
        begun = time.process_time()
        manager = LogManager(OsFileSystem(), world, world, world, world, [str(log_dir)])
        manager.load(lambda _topic: LogConfig())
        start_ms.append((time.process_time() - begun) * 1e3)
    log = manager.log(PARTITION)
    assert log is not None
    chosen = random.Random(1).choices(samples, k=LOOKUPS)
    by_offset = _best_us(log, chosen, _read)
    by_timestamp = _best_us(log, chosen, _find)
    figures = [min(start_ms), memory_kib / len(log.segments), by_offset, by_timestamp]
    log.release()
    return figures


def measure_start(size_bytes: int) -> float:
    """Seconds until a node with one partition of this size is ready after a clean stop, in the best of some starts."""
    root = Path(tempfile.mkdtemp(prefix="odradek-scale-"))
    broker = Odradek(root, {})
    try:
        broker.start()
        with connect(broker) as connection:
            create_topic(connection, PARTITION.topic)
        broker.stop()
        directory = broker.data_dir / f"{PARTITION.topic}-0"
        topic_id = (directory / "partition.metadata").read_bytes()
        shutil.rmtree(directory)
        SparseLog(broker.data_dir, size_bytes)
        (directory / "partition.metadata").write_bytes(topic_id)
        ready_s = []
        for _ in range(ROUNDS):
            broker.start()
            ready_s.append(broker.ready_after_s)
            with connect(broker) as connection:
                assert fetch(connection, fetch_request(PARTITION.topic, HOLE_RECORDS)).records
            broker.stop()
        return min(ready_s)
    finally:
        broker.close()
        shutil.rmtree(root)


def _best_us(log: Log, chosen: Sequence[tuple[int, int]], look_up: Callable[[Log, int, int], None]) -> float:
    """CPU microseconds per look-up in the best of some rounds; the first, which meets cold caches, does not count."""
    best = float("inf")
    for number in range(1 + ROUNDS):
        begun = time.process_time()
        for offset, timestamp_ms in chosen:
            look_up(log, offset, timestamp_ms)
        if number:
            best = min(best, time.process_time() - begun)
    return best * 1e6 / LOOKUPS


def _read(log: Log, offset: int, _timestamp_ms: int) -> None:
    records = log.read(offset, max_bytes=200, max_offset=log.log_end_offset, min_one_message=True).records
    if not isinstance(records, bytes):
        data = records.read(0, records.size)
        records.release()
        assert parse_header(data).base_offset == offset


def _find(log: Log, offset: int, timestamp_ms: int) -> None:
    found = log.offset_for_timestamp(timestamp_ms)
    assert found is not None
    assert found.offset == offset


def measure_node(directory: Path, topics: int, partitions: int) -> list[tuple[str, float, str]]:
    """A node of `topics` x `partitions`: created, stopped, started again and used."""
    broker = Odradek(directory, {"odradek.record.validation": "header"})
    names = [f"topic-{number}" for number in range(topics)]
    figures: list[tuple[str, float, str]] = []
    try:
        broker.start()
        begun = time.monotonic()
        with connect(broker, 120) as connection:
            for name in names:
                topic = CreatableTopic(name=name, num_partitions=partitions, replication_factor=1)
                connection.call(CreateTopicsRequest(topics=[topic], timeout_ms=60_000), CreateTopicsResponse)
            wait_for(lambda: serves(connection, names[-1], partitions), "all partitions are led", 120)
        figures.append(("created and led", time.monotonic() - begun, "s"))
        broker.stop()
        broker.start()
        figures.append(("ready after a clean stop", broker.ready_after_s, "s"))
        figures.append(("CPU until ready", procfs.cpu_s(broker.pid), "s"))
        figures.append(("resident", broker.resident_bytes() / 1e6, "MB"))
        with connect(broker, 120) as connection:
            wait_for(lambda: serves(connection, names[-1], partitions), "all partitions are led", 120)
            begun = time.monotonic()
            connection.call(MetadataRequest(topics=None), MetadataResponse)
            figures.append(("Metadata of all", (time.monotonic() - begun) * 1e3, "ms"))
            pairs = random.Random(2)
            now_ms = time.time_ns() // 1_000_000
            batch = build_batch([Record(0, now_ms, None, b"x" * 100)])
            used = [(pairs.choice(names), pairs.randrange(partitions)) for _ in range(REQUESTS)]
            begun = time.monotonic()
            for name, partition in used:
                assert produce(connection, name, batch, partition=partition).error_code == 0
            figures.append(("produce to any partition, mean", (time.monotonic() - begun) * 1e3 / REQUESTS, "ms"))
            begun = time.monotonic()
            for name, partition in used:
                assert fetch(connection, fetch_request(name, 0, partition=partition)).records
            figures.append(("fetch from any partition, mean", (time.monotonic() - begun) * 1e3 / REQUESTS, "ms"))
        figures.append(("resident after use", broker.resident_bytes() / 1e6, "MB"))
        figures.append(("open descriptors", len(list(Path(f"/proc/{broker.pid}/fd").iterdir())), ""))
        begun = time.monotonic()
        broker.stop()
        figures.append((f"clean stop, {len(set(used))} partitions written to", time.monotonic() - begun, "s"))
    finally:
        broker.close()
    return figures


def _row(title: str, figures: Sequence[float]) -> str:
    widths = (17, 13, 9, 9, 14)
    return f"{title:14}" + "".join(f"{figure:{width}.2f}" for figure, width in zip(figures, widths, strict=True))


@click.command()
@click.option("--sizes", default="1,10,50", show_default=True, help="GiB in the one partition.")
@click.option("--topics", default=100, show_default=True, help="Topics of the node; 0: no node.")
@click.option("--partitions", default=100, show_default=True, help="Partitions of each topic.")
def main(sizes: str, topics: int, partitions: int) -> None:
    """Measure, and print what was measured."""
    rows = []
    if sizes:
        click.echo(
            "one partition      start CPU ms  KiB/segment  read us  find us  node ready s   (us: CPU per look-up)"
        )
    for size in sizes.split(",") if sizes else []:
        root = Path(tempfile.mkdtemp(prefix="odradek-scale-"))
        try:
            stored = SparseLog(root, int(size) << 30)
            figures = measure_log(root, stored.samples)
        finally:
            shutil.rmtree(root)
        figures.append(measure_start(int(size) << 30))
        rows.append(figures)
        click.echo(_row(f"{size:>5} GiB", figures))
    if len(rows) > 1:
        click.echo(_row("ratio", [last / first for first, last in zip(rows[0], rows[-1], strict=True)]))
    if topics:
        root = Path(tempfile.mkdtemp(prefix="odradek-scale-"))
        try:
            click.echo(f"\n{topics} topics x {partitions} partitions")
            for name, figure, unit in measure_node(root, topics, partitions):
                click.echo(f"  {name:<45} {figure:10.2f} {unit}")
        finally:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
