"""The operating system's files: what Windows refuses while somebody has a file open, and deleting large ones."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from odradek.net import files
from odradek.net.files import OsFileSystem


class Busy:
    """Files are open for the first `attempts` to change one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
        self.attempts = attempts
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setattr(files, "_BUSY_PAUSE_S", 0.0)
        for name in ("replace", "unlink"):
            self._patch(monkeypatch, name)

    def _patch(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def change(*paths: str) -> None:
            if self.attempts:
                self.attempts -= 1
                raise PermissionError(13, "in use")
            real(*paths)

        monkeypatch.setattr(os, name, change)


def test_a_file_that_is_open_for_a_moment_is_renamed_and_deleted_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("content")
    busy = Busy(monkeypatch, 3)
    OsFileSystem().rename(str(source), str(target))
    assert not source.exists()
    assert target.read_text() == "content"
    busy.attempts = 3
    OsFileSystem().write_atomically(str(target), b"other")
    assert target.read_text() == "other"
    busy.attempts = 3
    OsFileSystem().remove(str(target))
    assert not target.exists()


def test_one_that_stays_open_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    Busy(monkeypatch, 1_000_000)
    with pytest.raises(PermissionError):
        OsFileSystem().remove(str(tmp_path / "file"))


def test_elsewhere_a_refusal_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    busy = Busy(monkeypatch, 1)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(PermissionError):
        OsFileSystem().remove(str(tmp_path / "file"))
    assert busy.attempts == 0


def test_a_large_file_is_deleted_under_those_who_read_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    path = tmp_path / "large"
    path.write_bytes(b"x" * (5 << 20))
    fs = OsFileSystem()
    file = fs.open(str(path))
    file.sync()
    fs.remove_gradually(str(path))
    assert not path.exists()
    assert file.pread(1, (5 << 20) - 1) == b"x"
    file.close()
    if hasattr(os, "posix_fadvise"):
        assert len(pauses) == 5, "others get the processor after each MiB"
    fs.remove_gradually(str(path))  # gone already
