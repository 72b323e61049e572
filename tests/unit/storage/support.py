"""What the storage tests share: ports that tests turn by hand, and logs over them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from odradek.ports import FileSystem
from odradek.storage.batches import scan, scan_valid
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_pool import FilePool
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_loader import load_log
from odradek.storage.log_results import AppendInfo, AppendOrigin
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.header import BatchHeader, iter_batches
from odradek.wire.records.record import Record
from tests.unit.fakes import FakeWorld

PARTITION = TopicPartition("topic", 0)
DIRECTORY = "/data/topic-0"
NOW_MS = 1_700_000_000_000


class Disk:
    """A file system with one log in it, which can be closed, crashed and opened again."""

    def __init__(
        self, config: LogConfig | None = None, fs: FileSystem | None = None, directory: str = DIRECTORY,
        max_open_files: int = 1000,
    ) -> None:  # fmt: skip
        self.fs: FileSystem = fs if fs is not None else MemoryFileSystem()
        self.config = config if config is not None else LogConfig()
        self.directory = directory
        self.clock = FakeWorld(now_ms=NOW_MS)
        self.failures: list[Exception] = []
        self.pool = FilePool(self.fs, max_open_files)
        self.env = LogEnvironment(
            self.pool, self.clock, self.clock, self.clock, self.clock,
            lambda _directory, error: self.failures.append(error),
        )  # fmt: skip
        self.fs.mkdir(directory)
        self.log = self.open(is_clean=True)

    def open(
        self, *, is_clean: bool = False, recovery_point: int = 0, log_start_offset: int = 0, high_watermark: int = 0
    ) -> Log:
        """Open the log anew, as after a crash if it was not closed."""
        self.log = load_log(
            self.env, self.directory, PARTITION, self.config, is_clean=is_clean, recovery_point=recovery_point,
            log_start_offset=log_start_offset, high_watermark=high_watermark,
        )  # fmt: skip
        return self.log

    def names(self) -> list[str]:
        return self.fs.list(self.directory)

    def append(
        self, *values: bytes, timestamp_ms: int = NOW_MS, leader_epoch: int = 0,
        origin: AppendOrigin = AppendOrigin.CLIENT, producer_id: int = -1, producer_epoch: int = -1,
        base_sequence: int = -1, is_transactional: bool = False,
    ) -> AppendInfo:  # fmt: skip
        """Append a batch with these values, and let the high watermark follow."""
        data = batch(
            *values, timestamp_ms=timestamp_ms, producer_id=producer_id, producer_epoch=producer_epoch,
            base_sequence=base_sequence, is_transactional=is_transactional,
        )  # fmt: skip
        info = self.log.append_as_leader(data, leader_epoch=leader_epoch, now_ms=self.clock.now_ms(), origin=origin)
        self.log.update_high_watermark(self.log.log_end_offset)
        return info

    def marker(
        self, producer_id: int, producer_epoch: int, *, commit: bool, coordinator_epoch: int = 0,
        transaction_version: int = 0,
    ) -> AppendInfo:  # fmt: skip
        """Append an end transaction marker."""
        data = marker(producer_id, producer_epoch, commit=commit, coordinator_epoch=coordinator_epoch)
        info = self.log.append_as_leader(
            data, leader_epoch=0, now_ms=self.clock.now_ms(), origin=AppendOrigin.COORDINATOR,
            transaction_version=transaction_version,
        )  # fmt: skip
        self.log.update_high_watermark(self.log.log_end_offset)
        return info

    def read_all(self, offset: int | None = None) -> list[tuple[int, bytes | None]]:
        """(offset, value) of every record from `offset` on, read as a fetch does."""
        return read_records(self.log, self.log.log_start_offset if offset is None else offset)


def batch(
    *values: bytes, timestamp_ms: int = NOW_MS, producer_id: int = -1, producer_epoch: int = -1,
    base_sequence: int = -1, is_transactional: bool = False,
) -> bytearray:  # fmt: skip
    """A batch as a producer sends it."""
    records = [Record(index, timestamp_ms, None, value) for index, value in enumerate(values)]
    return bytearray(
        build_batch(
            records,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=base_sequence,
            is_transactional=is_transactional,
        )
    )


def marker(producer_id: int, producer_epoch: int, *, commit: bool, coordinator_epoch: int = 0) -> bytearray:
    """A control batch that ends a transaction."""
    key = b"\x00\x00" + (b"\x00\x01" if commit else b"\x00\x00")
    value = b"\x00\x00" + coordinator_epoch.to_bytes(4, "big")
    return bytearray(
        build_batch(
            [Record(0, NOW_MS, key, value)],
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            is_transactional=True,
            is_control=True,
        )
    )


def check_indexes(disk: Disk) -> int:
    """See that every entry in the files of a closed log's indexes says the truth; the number of entries."""
    count = 0
    for segment in disk.log.segments:
        base = segment.base_offset
        batches = [(stored.position, stored.header) for stored in scan(segment.log, 0, segment.size)]
        by_position = {position: header.last_offset for position, header in batches}
        offsets = list(struct.iter_unpack(">ii", disk.fs.read(segment.index.path)))
        assert all(by_position[position] == base + relative for relative, position in offsets)
        assert offsets == sorted(set(offsets))
        times = list(struct.iter_unpack(">qi", disk.fs.read(segment.time_index.path)))
        for timestamp_ms, relative in times:
            upto = [header.max_timestamp_ms for _, header in batches if header.last_offset <= base + relative]
            assert timestamp_ms == upto[-1] == max(upto)
        assert times == sorted(set(times))
        assert not batches or times[-1][0] == max(header.max_timestamp_ms for _, header in batches)
        count += len(offsets) + len(times)
    return count


def stored_batches(
    log: Log, from_offset: int = 0, max_offset: int | None = None
) -> Iterator[tuple[BatchHeader, memoryview]]:
    """The batches from the one that holds `from_offset` (or comes next) with their bytes, checksums checked.

    Stops before batches that begin at `max_offset`, which is the log end offset by default.
    """
    end_offset = log.log_end_offset if max_offset is None else max_offset
    for segment in log.segments.from_offset(from_offset):
        located = segment.locate(from_offset)
        if located is None:
            continue
        for stored, view in scan_valid(segment.log, located.position, segment.size):
            if stored.header.base_offset >= end_offset:
                return
            yield stored.header, view


def read_records(log: Log, offset: int, max_bytes: int = 1 << 20) -> list[tuple[int, bytes | None]]:
    """Fetch from `offset` to the end, keeping only records at or behind what was asked for."""
    found: list[tuple[int, bytes | None]] = []
    while offset < log.log_end_offset:
        data = read_bytes(log, offset, max_bytes)
        if not data:
            break
        last = offset
        for position, header in iter_batches(data):
            records = iter_records(memoryview(data)[position : position + header.size_bytes])
            found.extend((record.offset, record.value) for record in records if record.offset >= offset)
            last = header.next_offset
        offset = last
    return found


def read_bytes(log: Log, offset: int, max_bytes: int = 1 << 20, *, min_one_message: bool = True) -> bytes:
    """One fetch's bytes."""
    part = log.read(offset, max_bytes=max_bytes, max_offset=log.log_end_offset, min_one_message=min_one_message).records
    if isinstance(part, bytes):
        return part
    data = part.read(0, part.size)
    part.release()
    return data
