"""The disk of an embedded node, which can be full or fail."""

from __future__ import annotations

import errno
import os
import re
import weakref
from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.ports import FileSystem
from odradek.ports.files import Buffer, File, MappedFile


class DiskFault(NamedTuple):
    """What fails, and how."""

    error: int
    """An `errno`: with ENOSPC what takes more space fails, with any other everything does."""
    topic: str | None
    """Only files of this topic; None: all."""
    on_hit: Callable[[], None]
    """Called whenever something fails, on any thread."""

    def concerns(self, path: str) -> bool:
        """Whether a file is one that fails."""
        return self.topic is None or re.search(rf"/{re.escape(self.topic)}-\d+(\.|/|$)", path) is not None


class Disk:
    """All files of a node, over all its starts. Faults are given on the loop's thread, and files used on any."""

    def __init__(self) -> None:
        self.has_failed = False
        """Whether anything has failed since all was well."""
        self._faults: dict[str, DiskFault] = {}
        self._open: weakref.WeakSet[_File] = weakref.WeakSet()
        self._contents: dict[str, _Content] = {}
        """Of the files that were created here, by their present names."""

    def files(self, files: FileSystem) -> FileSystem:
        """What the node is given in place of these files."""
        return _Files(files, self)

    def fail(self, fault_id: str, fault: DiskFault) -> None:
        """Let it fail from now on."""
        self._faults = {**self._faults, fault_id: fault}

    def mend(self, fault_id: str) -> None:
        """Let it fail no more; one that does not is fine."""
        self._faults = {each: fault for each, fault in self._faults.items() if each != fault_id}

    def mend_all(self) -> None:
        """Let nothing fail."""
        self._faults = {}
        self.has_failed = False

    def opened(self, file: _File) -> None:
        """For its files."""
        self._open.add(file)

    def close_files(self) -> None:
        """As the system does for a process that has ended."""
        for file in list(self._open):
            file.close()
        self._open.clear()

    def lose_unsynced(self, files: FileSystem) -> None:
        """What a power cut leaves of the node's files: of each the part that was there when it was synced last.

        What was written in the middle of a file is kept, and names, too: a disk may lose those, and need not.
        """
        for path, content in self._contents.items():
            if files.exists(path) and files.size(path) > content.synced_bytes:
                file = files.open(path)
                file.truncate(content.synced_bytes)
                file.close()

    def content(self, path: str, *, is_new: bool) -> _Content:
        """For its files: what is opened under this name."""
        if is_new:
            self._contents[path] = _Content()
        return self._contents.get(path) or _Content()

    def renamed(self, source: str, target: str) -> None:
        """For its files: this one has another name, or all in this directory."""
        for path in self._under(source):
            self._contents[target + path[len(source) :]] = self._contents.pop(path)

    def removed(self, path: str) -> None:
        """For its files: this one is gone, or all in this directory."""
        for each in self._under(path):
            del self._contents[each]

    def _under(self, path: str) -> list[str]:
        return [each for each in self._contents if each == path or each.startswith(f"{path}/")]

    def check(self, path: str, *, takes_space: bool) -> None:
        """Raise OSError if this is to fail."""
        if not self._faults:
            return
        for fault in self._faults.values():
            if (takes_space or fault.error != errno.ENOSPC) and fault.concerns(path):
                self.has_failed = True
                fault.on_hit()
                raise OSError(fault.error, os.strerror(fault.error), path)


class _Content:
    """What is in a file, whatever it is called."""

    __slots__ = ("synced_bytes",)

    def __init__(self) -> None:
        self.synced_bytes = 0


class _File:
    __slots__ = ("__weakref__", "_content", "_disk", "_file", "fileno", "is_warm", "path", "reserve")

    def __init__(self, file: File, disk: Disk, content: _Content) -> None:
        self._content = content
        self._file = file
        self._disk = disk
        self.path = file.path
        self.fileno = file.fileno
        self.is_warm = file.is_warm
        self.reserve = file.reserve
        disk.opened(self)

    def size(self) -> int:
        return self._file.size()

    def pread(self, size: int, offset: int) -> bytes:
        self._disk.check(self.path, takes_space=False)
        return self._file.pread(size, offset)

    def pread_warm(self, size: int, offset: int) -> Buffer | None:
        self._disk.check(self.path, takes_space=False)
        return self._file.pread_warm(size, offset)

    def pwrite(self, data: Buffer, offset: int) -> int:
        self._disk.check(self.path, takes_space=True)
        return self._file.pwrite(data, offset)

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        self._disk.check(self.path, takes_space=True)
        return self._file.pwritev(buffers, offset)

    def truncate(self, size: int) -> None:
        self._disk.check(self.path, takes_space=False)
        self._file.truncate(size)

    def sync(self) -> None:
        self._disk.check(self.path, takes_space=False)
        size = self._file.size()
        self._file.sync()
        self._content.synced_bytes = size

    def close(self) -> None:
        self._file.close()


class _Files:
    """A `FileSystem`."""

    def __init__(self, files: FileSystem, disk: Disk) -> None:
        self._files = files
        self._disk = disk
        self.exists = files.exists
        self.is_dir = files.is_dir
        self.list = files.list
        self.size = files.size
        self.usable_bytes = files.usable_bytes

    @property
    def max_open_files(self) -> int:
        return self._files.max_open_files

    @property
    def knows_page_cache(self) -> bool:
        return self._files.knows_page_cache

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        is_new = create and not self._files.exists(path)
        self._disk.check(path, takes_space=is_new)
        file = self._files.open(path, create=create, read_only=read_only)
        return _File(file, self._disk, self._disk.content(path, is_new=is_new))

    def map(self, path: str) -> MappedFile:
        self._disk.check(path, takes_space=False)
        return self._files.map(path)

    def read(self, path: str) -> bytes:
        self._disk.check(path, takes_space=False)
        return self._files.read(path)

    def write_atomically(self, path: str, data: Buffer) -> None:
        self._disk.check(path, takes_space=True)
        self._files.write_atomically(path, data)
        self._disk.removed(path)

    def mkdir(self, path: str) -> None:
        self._disk.check(path, takes_space=not self._files.exists(path))
        self._files.mkdir(path)

    def rename(self, source: str, target: str) -> None:
        self._disk.check(source, takes_space=False)
        self._files.rename(source, target)
        self._disk.removed(target)
        self._disk.renamed(source, target)

    def remove(self, path: str) -> None:
        self._disk.check(path, takes_space=False)
        self._files.remove(path)
        self._disk.removed(path)

    def remove_gradually(self, path: str) -> None:
        self._disk.check(path, takes_space=False)
        self._files.remove_gradually(path)
        self._disk.removed(path)

    def remove_tree(self, path: str) -> None:
        self._disk.check(path, takes_space=False)
        self._files.remove_tree(path)
        self._disk.removed(path)

    def sync_dir(self, path: str) -> None:
        self._disk.check(path, takes_space=False)
        self._files.sync_dir(path)
