"""The quorum's log over real segments: what a follower appends, and where a log begins that snapshots stand for."""

from __future__ import annotations

from odradek.node.metadata_log import MetadataLog
from odradek.quorum.batches import decode_batches, encode_batches
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_pool import FilePool
from odradek.storage.log_config import LogConfig
from odradek.storage.memory_files import MemoryFileSystem
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from tests.unit.fakes import FakeWorld

DIRECTORY = "/data/__cluster_metadata-0"


def open_log(files: MemoryFileSystem) -> MetadataLog:
    world = FakeWorld()
    environment = LogEnvironment(FilePool(files), world, world, world, world, lambda _directory, _error: None)
    config = LogConfig(segment_bytes=400, retention_ms=-1, retention_bytes=-1)
    return MetadataLog.open(environment, DIRECTORY, config)


def batch(offset: int, epoch: int) -> bytes:
    records = [(TopicRecord(name=f"topic-{offset}", topic_id=bytes(16)), 0)]
    return bytes(encode_batches(records, offset, epoch, 5, atomic=True).data)


def offsets(log: MetadataLog) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    offset = log.start_offset
    while offset < log.end_offset:
        for each in decode_batches(log.read(offset, 1 << 20)):
            found.append((each.base_offset, each.epoch))
            offset = each.last_offset + 1
    return found


def filled(files: MemoryFileSystem) -> MetadataLog:
    files.mkdir(DIRECTORY)
    log = open_log(files)
    for offset in range(12):
        log.append_as_follower(batch(offset, 1 + offset // 4))
    return log


def test_a_follower_keeps_the_leaders_offsets_and_epochs() -> None:
    files = MemoryFileSystem()
    log = filled(files)
    assert log.end_offset == 12
    log.truncate_to(7)
    log.append_as_follower(batch(7, 9))
    log.close()
    again = open_log(files)
    assert offsets(again)[-3:] == [(5, 2), (6, 2), (7, 9)]


def test_a_log_that_begins_later_gives_its_space_back_and_begins_there_again() -> None:
    files = MemoryFileSystem()
    log = filled(files)
    before_bytes = log.size_bytes
    log.delete_before(9)
    assert (log.start_offset, log.end_offset) == (9, 12)
    assert log.size_bytes < before_bytes / 2
    log.close()
    again = open_log(files)
    assert 0 < again.start_offset <= 9
    assert again.end_offset == 12


def test_a_log_begins_anew_behind_a_snapshot() -> None:
    files = MemoryFileSystem()
    log = filled(files)
    log.restart_at(50)
    assert (log.start_offset, log.end_offset) == (50, 50)
    log.append_as_follower(batch(50, 7))
    log.close()
    again = open_log(files)
    assert offsets(again) == [(50, 7)]
