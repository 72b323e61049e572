"""A swap that a crash interrupts: the next start has all of the old segments, or the new one, and no leftovers."""

from __future__ import annotations

import pytest

from odradek.ports.files import Buffer
from odradek.storage.cleaner.job import clean
from odradek.storage.cleaner.plan import CleanedSegment
from odradek.storage.file_names import CLEANED_SUFFIX, DELETED_SUFFIX, SWAP_SUFFIX
from odradek.storage.log_loader import load_log
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from tests.unit.storage.cleaner.support import (
    COMPACTED,
    CompactedDisk,
    Producer,
    all_records,
    committed_records,
    latest,
)
from tests.unit.storage.support import PARTITION, check_indexes, read_records


class PowerCut(BaseException):
    """Nothing after this happened."""


class CountingFiles(MemoryFileSystem):
    """Cuts the power before the n-th change of the directory."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.cut_before: int | None = None

    def _change(self) -> None:
        if self.changes == self.cut_before:
            raise PowerCut
        self.changes += 1

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        if create:
            self._change()
        return super().open(path, create=create, read_only=read_only)

    def rename(self, source: str, target: str) -> None:
        if self.exists(source):
            self._change()
        cut_before, self.cut_before = self.cut_before, None  # it is atomic
        try:
            super().rename(source, target)
        finally:
            self.cut_before = cut_before

    def remove(self, path: str) -> None:
        if self.exists(path) and self.cut_before is not None:
            self._change()
        super().remove(path)

    def write_atomically(self, path: str, data: Buffer) -> None:
        self._change()
        super().write_atomically(path, data)


def written(fs: MemoryFileSystem) -> CompactedDisk:
    """Three segments, with a transaction that was aborted, which become one."""
    disk = CompactedDisk(COMPACTED._replace(file_delete_delay_ms=10), fs)
    disk.write(("a", "1"), ("b", "1"))
    disk.write(("t", "1"), producer=Producer(7, 0, 0, is_transactional=True))
    disk.roll()
    disk.write(("a", "2"), ("c", "1"))
    disk.marker(7, 0, commit=False)
    disk.roll()
    disk.write(("b", "2"), ("d", "1"), producer=Producer(8, 0, 0))
    disk.write(("d", "2"))
    disk.roll()
    disk.log.flush()
    return disk


def clean_and_delete(disk: CompactedDisk) -> None:
    """A cleaning, and the end of its old files."""
    disk.clean()
    disk.clock.advance(10)


def changes_of_a_cleaning() -> int:
    fs = CountingFiles()
    disk = written(fs)
    fs.changes, fs.cut_before = 0, 1000
    clean_and_delete(disk)
    return fs.changes


CHANGES = changes_of_a_cleaning()


def test_a_swap_has_many_steps() -> None:
    assert CHANGES > 20


@pytest.mark.parametrize("cut_before", range(CHANGES))
def test_a_crash_at_any_step_loses_nothing_and_leaves_nothing(cut_before: int) -> None:
    fs = CountingFiles()
    disk = written(fs)
    before, table, end = disk.pairs(), latest(committed_records(disk.log)), disk.log.log_end_offset
    fs.changes, fs.cut_before = 0, cut_before
    with pytest.raises(PowerCut):
        clean_and_delete(disk)
    fs.cut_before = None
    log = disk.open(recovery_point=end, high_watermark=end)
    leftovers = (CLEANED_SUFFIX, SWAP_SUFFIX, DELETED_SUFFIX)
    assert not [name for name in disk.names() if name.endswith(leftovers)]
    after = disk.pairs()
    expected = [(2, "t", "1")] if len(after) == len(before) else []
    assert after in (before, [(3, "a", "2"), (4, "c", "1"), (6, "b", "2"), (8, "d", "2")])
    assert [pair for pair in after if pair[1] == "t"] == expected
    assert latest(committed_records(log)) == table
    assert log.log_end_offset == end
    entry = log.producers.entry(8)
    assert entry is not None
    assert entry.last_sequence == 1
    disk.clean()
    assert disk.pairs() == [(3, "a", "2"), (4, "c", "1"), (6, "b", "2"), (8, "d", "2")]
    log.close()
    assert check_indexes(disk) > 0


def test_a_crash_while_a_start_finishes_a_swap_is_put_right_by_the_next() -> None:
    fs = CountingFiles()
    disk = written(fs)
    end = disk.log.log_end_offset
    step = next(step for step in clean(fs, disk.plan()) if isinstance(step, CleanedSegment))
    fs.changes, fs.cut_before = 0, 5  # all is `.swap`, and the old files are there still
    with pytest.raises(PowerCut):
        disk.log.replace_segments(step)
    assert any(name.endswith(".log.swap") for name in disk.names())
    for cut_before in range(100):
        fs.changes, fs.cut_before = 0, cut_before
        try:
            disk.open(recovery_point=end, high_watermark=end)
        except PowerCut:
            continue
        break
    assert cut_before > 1
    assert disk.pairs() == [(3, "a", "2"), (4, "c", "1"), (6, "b", "2"), (8, "d", "2")]
    assert len(disk.log.segments) == 2


def test_readers_of_the_old_segment_are_not_harmed() -> None:
    disk = written(MemoryFileSystem())
    part = disk.log.read(0, max_bytes=1 << 20, max_offset=disk.log.log_end_offset, min_one_message=True)
    assert not isinstance(part.records, bytes)
    whole = part.records.read(0, part.size)
    disk.clean()
    disk.clock.advance(100)
    assert part.records.read(0, part.size) == whole
    part.records.release()
    assert [offset for offset, _ in read_records(disk.log, 0)] == [3, 4, 5, 6, 8]


def test_merged_segments_take_their_producer_snapshots_along() -> None:
    disk = written(MemoryFileSystem())
    assert [name for name in disk.names() if name.endswith(".snapshot")] == [
        f"{offset:020d}.snapshot" for offset in (3, 6, 9)
    ]
    disk.clean()
    disk.clock.advance(100)
    assert [name for name in disk.names() if name.endswith(".snapshot")] == [f"{9:020d}.snapshot"]
    assert len(disk.log.segments) == 2
    assert disk.log.segments.base_offsets() == [0, 9]
    assert disk.log.segments.first.max_timestamp_ms == max(record.timestamp_ms for record in all_records(disk.log))


def test_old_files_stay_until_the_delay_is_over() -> None:
    disk = written(MemoryFileSystem())
    disk.clean()
    assert len([name for name in disk.names() if name.endswith(DELETED_SUFFIX)]) == 3 * 3 + 1 + 2
    disk.clock.advance(9)
    assert any(name.endswith(DELETED_SUFFIX) for name in disk.names())
    disk.clock.advance(1)
    assert not any(name.endswith(DELETED_SUFFIX) for name in disk.names())


def test_a_gap_that_compaction_made_does_not_end_a_log_that_is_compacted_no_more() -> None:
    disk = CompactedDisk(COMPACTED._replace(segment_bytes=160))
    for pair in (("a", "1"), ("b", "1"), ("b", "2"), ("c", "1"), ("a", "2")):
        disk.write(pair)
    disk.clean()
    expected = disk.pairs()
    assert [offset for offset, _, _ in expected] == [0, 2, 3, 4]
    assert disk.log.segments.base_offsets() == [0, 2, 4]
    disk.config = disk.config._replace(cleanup_policy=("delete",))
    disk.log = load_log(
        disk.env, disk.directory, PARTITION, disk.config, high_watermark=5, cleaned_offset=disk.log.cleaned_offset
    )
    assert disk.pairs() == expected
