"""The operating system's files, behind the FileSystem port."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence

from odradek.net.page_cache import KNOWS_PAGE_CACHE, is_cached, read_cached
from odradek.net.reserving import reserver
from odradek.ports.files import Buffer

_MAX_IO_BYTES = 1 << 30
"""Linux moves at most 2 GiB less one page in one call."""
_MAX_BUFFERS = 512
"""IOV_MAX is 1024 on Linux and macOS."""

MAX_OPEN_FILES = 16_384
"""More are not kept open, however many the system allows."""
_WINDOWS_DESCRIPTORS = 8192
"""What the C library grants at most; sockets are not counted among them."""
RESERVED_DESCRIPTORS = 64
"""For files that are opened for a moment only, listening sockets and the loop."""
MIN_CONNECTIONS = 16
_ASKED_AHEAD_BYTES = 8 << 20
_WARM_FOR_S = 0.25
"""How long pages are taken to stay in memory; if they do not, sending them waits for a disk once."""
_FAST_S = 1.0
"""Who has written a part of what is to be reserved within this time goes on writing."""
_FORGOTTEN_BYTES = 1 << 20
"""About 0.2 ms of work."""
_FORGETTING_PAUSE_S = 0.0005
_BUSY_ATTEMPTS = 25
_BUSY_PAUSE_S = 0.02
"""Half a second in all, for whoever has a file open to be done with it (Windows)."""


def kept_files_limit() -> int:
    """How many files may be kept open: at most half of the descriptors that the process may have."""
    return min(MAX_OPEN_FILES, _descriptors() // 2)


def connections_limit() -> int:
    """How many descriptors are left to connections: a disk for which there is none left counts as failed."""
    return max(MIN_CONNECTIONS, _descriptors() - kept_files_limit() - RESERVED_DESCRIPTORS)


def _descriptors() -> int:
    """How many the system lets this process have."""
    if sys.platform == "win32":
        return _WINDOWS_DESCRIPTORS
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


class OsFile:
    """An open file of the operating system."""

    __slots__ = ("_fd", "_path", "_reserve_asked_s", "_warm_from", "_warm_to", "_warm_until_s")

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        self._warm_from = self._warm_to = 0
        self._reserve_asked_s = -_FAST_S
        self._warm_until_s = 0.0
        """What was in memory when it was asked for last, and until when that is believed."""

    @property
    def path(self) -> str:
        """The path it was opened at."""
        return self._path

    def size(self) -> int:
        """Length in bytes."""
        return os.fstat(self._fd).st_size

    def pread(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset`; fewer only at the end of the file."""
        data = _pread(self._fd, min(size, _MAX_IO_BYTES), offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        got = len(data)
        while got < size:
            data = _pread(self._fd, min(size - got, _MAX_IO_BYTES), offset + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write `data` whole at `offset`."""
        size = len(data)
        written = _pwrite(self._fd, data, offset)
        if written != size:
            view = memoryview(data)
            while written < size:
                written += _progress(_pwrite(self._fd, view[written:], offset + written), self._path)
        return size

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write `buffers` one behind the other, whole."""
        if not hasattr(os, "pwritev") or len(buffers) > _MAX_BUFFERS:
            return self.pwrite(b"".join(buffers), offset)
        total = sum(map(len, buffers))
        written = os.pwritev(self._fd, buffers, offset)
        if written != total:
            rest = memoryview(b"".join(buffers))[written:]
            self.pwrite(rest, offset + written)
        return total

    def truncate(self, size: int) -> None:
        """Cut or extend to `size` bytes."""
        os.ftruncate(self._fd, size)

    def reserve(self, offset: int, size: int) -> bool:
        """Have blocks for what is written next, where writers are fast and the file system is one that gains by it."""
        now_s = time.monotonic()
        asked_s, self._reserve_asked_s = self._reserve_asked_s, now_s
        if now_s - asked_s > _FAST_S:
            return False
        reserves = reserver()
        return reserves is not None and reserves(self._fd, offset, size)

    def sync(self) -> None:
        """fsync; on macOS F_FULLFSYNC, since fsync does not empty the drive's cache there."""
        if sys.platform == "darwin":
            import fcntl

            with contextlib.suppress(OSError):
                fcntl.fcntl(self._fd, fcntl.F_FULLFSYNC)
                return
        os.fsync(self._fd)

    def fileno(self) -> int | None:
        """The descriptor."""
        return self._fd

    def is_warm(self, size: int, offset: int) -> bool:
        """Ask the page cache, and for more than that: readers go on behind what they have read."""
        if self._warm_from <= offset and offset + size <= self._warm_to and time.monotonic() < self._warm_until_s:
            return True
        ahead = min(_ASKED_AHEAD_BYTES, self.size() - offset)
        if ahead <= size or not is_cached(self._fd, ahead, offset):
            return is_cached(self._fd, size, offset)
        self._warm_from, self._warm_to = offset, offset + ahead
        self._warm_until_s = time.monotonic() + _WARM_FOR_S
        return True

    def pread_warm(self, size: int, offset: int) -> Buffer | None:
        """What the page cache has of it; all of it where that cannot be asked."""
        try:
            return read_cached(self._fd, size, offset)
        except NotImplementedError:
            return self.pread(size, offset)

    def close(self) -> None:
        """Release the descriptor."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class OsMappedFile:
    """A file mapped read-only."""

    __slots__ = ("_map", "_view")

    def __init__(self, mapping: mmap.mmap | None) -> None:
        self._map = mapping
        self._view = memoryview(mapping) if mapping is not None else memoryview(b"")

    @property
    def view(self) -> memoryview:
        """The content."""
        return self._view

    def close(self) -> None:
        """Unmap; no view may be left."""
        self._view.release()
        if self._map is not None:
            self._map.close()
            self._map = None


class OsFileSystem:
    """Directories and names of the operating system."""

    @property
    def max_open_files(self) -> int:
        """What connections leave to files."""
        return kept_files_limit()

    @property
    def knows_page_cache(self) -> bool:
        """Where there is preadv(RWF_NOWAIT)."""
        return KNOWS_PAGE_CACHE

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> OsFile:
        """Open an existing file, or create an empty one if `create`."""
        flags = os.O_RDONLY if read_only else os.O_RDWR
        if create:
            flags |= os.O_CREAT
        flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        return OsFile(path, os.open(path, flags, 0o644))

    def map(self, path: str) -> OsMappedFile:
        """Map a file read-only."""
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        try:
            if os.fstat(fd).st_size == 0:
                return OsMappedFile(None)
            return OsMappedFile(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(fd)

    def read(self, path: str) -> bytes:
        """The whole file."""
        with open(path, "rb") as file:
            return file.read()

    def write_atomically(self, path: str, data: Buffer) -> None:
        """Write beside the file, fsync, rename over it, fsync the directory."""
        temporary = path + ".tmp"
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _when_free(lambda: os.replace(temporary, path))
        self.sync_dir(os.path.dirname(path) or ".")

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        return os.path.exists(path)

    def size(self, path: str) -> int:
        """A file's length in bytes."""
        return os.stat(path).st_size

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(os.listdir(path))

    def is_dir(self, path: str) -> bool:
        """Whether the name is a directory's."""
        return os.path.isdir(path)

    def mkdir(self, path: str) -> None:
        """Create a directory and its parents."""
        try:
            os.mkdir(path)
        except OSError:  # it is there, or its parent is not, or it cannot be
            os.makedirs(path, exist_ok=True)

    def rename(self, source: str, target: str) -> None:
        """Atomically rename, replacing a file of the target's name."""
        _when_free(lambda: os.replace(source, target))

    def remove(self, path: str) -> None:
        """Delete a file; one that is gone already is fine."""
        with contextlib.suppress(FileNotFoundError):
            _when_free(lambda: os.unlink(path))

    def remove_gradually(self, path: str) -> None:
        """Take the file out of memory piece by piece, which else takes 15 ms for 64 MiB in one go, then delete it."""
        with contextlib.suppress(FileNotFoundError):
            _forget(path)
        self.remove(path)

    def remove_tree(self, path: str) -> None:
        """Delete a directory with all it holds; one that is gone already is fine."""
        from shutil import rmtree  # which loads all codecs of archives

        with contextlib.suppress(FileNotFoundError):
            _when_free(lambda: rmtree(path))

    def sync_dir(self, path: str) -> None:
        """fsync the directory, where the platform can."""
        if sys.platform == "win32":
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def usable_bytes(self, path: str) -> tuple[int, int]:
        """(total bytes, usable bytes) of the volume that holds `path`."""
        from shutil import disk_usage  # as above

        usage = disk_usage(path)
        return usage.total, usage.free


def _forget(path: str) -> None:
    """Empty the page cache of what is on the disk of a file. Raises OSError."""
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        for offset in range(0, os.fstat(fd).st_size, _FORGOTTEN_BYTES):
            advise(fd, offset, _FORGOTTEN_BYTES, os.POSIX_FADV_DONTNEED)
            time.sleep(_FORGETTING_PAUSE_S)
    finally:
        os.close(fd)


def _when_free(change: Callable[[], None]) -> None:
    """Rename or delete. On Windows that is refused while anybody has the file open, be it a sync or a virus scanner."""
    if sys.platform == "win32":
        for _ in range(_BUSY_ATTEMPTS - 1):
            with contextlib.suppress(PermissionError):
                change()
                return
            time.sleep(_BUSY_PAUSE_S)
    change()


def _progress(written: int, path: str) -> int:
    """`written`, unless nothing was: then going on would never end."""
    if written == 0:
        raise OSError(errno.EIO, "the file takes no more bytes", path)
    return written


_position_lock = threading.Lock()
"""Seeking and then reading is two calls, which the executor's threads must not mix."""


def _seek_and_read(fd: int, size: int, offset: int) -> bytes:
    with _position_lock:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)


def _seek_and_write(fd: int, data: Buffer, offset: int) -> int:
    with _position_lock:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)


_pread: Callable[[int, int, int], bytes] = getattr(os, "pread", _seek_and_read)
_pwrite: Callable[[int, Buffer, int], int] = getattr(os, "pwrite", _seek_and_write)
