"""Runs ``odradek`` with no more than Windows or macOS would give it.

``python -m tests.support.other_platform windows|macos serve ...``. What Python does not have there is taken away, and
on "Windows" a file that is open, or a directory that holds one, can neither be renamed nor deleted. What those systems
do otherwise, such as the errors of their sockets, is not shown by it.
"""

from __future__ import annotations

import asyncio
import fcntl
import mmap
import os
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click  # noqa: F401 # before it looks at the platform: it would want Windows' console

LINUX_ONLY = ("RWF_NOWAIT", "posix_fadvise", "posix_fallocate", "sched_getaffinity", "sched_setaffinity", "eventfd")
POSIX_ONLY = ("pread", "preadv", "pwrite", "pwritev", "sendfile", "O_CLOEXEC", "O_DIRECTORY", "geteuid")
POSIX_MODULES = ("fcntl", "resource", "pwd", "grp", "uvloop")


class OpenFiles:
    """Which paths are open, by descriptor or mapping, so that changing them can be refused as on Windows."""

    def __init__(self) -> None:
        self._paths: dict[int, str] = {}
        self._open, self._close, self._mmap = os.open, os.close, mmap.mmap

    def open(self, path: str, flags: int, mode: int = 0o777, **rest: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", path)
        fd = self._open(path, flags, mode, **rest)
        self._paths[fd] = str(Path(path).absolute())
        return fd

    def close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        self._close(fd)

    def map(self, fd: int, *arguments: Any, **named: Any) -> mmap.mmap:
        files, path = self, self._paths[fd]

        class Mapped(self._mmap):  # type: ignore[name-defined,misc] # the class that it replaces
            def close(self) -> None:
                super().close()
                files._paths.pop(-id(self), None)

        mapped = Mapped(fd, *arguments, **named)
        self._paths[-id(mapped)] = path
        return mapped

    def refusing(self, change: Callable[..., None]) -> Callable[..., None]:
        """`change`, which takes a path first, unless something there is open."""

        def changed(path: str | Path, *arguments: Any, **named: Any) -> None:
            where = str(Path(path).absolute())
            if any(other == where or other.startswith(f"{where}/") for other in self._paths.values()):
                raise PermissionError(13, "The process cannot access the file because it is being used", str(path))
            change(path, *arguments, **named)

        return changed


def become_windows() -> None:
    """Take away what Windows does not have."""
    files = OpenFiles()
    lock = fcntl.lockf

    def locking(fd: int, _mode: int, _size: int) -> None:
        lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    msvcrt = types.ModuleType("msvcrt")
    vars(msvcrt).update(LK_NBLCK=2, locking=locking)
    sys.modules["msvcrt"] = msvcrt
    _without(os, *LINUX_ONLY, *POSIX_ONLY)
    for name in POSIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment] # importing it fails

    def add_signal_handler(*_arguments: object) -> None:
        raise NotImplementedError

    _replace(asyncio.SelectorEventLoop, "add_signal_handler", add_signal_handler)
    _replace(shutil, "_use_fd_functions", False)
    _replace(shutil, "rmtree", files.refusing(shutil.rmtree))
    for name in ("rename", "replace", "unlink", "remove", "rmdir"):
        _replace(os, name, files.refusing(getattr(os, name)))
    _replace(os, "open", files.open)
    _replace(os, "close", files.close)
    _replace(mmap, "mmap", files.map)
    sys.platform = "win32"

    from odradek.net import output, reading

    _replace(output, "_HAS_SENDMSG", False)
    _replace(reading, "_HAS_SCATTER", False)


def become_macos() -> None:
    """Take away what macOS does not have, uvloop included: there it can be missing."""
    _without(os, *LINUX_ONLY)
    sys.modules["uvloop"] = None  # type: ignore[assignment] # importing it fails
    _replace(fcntl, "F_FULLFSYNC", 51)
    sys.platform = "darwin"


def _without(module: types.ModuleType, *names: str) -> None:
    for name in names:
        vars(module).pop(name, None)


def _replace(owner: object, name: str, value: object) -> None:
    setattr(owner, name, value)


if __name__ == "__main__":
    {"windows": become_windows, "macos": become_macos}[sys.argv.pop(1)]()
    from odradek.cli import main

    main()
