"""Disks that fail: the directory goes offline, the others go on, and nothing half written is served."""

from __future__ import annotations

import errno
from functools import partial

import pytest

from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.storage.segment import Segment
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import parse_header
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, Disk, batch


class FullFile(MemoryFile):
    """Takes half of what is written, then has no space left."""

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> int:
        super().pwrite(memoryview(data)[: len(data) // 2], offset)
        raise OSError(errno.ENOSPC, "no space left on device", self.path)

    def sync(self) -> None:
        raise OSError(errno.EIO, "input/output error", self.path)


class FailingFileSystem(MemoryFileSystem):
    """In memory, with directories that may be told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = "/nowhere"

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        file = super().open(path, create=create, read_only=read_only)
        if path.startswith(self.failing):
            return FullFile(path, file._node, read_only)  # type: ignore[arg-type] # just opened
        return file

    def list(self, path: str) -> list[str]:
        if path.startswith(self.failing):
            raise OSError(errno.EIO, "input/output error", path)
        return super().list(path)


def start(fs: FailingFileSystem, log_dirs: list[str]) -> tuple[LogManager, list[str]]:
    world = FakeWorld(now_ms=NOW_MS)
    logs = LogManager(fs, world, world, world, world, log_dirs)
    failed: list[str] = []
    logs.on_dir_failure = failed.append
    logs.load(lambda _topic: LogConfig())
    return logs, failed


def code_of(logs: LogManager, partition: TopicPartition) -> ErrorCode | None:
    log = logs.log(partition)
    assert log is not None
    try:
        log.append_as_leader(batch(b"v"), leader_epoch=0, now_ms=NOW_MS)
    except KafkaError as error:
        return error.code
    return None


def test_a_full_disk_takes_its_directory_offline_and_leaves_the_others_alone() -> None:
    fs = FailingFileSystem()
    logs, failed = start(fs, ["/one", "/two"])
    partitions = [TopicPartition("topic", number) for number in range(4)]
    for partition in partitions:
        logs.create_log(partition, None, LogConfig())
    fs.failing = "/one"
    logs_of_one = [log for info in logs.log_dirs() for log in info.logs if info.path == "/one"]
    for log in logs_of_one:
        log.release()
    codes = [code_of(logs, partition) for partition in partitions]
    assert (codes.count(ErrorCode.KAFKA_STORAGE_ERROR), codes.count(None)) == (2, 2)
    assert failed == ["/one"]
    assert [info.is_online for info in logs.log_dirs()] == [False, True]
    assert logs.create_log(TopicPartition("topic", 9), None, LogConfig()).log_dir == "/two"
    with pytest.raises(KafkaError) as raised:
        logs_of_one[0].read(0, max_bytes=1, max_offset=1, min_one_message=True)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_a_disk_that_fills_up_within_a_run_of_batches_leaves_nothing_of_it() -> None:
    fs = FailingFileSystem()
    logs, failed = start(fs, ["/disk"])
    log = logs.create_log(TopicPartition("t", 0), bytes(16), LogConfig())
    log.append_as_leader(batch(b"v", producer_id=5, producer_epoch=0, base_sequence=0), leader_epoch=0, now_ms=NOW_MS)
    log.release()
    fs.failing = "/disk"
    run = [memoryview(batch(b"v", producer_id=5, producer_epoch=0, base_sequence=number)) for number in (1, 2, 3)]
    with pytest.raises(KafkaError) as raised:
        log.append_run(run, [parse_header(each) for each in run], leader_epoch=0, now_ms=NOW_MS)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert failed == ["/disk"]
    producer = log.producers.entry(5)
    assert producer is not None
    assert (log.log_end_offset, producer.last_sequence) == (1, 0)


def test_a_directory_that_cannot_be_read_at_the_start_is_left_out() -> None:
    fs = FailingFileSystem()
    fs.failing = "/two"
    logs, failed = start(fs, ["/one", "/two"])
    assert failed == ["/two"]
    logs.shutdown()
    fs.failing = ""
    with pytest.raises(KafkaError) as raised:
        start(fs, ["/one", "/two"])
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_a_directory_that_failed_gets_no_marker_of_a_clean_stop() -> None:
    fs = FailingFileSystem()
    logs, _ = start(fs, ["/one", "/two"])
    for number in range(2):
        logs.create_log(TopicPartition("topic", number), None, LogConfig())
        assert code_of(logs, TopicPartition("topic", number)) is None
    fs.failing = "/one"
    logs.shutdown(3)
    assert fs.exists("/two/.kafka_cleanshutdown")
    assert not fs.exists("/one/.kafka_cleanshutdown")


def test_what_a_failed_write_left_is_cut_off_by_the_next_start() -> None:
    fs = FailingFileSystem()
    disk = Disk(fs=fs)
    disk.append(b"acknowledged")
    disk.log.release()
    fs.failing = disk.directory + "/0"
    with pytest.raises(KafkaError) as raised:
        disk.append(b"lost")
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert len(disk.failures) == 1
    assert disk.log.log_end_offset == 1
    fs.failing = "/nowhere"
    disk.open()
    assert disk.read_all() == [(0, b"acknowledged")]


def test_a_background_sync_that_fails_is_reported_and_moves_no_recovery_point() -> None:
    fs = FailingFileSystem()
    disk = Disk(fs=fs)
    disk.append(b"v")
    promise = disk.log.flush_later()
    fs.failing = disk.directory + "/0"
    disk.clock.run_soon()
    assert isinstance(promise.error, KafkaError)
    assert disk.log.recovery_point == 0
    assert len(disk.failures) == 1


def test_retention_that_cannot_read_takes_the_directory_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = FailingFileSystem()
    logs, failed = start(fs, ["/one", "/two"])
    log = logs.create_log(TopicPartition("topic", 0), None, LogConfig(segment_bytes=100))
    for _ in range(3):
        log.append_as_leader(batch(b"v" * 30), leader_epoch=0, now_ms=NOW_MS)
    log.update_high_watermark(log.log_end_offset)
    logs.shutdown()
    logs, failed = start(fs, ["/one", "/two"])
    monkeypatch.setattr(fs, "map", partial(FailingFileSystem.list, fs))
    fs.failing = "/one"
    assert logs.enforce_retention() == 0
    assert failed == ["/one"]


def test_a_damaged_batch_far_back_does_not_keep_producers_from_writing() -> None:
    disk = Disk()
    first = disk.append(b"the latest", timestamp_ms=NOW_MS + 1000)
    for _ in range(300):
        disk.append(b"x" * 100)
    disk.log.close()
    path = disk.log.segments.active.log.path
    content = bytearray(disk.fs.read(path))
    size_of_first = 12 + int.from_bytes(content[8:12], "big")
    content[size_of_first + 16] = 7  # the second batch's magic
    disk.fs.open(path).pwrite(content, 0)
    log = disk.open(is_clean=True)
    assert (first.last_offset, log.log_end_offset) == (0, 301)
    assert [disk.append(b"new").last_offset for _ in range(2)] == [301, 302]
    assert disk.read_all(301) == [(301, b"new"), (302, b"new")]


def test_a_defect_behind_the_write_does_not_use_up_bytes_or_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    disk.append(b"kept")

    def fail(*_arguments: object) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(Segment, "note", fail)
        with pytest.raises(RuntimeError):
            disk.append(b"longer than what comes next")
    assert disk.append(b"next").last_offset == 1
    assert disk.read_all() == [(0, b"kept"), (1, b"next")]
    disk.log.close()
    disk.open(is_clean=True)
    assert disk.read_all() == [(0, b"kept"), (1, b"next")]
