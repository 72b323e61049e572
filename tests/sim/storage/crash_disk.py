"""A disk with a page cache, which loses what was not synced when the power goes, and fails when told to.

A power cut decides page by page what is left of a file: each page is as it was synced last, or as it is now. Of the
changes to a directory's names those survive that were synced, and as many of the later ones, in their order, as a
journal may have taken. Nothing is durable by itself: a file's sync does not make its name durable, nor a directory's
sync a file's content.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from odradek.ports.files import Buffer

PAGE_BYTES = 64
"""Small, so that a batch is many pages."""


class PowerCut(BaseException):
    """The machine is off: whatever was being done to the disk goes no further."""


class Fault(NamedTuple):
    """What goes wrong below a path from now on."""

    path: str
    code: int
    """EIO: nothing can be done. ENOSPC: nothing can grow or get a new name."""
    only_sync: bool = False
    """Writes work, and syncing does not."""


class _Content:
    """A file's bytes, as processes see them and as the disk has them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.dirty: dict[int, None] = {}
        """Pages that were written since the last sync, in order."""
        self.is_resized = False

    def touch(self, start: int, end: int) -> None:
        """Bytes [start, end) were written."""
        for page in range(start // PAGE_BYTES, -(-end // PAGE_BYTES)):
            self.dirty[page] = None

    def sync(self) -> None:
        """All that was written since the last sync is durable."""
        data, durable, size = self.data, self.durable, len(self.data)
        if not self.dirty and size == len(durable):
            self.is_resized = False
            return
        if size < len(durable):
            del durable[size:]
        elif size > len(durable):
            durable.extend(bytes(size - len(durable)))
        for page in self.dirty:
            start = page * PAGE_BYTES
            durable[start : start + PAGE_BYTES] = data[start : start + PAGE_BYTES]
        self.dirty.clear()
        self.is_resized = False

    def lose(self, random_: random.Random) -> None:
        """The power went, or a sync failed: each dirty page is on the disk or is not."""

        size = len(self.durable)
        if self.is_resized:
            size = random_.choice([size, len(self.data), random_.randint(*sorted((size, len(self.data))))])
        self._settle(lambda old, new: random_.choice([old, new, new]), size)

    def forget_cache(self) -> None:
        """Processes see what the disk has."""
        self.data = bytearray(self.durable)

    def _settle(self, merge: Callable[[bytes, bytes], bytes], size: int) -> None:
        durable = self.durable
        if size <= len(durable):
            del durable[size:]
        else:
            durable.extend(bytes(size - len(durable)))
        for page in self.dirty:
            start, end = page * PAGE_BYTES, min((page + 1) * PAGE_BYTES, size)
            if start < end:
                new = bytes(self.data[start:end]).ljust(end - start, b"\0")
                durable[start:end] = merge(bytes(durable[start:end]), new)
        self.dirty.clear()
        self.is_resized = False


class _Directory:
    """Names, as processes see them and as the disk has them."""

    def __init__(self) -> None:
        self.names: dict[str, _Node] = {}
        self.durable: dict[str, _Node] = {}
        self.pending: list[dict[str, _Node | None]] = []
        """Changes that are not synced: each at once, a name to what it stands for now, None where it is gone."""

    def change(self, **names: _Node | None) -> None:
        """Change names, all at once."""
        _apply(self.names, names)
        self.pending.append(names)

    def keep(self, count: int) -> None:
        """The first `count` changes are durable, and the others are not any more."""
        for names in self.pending[:count]:
            _apply(self.durable, names)
        self.pending.clear()


_Node = _Content | _Directory


def _apply(target: dict[str, _Node], names: dict[str, _Node | None]) -> None:
    for name, node in names.items():
        if node is None:
            target.pop(name, None)
        else:
            target[name] = node


class CrashFile:
    """An open file of a `CrashDisk`."""

    def __init__(self, disk: CrashDisk, path: str, content: _Content, *, read_only: bool) -> None:
        self._disk = disk
        self._path = path
        self._content = content
        self._read_only = read_only

    @property
    def path(self) -> str:
        return self._path

    def size(self) -> int:
        return len(self._content.data)

    def pread(self, size: int, offset: int) -> bytes:
        self._disk.meet(self._path)
        return bytes(self._content.data[offset : offset + size])

    def pread_warm(self, size: int, offset: int) -> bytes | None:
        return self.pread(size, offset)

    def pwrite(self, data: Buffer, offset: int) -> int:
        if self._read_only:
            raise OSError(errno.EBADF, "the file is open for reading only", self._path)
        try:
            self._disk.meet(self._path, grows=True)
        except (OSError, PowerCut):
            # Some of it may have been written, all of it even.
            self._put(bytes(data[: self._disk.random.randint(0, len(data))]), offset)
            raise
        self._put(bytes(data), offset)
        return len(data)

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        return self.pwrite(b"".join(buffers), offset)

    def truncate(self, size: int) -> None:
        self._disk.meet(self._path, grows=size > self.size())
        content = self._content
        content.is_resized = True
        if size < len(content.data):
            del content.data[size:]
            # The system clears the rest of the last page.
            content.touch(size, size + 1)
        else:
            content.touch(len(content.data), size)
            content.data.extend(bytes(size - len(content.data)))

    def sync(self) -> None:
        try:
            self._disk.meet(self._path, syncs=True)
        except OSError:
            # Linux takes the pages for clean then: the next sync does not write them, and reports no error.
            self._content.lose(self._disk.random)
            raise
        self._content.sync()

    def reserve(self, offset: int, size: int) -> bool:
        return False

    def fileno(self) -> int | None:
        return None

    def is_warm(self, size: int, offset: int) -> bool:
        return True

    def close(self) -> None:
        pass

    def _put(self, data: bytes, offset: int) -> None:
        content = self._content
        size = len(content.data)
        if offset + len(data) > size:
            content.is_resized = True
            content.data.extend(bytes(offset + len(data) - size))
        content.data[offset : offset + len(data)] = data
        content.touch(min(size, offset), offset + len(data))


class CrashMap:
    """A file's content, mapped."""

    def __init__(self, data: bytes) -> None:
        self.view = memoryview(data)

    def close(self) -> None:
        pass


class CrashDisk:
    """Implements FileSystem. `cut_power_after` makes any step of any call the last one before a power cut."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.steps = 0
        """How often the disk was asked for anything that may fail."""
        self.faults: list[Fault] = []
        self._root = _Directory()
        self._directories: dict[str, _Directory] = {}
        """By path, until any of them moves or goes."""
        self._left: int | None = None

    @property
    def max_open_files(self) -> int:
        return 1 << 20

    @property
    def knows_page_cache(self) -> bool:
        return False

    def cut_power_after(self, steps: int) -> None:
        """Raise PowerCut at that step from now, and at all that come behind it."""
        self._left = steps

    @property
    def is_cut(self) -> bool:
        """Whether the step has come that `cut_power_after` has set."""
        return self._left is not None and self._left < 0

    def go_on(self) -> None:
        """Nothing is lost, as when only a process has died; a cut that was set and has not come will not come."""
        self._left = None

    def look(self, path: str) -> bytearray | None:
        """What processes see of a file now, for who watches them: no step, and no copy. None if there is no file."""
        try:
            return self._content(path).data
        except OSError:
            return None

    def look_at_names(self, path: str) -> list[str]:
        """The names in a directory, sorted: no step."""
        try:
            return sorted(self._directory(path).names)
        except OSError:
            return []

    def lose_power(self) -> None:
        """Keep what the disk has, and go on; faults stay."""
        self._left = None
        self._directories.clear()
        self._lose(self._root)

    def meet(self, path: str, *, grows: bool = False, syncs: bool = False) -> None:
        """A step that concerns `path`: raises PowerCut when it is time, or OSError where there is a fault."""
        self.steps += 1
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise PowerCut(path)
        for fault in self.faults:
            is_concerned = syncs if fault.only_sync else (grows or fault.code != errno.ENOSPC)
            if is_concerned and path.startswith(fault.path):
                raise OSError(fault.code, "the disk failed", path)

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> CrashFile:
        directory, name = self._parent(path)
        content = directory.names.get(name)
        self.meet(path, grows=create and content is None)
        if content is None:
            if not create:
                raise _missing(path)
            content = _Content()
            directory.change(**{name: content})
        if not isinstance(content, _Content):
            raise OSError(errno.EISDIR, "a directory has this name", path)
        return CrashFile(self, path, content, read_only=read_only)

    def map(self, path: str) -> CrashMap:
        return CrashMap(self.read(path))

    def read(self, path: str) -> bytes:
        self.meet(path)
        return bytes(self._content(path).data)

    def write_atomically(self, path: str, data: Buffer) -> None:
        """In the steps that the real one takes."""
        file = self.open(path + ".tmp", create=True)
        file.truncate(0)
        file.pwrite(data, 0)
        file.sync()
        self.rename(path + ".tmp", path)
        self.sync_dir(path.rpartition("/")[0])

    def exists(self, path: str) -> bool:
        try:
            self._node(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        self.meet(path)
        return len(self._content(path).data)

    def list(self, path: str) -> list[str]:
        self.meet(path)
        return sorted(self._directory(path).names)

    def is_dir(self, path: str) -> bool:
        return self.exists(path) and isinstance(self._node(path), _Directory)

    def mkdir(self, path: str) -> None:
        node = self._root
        for name in _parts(path):
            child = node.names.get(name)
            if child is None:
                self.meet(path, grows=True)
                child = _Directory()
                node.change(**{name: child})
            if not isinstance(child, _Directory):
                raise OSError(errno.EEXIST, "a file has this name", path)
            node = child

    def rename(self, source: str, target: str) -> None:
        node = self._node(source)
        self.meet(source, grows=True)
        before, name = self._parent(source)
        after, new_name = self._parent(target)
        assert before is after, "no rename here goes to another directory"
        if isinstance(node, _Directory):
            self._directories.clear()
        before.change(**{name: None, new_name: node})

    def remove(self, path: str) -> None:
        self.meet(path)
        if self.exists(path):
            directory, name = self._parent(path)
            if isinstance(directory.names[name], _Directory):
                self._directories.clear()
            directory.change(**{name: None})

    def remove_gradually(self, path: str) -> None:
        self.remove(path)

    def remove_tree(self, path: str) -> None:
        if not self.exists(path):
            return
        node = self._node(path)
        if isinstance(node, _Directory):
            for name in list(node.names):
                self.remove_tree(f"{path}/{name}")
        self.remove(path)

    def sync_dir(self, path: str) -> None:
        directory = self._directory(path)
        self.meet(path, syncs=True)
        directory.keep(len(directory.pending))

    def usable_bytes(self, path: str) -> tuple[int, int]:
        return -1, -1

    def _lose(self, directory: _Directory) -> None:
        directory.keep(self.random.randint(0, len(directory.pending)))
        directory.names = dict(directory.durable)
        for node in directory.names.values():
            if isinstance(node, _Directory):
                self._lose(node)
            else:
                node.lose(self.random)
                node.forget_cache()

    def _parent(self, path: str) -> tuple[_Directory, str]:
        parent, _, name = path.rpartition("/")
        return self._directories.get(parent) or self._directory(parent), name

    def _node(self, path: str) -> _Node:
        node: _Node | None = self._root
        for name in _parts(path):
            node = node.names.get(name) if isinstance(node, _Directory) else None
        if node is None:
            raise _missing(path)
        return node

    def _directory(self, path: str) -> _Directory:
        found = self._directories.get(path)
        if found is None:
            node = self._node(path)
            if not isinstance(node, _Directory):
                raise OSError(errno.ENOTDIR, "no directory has this name", path)
            found = self._directories[path] = node
        return found

    def _content(self, path: str) -> _Content:
        directory, name = self._parent(path)
        node = directory.names.get(name)
        if node is None:
            raise _missing(path)
        if not isinstance(node, _Content):
            raise OSError(errno.EISDIR, "a directory has this name", path)
        return node


def _parts(path: str) -> Iterator[str]:
    return (part for part in path.split("/") if part)


def _missing(path: str) -> OSError:
    return FileNotFoundError(errno.ENOENT, "no such file or directory", path)
