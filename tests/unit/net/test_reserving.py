"""Blocks that are reserved for a fast writer change nothing that can be read, and are given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from odradek.net.files import OsFile, OsFileSystem
from odradek.net.reserving import Reserver, reserver

SIZE = 4 << 20
CONTENT = b"what is there"


class Kernel:
    """Takes as long as the test says."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.takes_s = 0.0
        self.answer = True
        self.asked: list[tuple[int, int, int]] = []

    def allocate(self, fd: int, offset: int, size: int) -> bool:
        self.asked.append((fd, offset, size))
        self.now_s += self.takes_s
        return self.answer

    def clock(self) -> float:
        return self.now_s


def opened(directory: Path) -> OsFile:
    file = OsFileSystem().open(str(directory / "file"), create=True)
    file.pwrite(CONTENT, 0)
    return file


def blocks_bytes(file: OsFile) -> int:
    descriptor = file.fileno()
    assert descriptor is not None
    return getattr(os.fstat(descriptor), "st_blocks", 0) * 512


def has_blocks_to_reserve(directory: Path) -> bool:
    """Whether this system and the file system of the directory are of those where it is done."""
    reserves = reserver()
    if reserves is None:
        return False
    with (directory / "other").open("wb") as other:
        return reserves(other.fileno(), 0, SIZE)


def test_a_kernel_that_is_quick_is_asked_each_time() -> None:
    kernel = Kernel()
    reserves = Reserver(kernel.allocate, kernel.clock)
    assert reserves(7, 100, 200)
    kernel.answer = False
    assert not reserves(8, 300, 400)
    assert kernel.asked == [(7, 100, 200), (8, 300, 400)]


def test_a_kernel_that_takes_long_is_left_alone_for_a_minute() -> None:
    kernel = Kernel()
    reserves = Reserver(kernel.allocate, kernel.clock)
    kernel.takes_s = 0.01
    assert reserves(7, 0, SIZE)
    kernel.takes_s = 0.0
    kernel.now_s += 59
    assert not reserves(7, SIZE, SIZE)
    kernel.now_s += 2
    assert reserves(7, SIZE, SIZE)
    assert len(kernel.asked) == 2


def test_who_asks_again_soon_has_blocks_behind_the_end_and_truncation_gives_them_back(tmp_path: Path) -> None:
    file = opened(tmp_path)
    before = blocks_bytes(file)
    assert not file.reserve(len(CONTENT), SIZE)
    assert blocks_bytes(file) == before
    reserved = file.reserve(len(CONTENT), SIZE)
    assert reserved is has_blocks_to_reserve(tmp_path)
    assert reserved is (blocks_bytes(file) > before)
    assert reserved is (blocks_bytes(file) >= SIZE)
    assert (file.size(), file.pread(100, 0)) == (len(CONTENT), CONTENT)
    file.truncate(len(CONTENT))
    assert blocks_bytes(file) < SIZE
    assert (file.size(), file.pread(100, 0)) == (len(CONTENT), CONTENT)
    file.close()


def test_who_asks_seldom_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("odradek.net.files.time.monotonic", lambda: now_s)
    file = opened(tmp_path)
    for _ in range(3):
        assert not file.reserve(len(CONTENT), SIZE)
        now_s += 1.1
    assert blocks_bytes(file) < SIZE
    file.close()


def test_what_is_written_into_reserved_blocks_is_read_back(tmp_path: Path) -> None:
    file = opened(tmp_path)
    end = len(CONTENT)
    for _ in range(2):
        file.reserve(end, SIZE)
    data = os.urandom(SIZE + 1000)
    file.pwrite(data, end)
    assert (file.size(), file.pread(2 * SIZE, 0)) == (end + len(data), CONTENT + data)
    file.close()


def test_a_file_that_cannot_have_blocks_is_refused(tmp_path: Path) -> None:
    reserves = reserver()
    if reserves is None:
        pytest.skip("this system has no fallocate")
    reading, writing = os.pipe()
    try:
        assert not reserves(writing, 0, SIZE)
    finally:
        os.close(reading)
        os.close(writing)
    (tmp_path / "file").write_bytes(CONTENT)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert not reserves(descriptor, 0, SIZE)
    finally:
        os.close(descriptor)
