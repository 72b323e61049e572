"""Ranges of a real log on their way to real sockets, while the log changes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from odradek.net import output
from odradek.net.files import OsFileSystem
from odradek.net.page_cache import KNOWS_PAGE_CACHE, is_cached
from odradek.ports.network import ConnectionInfo, Reply
from odradek.storage.log_config import LogConfig
from odradek.storage.segment_file import FileRange
from tests.unit.net.conftest import Run
from tests.unit.net.harness import Node, framed
from tests.unit.storage.support import Disk

BATCHES = 300
BATCH_BYTES = 16_000
SEGMENT_BYTES = 4_000_000
PART_BYTES = 3_000_000
"""More than any socket buffer: the rest of it is still in the file when the log changes."""

KEPT_BATCHES = 120
"""What of them stays when the log is cut: more than a socket takes at once, for that is out of our hands."""


class StoredLog:
    """A log of two segments on a real disk, and a handler that answers each request with a range of the first."""

    def __init__(self, directory: Path) -> None:
        config = LogConfig(segment_bytes=SEGMENT_BYTES, index_interval_bytes=4096)
        self.disk = Disk(config, OsFileSystem(), str(directory / "topic-0"))
        for number in range(BATCHES):
            self.disk.append(os.urandom(8) + b"%d" % number + b"." * BATCH_BYTES)
        self.log = self.disk.log
        assert len(self.log.segments) == 2
        self.content = Path(self.log.segments.first.log.path).read_bytes()[:PART_BYTES]

    def answer(self, _info: ConnectionInfo, frame: memoryview) -> Reply:
        if bytes(frame) != b"read":
            return [bytes(frame)]
        end = self.log.log_end_offset
        records = self.log.read(0, max_bytes=PART_BYTES, max_offset=end, min_one_message=True).records
        assert isinstance(records, FileRange)
        return [records]


@pytest.fixture
def stored(tmp_path: Path) -> StoredLog:
    return StoredLog(tmp_path)


def delete(stored: StoredLog) -> None:
    stored.log.delete_oldest_segments(1)
    path = stored.log.segments.first.log.path
    stored.disk.clock.advance(stored.log.config.file_delete_delay_ms)
    assert os.listdir(stored.disk.directory).count(Path(path).name) == 1
    assert "00000000000000000000.log.deleted" not in os.listdir(stored.disk.directory)


def truncate(stored: StoredLog) -> None:
    stored.log.truncate_to(KEPT_BATCHES)
    for _ in range(BATCHES):
        stored.disk.append(b"instead" * 2000)


def truncate_to_nothing(stored: StoredLog) -> None:
    stored.log.truncate_fully_and_start_at(10_000)
    stored.disk.clock.advance(stored.log.config.file_delete_delay_ms)


def release(stored: StoredLog) -> None:
    stored.log.release()


@pytest.mark.parametrize("sendfile", [True, False])
@pytest.mark.parametrize("change", [delete, truncate, truncate_to_nothing, release])
def test_a_reader_gets_what_it_was_promised_whatever_happens_to_the_log(
    run: Run,
    stored: StoredLog,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[StoredLog], None],
    sendfile: bool,
) -> None:
    monkeypatch.setattr(output, "_HAS_SENDFILE", sendfile and hasattr(os, "sendfile"))

    async def scenario(node: Node) -> None:
        listener = node.listen(stored.answer)
        readers = [await node.connect(listener, receive_buffer_bytes=16_384) for _ in range(2)]
        other = await node.connect(listener)
        for reader in readers:
            await reader.send(framed(b"read"))
            assert await reader.read(4) == PART_BYTES.to_bytes(4, "big")
        assert stored.disk.pool.held == 1
        change(stored)
        assert await other.ask(b"fine") == b"fine"
        for reader in readers:
            assert await reader.read(PART_BYTES) == stored.content
            assert await reader.ask(b"and on") == b"and on"
        assert stored.disk.pool.held == 0
        sent = node.network.counters()
        assert (sent.sendfile_bytes > 0) is (sendfile and hasattr(os, "sendfile"))

    run(scenario)


def test_a_reader_that_goes_lets_go_of_a_deleted_segment(run: Run, stored: StoredLog) -> None:
    async def scenario(node: Node) -> None:
        listener = node.listen(stored.answer)
        reader = await node.connect(listener, receive_buffer_bytes=16_384)
        await reader.send(framed(b"read"))
        await reader.read(4)
        delete(stored)
        pool = stored.disk.pool
        open_files = len(pool)
        assert pool.held == 1
        reader.reset()
        other = await node.connect(listener)
        while node.network.connections > 1:
            await other.ask(b"still here")
        assert (pool.held, len(pool)) == (0, open_files - 1)

    run(scenario)


@pytest.mark.skipif(not KNOWS_PAGE_CACHE, reason="this system does not tell what is in memory")
def test_evicted_pages_are_told_from_those_in_memory(stored: StoredLog) -> None:
    path = stored.log.segments.first.log.path
    stored.log.close()
    file = OsFileSystem().open(path)
    descriptor = file.fileno()
    assert descriptor is not None
    with contextlib.closing(file):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if is_cached(descriptor, 1 << 20, 0):
            pytest.skip("this file system keeps its pages")
        assert file.pread_warm(100, 0) is None
        page = os.pread(descriptor, 100, 2_000_000)
        assert file.pread_warm(100, 2_000_000) == page
        assert not file.is_warm(2_000_100, 0)
        file.pread(1 << 21, 0)
        assert file.is_warm(1 << 21, 0)


@pytest.mark.skipif(not KNOWS_PAGE_CACHE, reason="this system does not tell what is in memory")
def test_pages_found_in_memory_are_taken_to_stay_there_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    size = 3 << 20
    path = tmp_path / "content"
    path.write_bytes(bytes(size))
    now_s = 5.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    file = OsFileSystem().open(str(path))
    descriptor = file.fileno()
    assert descriptor is not None
    with contextlib.closing(file):
        file.sync()
        assert file.is_warm(1 << 20, 0)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if is_cached(descriptor, 1 << 20, 0):
            pytest.skip("this file system keeps its pages")
        assert file.is_warm(1 << 20, 2 << 20)
        now_s += 1
        assert not file.is_warm(1 << 20, 2 << 20)
        file.pread(1 << 20, 0)
        assert file.is_warm(1 << 20, 0)
