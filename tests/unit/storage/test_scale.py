"""What work costs does not depend on how much is stored: counted in calls of the file system, not timed."""

from __future__ import annotations

from collections import Counter

import pytest

from odradek.storage.log_config import LogConfig
from odradek.storage.log_loader import load_log
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem, MemoryMappedFile
from odradek.storage.topic_partition import TopicPartition
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, PARTITION, Disk, read_bytes

CONFIG = LogConfig(segment_bytes=200, index_interval_bytes=0)


class CountingFileSystem(MemoryFileSystem):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        self.calls["open"] += 1
        return super().open(path, create=create, read_only=read_only)

    def map(self, path: str) -> MemoryMappedFile:
        self.calls["map"] += 1
        self.calls["read"] -= 1  # memory is mapped by reading it
        return super().map(path)

    def read(self, path: str) -> bytes:
        self.calls["read"] += 1
        return super().read(path)

    def list(self, path: str) -> list[str]:
        self.calls["list"] += 1
        return super().list(path)

    def write_atomically(self, path: str, data: bytes | bytearray | memoryview) -> None:
        self.calls["write"] += 1
        super().write_atomically(path, data)


def stopped(segments: int) -> tuple[Disk, CountingFileSystem]:
    """A log of that many closed segments, after a clean stop; record N has timestamp NOW_MS + N."""
    fs = CountingFileSystem()
    disk = Disk(CONFIG, fs)
    for number in range(2 * segments):
        disk.append(b"x" * 20, timestamp_ms=NOW_MS + number)
    assert len(disk.log.segments) == segments
    disk.log.close()
    fs.calls.clear()
    return disk, fs


@pytest.mark.parametrize("segments", [2, 500])
def test_opening_a_log_reads_no_segment(segments: int) -> None:
    disk, fs = stopped(segments)
    log = load_log(disk.env, disk.directory, PARTITION, CONFIG, is_clean=True)
    assert log.log_end_offset == 2 * segments
    assert fs.calls["list"] <= 2
    assert fs.calls["open"] + fs.calls["map"] <= 2, "only the last segment is looked into, for where it ends"
    assert fs.calls["read"] <= 3, "the leader epochs, the topic id and the latest producer snapshot"
    assert fs.calls["write"] == 0


@pytest.mark.parametrize("segments", [2, 500])
def test_a_read_opens_one_segment(segments: int) -> None:
    disk, fs = stopped(segments)
    log = disk.open(is_clean=True)
    for offset in (0, segments - 1):
        fs.calls.clear()
        assert read_bytes(log, offset, 50)
        assert fs.calls["open"] <= 1
        assert fs.calls["map"] <= 1
        assert fs.calls["read"] == 0


@pytest.mark.parametrize("segments", [2, 500])
def test_a_look_up_by_timestamp_opens_no_segment_but_its_own_once_their_timestamps_are_known(segments: int) -> None:
    disk, fs = stopped(segments)
    log = disk.open(is_clean=True)
    assert log.offset_of_max_timestamp() is not None
    disk.pool._max_open_files = 2  # so that what was opened for that is closed again
    for number in (1, segments, 2 * segments - 1):
        fs.calls.clear()
        found = log.offset_for_timestamp(NOW_MS + number)
        assert found is not None
        assert found.offset == number
        assert fs.calls["open"] <= 1
        assert fs.calls["map"] <= 2


@pytest.mark.parametrize("segments", [2, 500])
def test_the_largest_timestamp_is_found_without_looking_into_other_segments(segments: int) -> None:
    disk, fs = stopped(segments)
    log = disk.open(is_clean=True)
    fs.calls.clear()
    found = log.offset_of_max_timestamp()
    assert found is not None
    assert found.offset == 2 * segments - 1
    assert fs.calls["open"] <= 1


def test_the_largest_timestamp_is_known_where_truncation_took_the_one_that_was_indexed() -> None:
    disk = Disk(LogConfig())
    for timestamp_ms in (50, 90, 70, 95):
        disk.append(b"x", timestamp_ms=NOW_MS + timestamp_ms)
    disk.log.close()
    log = disk.open(is_clean=True)
    log.truncate_to(3)
    found = log.offset_of_max_timestamp()
    assert found is not None
    assert (found.offset, found.timestamp_ms) == (1, NOW_MS + 90)


def test_a_log_that_nothing_was_written_to_is_closed_without_a_look() -> None:
    disk, fs = stopped(5)
    log = disk.open(is_clean=True)
    fs.calls.clear()
    log.close()
    assert fs.calls == Counter()
    log = disk.open(is_clean=True)
    disk.append(b"more")
    log.close()
    assert disk.open(is_clean=True).log_end_offset == 11


def test_a_log_without_the_snapshot_of_its_end_gets_one_when_it_is_closed() -> None:
    disk, fs = stopped(5)
    name = "00000000000000000010.snapshot"
    fs.remove(f"{disk.directory}/{name}")
    disk.open(is_clean=True).close()
    assert name in disk.names()


def test_an_idle_node_of_many_partitions_asks_nothing_of_its_disk() -> None:
    fs, world = CountingFileSystem(), FakeWorld(now_ms=NOW_MS)
    logs = LogManager(fs, world, world, world, world, ["/data"])
    logs.load(lambda _topic: CONFIG)
    for number in range(200):
        logs.create_log(TopicPartition("topic", number), bytes(15) + b"\x05", CONFIG)
    world.advance(120_000)
    fs.calls.clear()
    world.advance(3_600_000)
    assert fs.calls == Counter()


def test_a_clean_stop_of_many_idle_partitions_writes_a_few_files() -> None:
    fs, world = CountingFileSystem(), FakeWorld(now_ms=NOW_MS)
    logs = LogManager(fs, world, world, world, world, ["/data"])
    logs.load(lambda _topic: CONFIG)
    for number in range(200):
        logs.create_log(TopicPartition("topic", number), bytes(15) + b"\x05", CONFIG).assign_epoch(1, 0)
    fs.calls.clear()
    logs.shutdown()
    assert fs.calls["write"] <= 4, "three checkpoints and the marker of a clean stop"
