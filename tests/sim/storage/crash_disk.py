"""A disk that loses what was not synced when the power goes, page by page."""

from __future__ import annotations

import random

from odradek.ports.files import Buffer
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem

PAGE_BYTES = 64
"""Small, so that a batch is many pages."""


class CrashFile(MemoryFile):
    """Remembers what its file would hold after a power cut."""

    __slots__ = ("durable",)

    durable: bytearray

    def sync(self) -> None:
        super().sync()
        self.durable[:] = self.pread(self.size(), 0)

    def truncate(self, size: int) -> None:
        super().truncate(size)
        del self.durable[size:]


class CrashDisk(MemoryFileSystem):
    """Names and truncations are durable at once, as in a journal; written bytes are when their file is synced."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._durable: dict[object, bytearray] = {}
        self._random = random.Random(seed)

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        super().open(path, create=create, read_only=read_only).close()
        node = self._node(path)
        file = CrashFile(path, node, read_only)
        file.durable = self._durable.setdefault(node, bytearray())
        return file

    def write_atomically(self, path: str, data: Buffer) -> None:
        super().write_atomically(path, data)
        self._durable[self._node(path)] = bytearray(data)

    def lose_power(self) -> None:
        """Each page that was not synced is as it was before, as it was to be, or zeros."""
        for node in self._files.values():
            before = self._durable.setdefault(node, bytearray())
            wanted = bytes(node.data)
            size = self._random.choice([len(before), len(wanted), self._random.randint(0, max(len(wanted), 1))])
            size = min(max(size, len(before)), len(wanted)) if len(wanted) >= len(before) else len(wanted)
            after = bytearray()
            for start in range(0, size, PAGE_BYTES):
                end = min(start + PAGE_BYTES, size)
                old, new = bytes(before[start:end]).ljust(end - start, b"\0"), wanted[start:end]
                after += new if old != new and self._random.random() < 0.7 else old
            node.data[:] = after
            before[:] = after
