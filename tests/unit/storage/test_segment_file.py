"""A segment's file takes room on the disk ahead of what is written, and keeps none of it once it is sealed."""

from __future__ import annotations

import pytest

from odradek.storage.file_pool import FilePool
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.storage.segment_file import RESERVED_BYTES, SegmentFile

MIB = 1 << 20
PATH = "/log"


class ReservingFile(MemoryFile):
    """Has what is asked for, if its file system does."""

    __slots__ = ("fs",)

    fs: ReservingFileSystem

    def reserve(self, offset: int, size: int) -> bool:
        self.fs.asked.append((offset, size))
        if self.fs.grants:
            self.fs.reserved_to = offset + size
        return self.fs.grants

    def truncate(self, size: int) -> None:
        super().truncate(size)
        self.fs.truncations.append(size)
        self.fs.reserved_to = 0


class ReservingFileSystem(MemoryFileSystem):
    """In memory, with one file."""

    def __init__(self, *, grants: bool) -> None:
        super().__init__()
        self.grants = grants
        self.asked: list[tuple[int, int]] = []
        self.reserved_to = 0
        self.truncations: list[int] = []
        super().open(PATH, create=True)

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        opened = super().open(path, create=create, read_only=read_only)
        assert opened._node is not None
        file = ReservingFile(path, opened._node, read_only)
        file.fs = self
        return file


def new(*, grants: bool = True) -> tuple[ReservingFileSystem, SegmentFile]:
    fs = ReservingFileSystem(grants=grants)
    return fs, SegmentFile(FilePool(fs), PATH, 0)


def test_there_is_always_room_ahead_of_large_writes_but_for_the_first() -> None:
    fs, log = new()
    for count in range(1, 41):
        log.append(bytes(MIB // 2), bytes(MIB // 2))
        if count > 2:
            assert log.size + RESERVED_BYTES // 2 <= fs.reserved_to <= log.size + RESERVED_BYTES
        else:
            assert fs.reserved_to == 0
    assert len(fs.asked) <= 20


def test_who_gets_nothing_asks_no_more_often() -> None:
    fs, log = new(grants=False)
    for _ in range(40):
        log.append(bytes(MIB))
    assert 10 <= len(fs.asked) <= 20
    assert fs.asked == [(end, RESERVED_BYTES) for end, _ in fs.asked]


@pytest.mark.parametrize("evicted", [False, True])
def test_sealing_gives_back_what_was_reserved_and_cuts_nothing_off(evicted: bool) -> None:
    fs, log = new()
    for _ in range(9):
        log.append(b"x" * MIB)
    assert fs.reserved_to > log.size
    if evicted:
        log.close()
    log.cut_leftovers()
    assert (fs.reserved_to, fs.truncations, fs.read(PATH)) == (0, [9 * MIB], b"x" * (9 * MIB))
    log.cut_leftovers()
    assert len(fs.truncations) == 1


def test_where_nothing_was_reserved_sealing_leaves_the_file_alone() -> None:
    fs, log = new(grants=False)
    for _ in range(9):
        log.append(b"x" * MIB)
    log.cut_leftovers()
    assert fs.truncations == []


def test_after_truncation_it_begins_anew() -> None:
    fs, log = new()
    for _ in range(9):
        log.append(bytes(MIB))
    log.truncate(MIB)
    assert fs.reserved_to == 0
    log.cut_leftovers()
    assert fs.truncations == [MIB]
    fs.asked.clear()
    for _ in range(3):
        log.append(bytes(MIB))
    assert fs.asked == [(4 * MIB, RESERVED_BYTES)]


def test_a_long_file_that_is_opened_reserves_nothing_for_a_short_write() -> None:
    fs, log = new()
    log.append(bytes(9 * MIB))
    fs.asked.clear()
    reopened = SegmentFile(FilePool(fs), PATH, log.size)
    reopened.append(b"short")
    assert fs.asked == []
