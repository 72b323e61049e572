"""Files that are on a disk until somebody reads them in the background; the state machines' thread may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from odradek.ports import Promise
from odradek.ports.files import Buffer
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem, MemoryMappedFile
from tests.unit.fakes import FakeWorld

T = TypeVar("T")
PAGE_BYTES = 4096


class ColdWorld(FakeWorld):
    """A world that knows whether background work is running."""

    def __init__(self) -> None:
        super().__init__()
        self.in_background = False
        self.works = 0

    def submit(self, work: Callable[[], T]) -> Promise[T]:
        def run() -> T:
            self.in_background = True
            self.works += 1
            try:
                return work()
            finally:
                self.in_background = False

        return super().submit(run)


class ColdFile(MemoryFile):
    """An open file of `ColdFileSystem`."""

    def __init__(self, file: MemoryFile, disk: ColdFileSystem) -> None:
        assert file._node is not None
        super().__init__(file.path, file._node, file._read_only)
        self._disk = disk

    def pread(self, size: int, offset: int) -> bytes:
        self._disk.touch(self._pages(size, offset), f"{size} bytes at {offset} of {self.path}")
        return super().pread(size, offset)

    def pread_warm(self, size: int, offset: int) -> bytes | None:
        there = 0
        for page in self._pages(size, offset):
            if page not in self._disk.warm:
                break
            there = (page[1] + 1) * PAGE_BYTES - offset
        return super().pread(min(there, size), offset) if there else None

    def is_warm(self, size: int, offset: int) -> bool:
        return all(page in self._disk.warm for page in self._pages(size, offset))

    def pwrite(self, data: Buffer, offset: int) -> int:
        self._disk.warm.update(self._pages(len(data), offset))
        return super().pwrite(data, offset)

    def _pages(self, size: int, offset: int) -> list[tuple[int, int]]:
        end = min(offset + size, self.size())
        return [(id(self._node), number) for number in range(offset // PAGE_BYTES, -(-end // PAGE_BYTES))]


class ColdFileSystem(MemoryFileSystem):
    """What is cold and read in the foreground is a failure of the test."""

    def __init__(self, world: ColdWorld) -> None:
        super().__init__()
        self._world = world
        self.warm: set[object] = set()

    @property
    def knows_page_cache(self) -> bool:
        return True

    def touch(self, pages: list[tuple[int, int]], what: str) -> None:
        assert self._world.in_background or self.warm.issuperset(pages), f"{what}: the loop waited for the disk"
        self.warm.update(pages)

    def evict(self) -> None:
        """Nothing is in memory any more."""
        self.warm.clear()

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> ColdFile:
        return ColdFile(super().open(path, create=create, read_only=read_only), self)

    def map(self, path: str) -> MemoryMappedFile:
        assert self._world.in_background or path in self.warm, f"{path}: the loop waited for the disk"
        self.warm.add(path)
        return super().map(path)
