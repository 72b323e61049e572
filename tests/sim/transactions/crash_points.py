"""A disk that remembers what every crash would have left."""

from __future__ import annotations

import copy
from collections.abc import Callable

from odradek.ports.files import Buffer
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem


class WatchedFile(MemoryFile):
    """Tells of each write, once it is done."""

    __slots__ = ("written",)

    written: Callable[[], None]

    def pwrite(self, data: Buffer, offset: int) -> int:
        size = super().pwrite(data, offset)
        self.written()
        return size

    def truncate(self, size: int) -> None:
        super().truncate(size)
        self.written()


class CrashPoints(MemoryFileSystem):
    """Keeps a copy of itself behind every write while `is_watching`: what a process that was killed there left."""

    def __init__(self) -> None:
        super().__init__()
        self.is_watching = False
        self.copies: list[MemoryFileSystem] = []

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        super().open(path, create=create, read_only=read_only).close()
        file = WatchedFile(path, self._node(path), read_only)
        file.written = self._written
        return file

    def write_atomically(self, path: str, data: Buffer) -> None:
        super().write_atomically(path, data)
        self._written()

    def _written(self) -> None:
        if self.is_watching:
            copied = MemoryFileSystem()
            copied._files = copy.deepcopy(self._files)
            copied._dirs = copy.deepcopy(self._dirs)
            self.copies.append(copied)
