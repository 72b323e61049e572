"""The disk of an embedded node: what fails, and what a power cut leaves."""

from __future__ import annotations

import errno

import pytest

from odradek.storage.memory_files import MemoryFileSystem
from odradek.testing.disk import Disk, DiskFault


def test_a_power_cut_leaves_what_was_synced_under_whatever_name() -> None:
    memory, disk = MemoryFileSystem(), Disk()
    files = disk.files(memory)
    files.mkdir("/d")
    for name, count in (("/d/none", 0), ("/d/some", 2), ("/d/all", 4)):
        file = files.open(name, create=True)
        file.pwrite(b"abcd"[:count], 0)
        if count:
            file.sync()
        file.pwrite(b"abcd"[count:], count)
    files.write_atomically("/d/whole", b"abcd")
    renamed = files.open("/d/renamed", create=True)
    files.rename("/d", "/e")
    renamed.pwrite(b"abcd", 0)
    renamed.sync()
    removed = files.open("/e/removed", create=True)
    removed.pwrite(b"abcd", 0)
    files.remove("/e/removed")
    disk.lose_unsynced(memory)
    assert {name: memory.read(f"/e/{name}") for name in memory.list("/e")} == {
        "none": b"", "some": b"ab", "all": b"abcd", "whole": b"abcd", "renamed": b"abcd",
    }  # fmt: skip


def test_files_of_before_count_as_synced() -> None:
    memory = MemoryFileSystem()
    memory.open("/old", create=True).pwrite(b"abcd", 0)
    disk = Disk()
    disk.files(memory).open("/old", create=True).pwrite(b"ef", 4)
    disk.lose_unsynced(memory)
    assert memory.read("/old") == b"abcdef"


def test_a_full_disk_is_read_and_takes_nothing_of_the_topic() -> None:
    disk, hits = Disk(), list[bool]()
    files = disk.files(MemoryFileSystem())
    for directory in ("/t-0", "/t-0-x", "/other-0"):
        files.mkdir(directory)
    file, other = files.open("/t-0/log", create=True), files.open("/other-0/log", create=True)
    file.pwrite(b"abcd", 0)
    disk.fail("f", DiskFault(errno.ENOSPC, "t", lambda: hits.append(True)))
    assert (file.pread(4, 0), other.pwrite(b"x", 0), len(hits), disk.has_failed) == (b"abcd", 1, 0, False)
    files.open("/t-0-x/log", create=True)
    for attempt in (
        lambda: file.pwrite(b"x", 4),
        lambda: file.pwritev([b"x"], 4),
        lambda: files.open("/t-0/index", create=True),
        lambda: files.write_atomically("/t-0/meta", b""),
        lambda: files.mkdir("/t-0/d"),
    ):
        with pytest.raises(OSError, match=r"\[Errno 28\]"):
            attempt()
    assert (len(hits), disk.has_failed) == (5, True)
    disk.mend("f")
    assert file.pwrite(b"x", 4) == 1
