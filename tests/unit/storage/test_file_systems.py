"""The file system port: what holds in memory holds on the operating system's files, and the other way round."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from odradek.net import files
from odradek.net.files import OsFileSystem
from odradek.ports import FileSystem
from odradek.ports.files import Buffer
from odradek.storage.memory_files import MemoryFileSystem


@pytest.fixture(params=["memory", "operating system"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FileSystem, str]:
    fs: FileSystem = MemoryFileSystem() if request.param == "memory" else OsFileSystem()
    root = str(tmp_path / "root")
    fs.mkdir(root)
    return fs, root


def test_what_is_written_is_read_at_its_place(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    file = fs.open(f"{root}/f", create=True)
    assert file.pwrite(b"world", 6) == 5
    assert file.pwritev([b"hel", bytearray(b"lo"), memoryview(b" ")], 0) == 6
    assert (file.pread(100, 0), file.pread(3, 2), file.pread(5, 11)) == (b"hello world", b"llo", b"")
    assert (file.size(), fs.size(f"{root}/f"), fs.read(f"{root}/f")) == (11, 11, b"hello world")
    file.truncate(5)
    file.truncate(7)
    assert fs.read(f"{root}/f") == b"hello\0\0"
    file.sync()
    assert file.is_warm(7, 0)
    assert file.pread_warm(4, 2) == file.pread(4, 2)
    file.close()
    file.close()
    with pytest.raises(OSError, match=r"closed|descriptor"):
        file.pread(1, 0)


def test_a_file_open_for_reading_cannot_be_written(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    fs.open(f"{root}/f", create=True).close()
    file = fs.open(f"{root}/f", read_only=True)
    with pytest.raises(OSError, match=r"reading|descriptor"):
        file.pwrite(b"x", 0)
    file.close()


def test_what_is_missing_is_said_to_be_missing(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    for action in (fs.open, fs.read, fs.size, fs.list, fs.map, fs.sync_dir):
        with pytest.raises(FileNotFoundError):
            action(f"{root}/nothing")
    with pytest.raises(FileNotFoundError):
        fs.rename(f"{root}/nothing", f"{root}/something")
    with pytest.raises(FileNotFoundError):
        fs.open(f"{root}/nowhere/f", create=True)
    fs.remove(f"{root}/nothing")
    fs.remove_tree(f"{root}/nothing")
    assert not fs.exists(f"{root}/nothing")
    assert not fs.is_dir(f"{root}/nothing")


def test_an_open_file_outlives_its_name_and_follows_its_directory(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    fs.mkdir(f"{root}/a/b")
    file = fs.open(f"{root}/a/b/f", create=True)
    file.pwrite(b"kept", 0)
    fs.rename(f"{root}/a", f"{root}/c")
    assert fs.read(f"{root}/c/b/f") == b"kept"
    assert (fs.list(root), fs.list(f"{root}/c"), fs.is_dir(f"{root}/a")) == (["c"], ["b"], False)
    fs.remove_tree(f"{root}/c")
    assert fs.list(root) == []
    assert file.pread(4, 0) == b"kept"
    file.close()


def test_a_directory_does_not_go_into_itself(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    fs.mkdir(f"{root}/a")
    with pytest.raises(OSError, match=r"itself|argument"):
        fs.rename(f"{root}/a", f"{root}/a/b")
    assert (fs.list(root), fs.list(f"{root}/a")) == (["a"], [])


def test_a_rename_replaces_a_file(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    fs.write_atomically(f"{root}/one", b"1")
    fs.write_atomically(f"{root}/two", b"2")
    fs.rename(f"{root}/one", f"{root}/two")
    assert (fs.list(root), fs.read(f"{root}/two")) == (["two"], b"1")


def test_an_atomic_write_replaces_all_and_leaves_nothing_else(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    fs.write_atomically(f"{root}/f", b"a longer content")
    fs.write_atomically(f"{root}/f", bytearray(b"new"))
    assert (fs.read(f"{root}/f"), fs.list(root)) == (b"new", ["f"])


@pytest.mark.parametrize("content", [b"", b"mapped"])
def test_a_mapping_shows_the_file(place: tuple[FileSystem, str], content: bytes) -> None:
    fs, root = place
    fs.write_atomically(f"{root}/f", content)
    mapped = fs.map(f"{root}/f")
    assert bytes(mapped.view) == content
    mapped.close()


def test_names_are_sorted_and_directories_told_apart(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    for name in ("b", "a", "c"):
        fs.open(f"{root}/{name}", create=True).close()
    fs.mkdir(f"{root}/d")
    fs.mkdir(f"{root}/d")
    assert fs.list(root) == ["a", "b", "c", "d"]
    assert [fs.is_dir(f"{root}/{name}") for name in "ad"] == [False, True]


def test_only_real_files_have_descriptors_and_a_volume(place: tuple[FileSystem, str]) -> None:
    fs, root = place
    file = fs.open(f"{root}/f", create=True)
    is_real = isinstance(fs, OsFileSystem)
    assert (file.fileno() is not None) is is_real
    assert (fs.usable_bytes(root)[0] > 0) is is_real
    file.close()


def at_most(count: int) -> Callable[[int, Buffer, int], int]:
    """A write that takes so many bytes at a time, as a system call may."""
    return lambda fd, data, offset: os.pwrite(fd, memoryview(data)[:count], offset)


@pytest.mark.skipif(not hasattr(os, "pwritev"), reason="the platform has no pwritev")
def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OsFileSystem().open(str(tmp_path / "f"), create=True)
    monkeypatch.setattr(files, "_pwrite", at_most(3))
    monkeypatch.setattr(
        os, "pwritev", lambda fd, buffers, offset: os.pwrite(fd, memoryview(b"".join(buffers))[:4], offset)
    )
    assert file.pwrite(b"hello world", 2) == 11
    assert file.pwritev([b"HE", b"LLO ", b"WORLD"], 2) == 11
    assert file.pread(100, 0) == b"\0\0HELLO WORLD"
    monkeypatch.setattr(files, "_pwrite", at_most(0))
    with pytest.raises(OSError, match="no more bytes"):
        file.pwrite(b"x", 0)
    file.close()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_atomic_write_that_fails_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fs, path = OsFileSystem(), str(tmp_path / "f")
    fs.write_atomically(path, b"old")

    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(OSError, match="no space"):
            fs.write_atomically(path, b"new")
    assert fs.read(path) == b"old"
    fs.write_atomically(path, b"newer")
    assert fs.read(path) == b"newer"
