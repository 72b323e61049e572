"""A real log on a real disk, as the figures use it."""

from __future__ import annotations

import shutil
from pathlib import Path

from odradek.net.files import OsFileSystem
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_pool import FilePool
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_loader import load_log
from odradek.storage.segment import ColdLookupError
from odradek.storage.segment_file import FileRange
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from tests.unit.fakes import FakeWorld

BASE_MS = 1_700_000_000_000
SEGMENT_BYTES = 1 << 30


def batch_of(size_bytes: int) -> bytearray:
    """One record in a batch of that size."""
    empty = len(_batch(size_bytes)) - size_bytes
    return _batch(size_bytes - empty)


def _batch(value_bytes: int) -> bytearray:
    return bytearray(build_batch([Record(0, BASE_MS, None, bytes(value_bytes))]))


class StoredLog:
    """One partition in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._world = FakeWorld(now_ms=BASE_MS)
        self._env = LogEnvironment(FilePool(OsFileSystem()), self._world, self._world, self._world, self._world, _fail)
        self.log = self._open(is_clean=True)

    def fill(self, batch: bytearray, size_bytes: int) -> None:
        """Append `batch` until the log has so many bytes."""
        for _ in range(size_bytes // len(batch)):
            self.log.append_as_leader(batch, leader_epoch=0, now_ms=BASE_MS)
        self.log.update_high_watermark(self.log.log_end_offset)

    def read(self, offset: int, max_bytes: int) -> FileRange:
        """As a fetch reads, which prepares what is not at hand; the caller releases it."""
        log = self.log
        try:
            found = log.read(
                offset, max_bytes=max_bytes, max_offset=log.log_end_offset, min_one_message=True, waits=False
            )
        except ColdLookupError as cold:
            cold.prepare()
            found = log.read(offset, max_bytes=max_bytes, max_offset=log.log_end_offset, min_one_message=True)
        assert isinstance(found.records, FileRange)
        return found.records

    def segment_paths(self) -> list[str]:
        """The `.log` files."""
        return [segment.log.path for segment in self.log.segments]

    def begin_again(self) -> None:
        """An empty log."""
        self.log.release()
        shutil.rmtree(self.directory)
        self.log = self._open(is_clean=True)

    def recover(self) -> None:
        """Open it as after a crash before the first flush."""
        self.log.release()
        self.log = self._open(is_clean=False)

    def _open(self, *, is_clean: bool) -> Log:
        self.directory.mkdir(parents=True, exist_ok=True)
        config = LogConfig(segment_bytes=SEGMENT_BYTES)
        return load_log(self._env, str(self.directory), TopicPartition("benchmark", 0), config, is_clean=is_clean)


def _fail(_directory: str, error: Exception) -> None:
    raise error
