"""The `.log` file of a segment, and ranges of it that outlive truncation and deletion."""

from __future__ import annotations

from odradek.ports import File
from odradek.ports.files import Buffer
from odradek.storage.file_pool import FilePool

RESERVED_BYTES = 4 << 20
"""What a fast writer has of the disk beyond the end, at most; half of it is used before there is more."""


class SegmentFile:
    """A file that is opened when it is first needed and may be closed again while nobody holds a range of it."""

    __slots__ = ("_file", "_has_reserved", "_path", "_pool", "_ranges", "_reserve_at", "_retired", "size", "used")

    def __init__(self, pool: FilePool, path: str, size: int) -> None:
        self._pool = pool
        self._path = path
        self._file: File | None = None
        self._ranges: dict[FileRange, None] = {}
        self._retired = False
        self.used = True
        self.size = size
        """Bytes that count: what lies behind them in the file is the rest of a write that failed."""
        self._reserve_at = size + RESERVED_BYTES // 2
        self._has_reserved = False

    @property
    def path(self) -> str:
        """Where the file is now."""
        return self._path

    def append(self, *pieces: Buffer) -> None:
        """Write at the end, one behind the other; raises OSError, and then the file's size is what it was."""
        file = self._file
        if file is None:
            file = self.file()
        else:
            self.used = True
        size = self.size
        end = size + (file.pwrite(pieces[0], size) if len(pieces) == 1 else file.pwritev(pieces, size))
        self.size = end
        if end > self._reserve_at:
            self._reserve_at = end + RESERVED_BYTES // 2
            if file.reserve(end, RESERVED_BYTES):
                self._has_reserved = True

    def read(self, size: int, position: int) -> bytes:
        """At most `size` bytes from `position`, none from behind the end."""
        file = self._file
        if file is None:
            file = self.file()
        else:
            self.used = True
        return file.pread(min(size, self.size - position), position)

    def read_warm(self, size: int, position: int) -> Buffer | None:
        """`read` of what can be had without waiting for a disk, which may be less than there is; None if nothing."""
        return self.file().pread_warm(min(size, self.size - position), position)

    def range(self, position: int, size: int) -> FileRange:
        """The bytes from `position`, which stay readable until the range is released."""
        file = self._file
        if file is None:
            file = self.file()
        else:
            self.used = True
        held = FileRange(self, file, position, size)
        if not self._ranges:
            self._pool.held += 1
        self._ranges[held] = None
        return held

    def may_hold(self) -> bool:
        """Whether a range can be given out; else its bytes must be read, for too many files are held open already."""
        return bool(self._ranges) or self._pool.may_hold

    def truncate(self, size: int) -> None:
        """Cut the file, for good: a power cut must not put what was cut off behind what is written next.

        Ranges that reach further take a copy of their bytes first.
        """
        for held in self._ranges:
            held.keep_beyond(size)
        file = self.file()
        file.truncate(size)
        file.sync()
        self.size = size
        self._reserve_at = size + RESERVED_BYTES // 2
        self._has_reserved = False

    def cut_leftovers(self) -> None:
        """Remove what a failed write may have left behind the end, and give back what was reserved there."""
        file = self.file()
        if self._has_reserved or file.size() > self.size:
            file.truncate(self.size)
            self._has_reserved = False

    def move(self, path: str) -> None:
        """The file, or its directory, was renamed."""
        self._path = path

    def file(self) -> File:
        """The file, opened if it is not."""
        self.used = True
        file = self._file
        if file is None:
            file = self._file = self._pool.fs.open(self._path)
            self._pool.opened(self)
        return file

    def is_busy(self) -> bool:
        """Whether ranges of it are held."""
        return bool(self._ranges)

    def close(self) -> None:
        """Close the descriptor; the next use opens it again."""
        file, self._file = self._file, None
        if file is not None:
            self._pool.closed(self)
            file.close()

    def retire(self) -> None:
        """Close it for good once nobody holds a range any more."""
        self._retired = True
        if not self._ranges:
            self.close()

    def released(self, held: FileRange) -> None:
        """A range is not needed any more."""
        if self._ranges.pop(held, self) is self or self._ranges:
            return
        self._pool.held -= 1
        if self._retired:
            self.close()


class FileRange:
    """Bytes of a `.log` file (the FileRange of `odradek.ports.network`)."""

    __slots__ = ("_copy", "_file", "_owner", "_position", "_size")

    def __init__(self, owner: SegmentFile, file: File, position: int, size: int) -> None:
        self._owner = owner
        self._file = file
        self._position = position
        self._size = size
        self._copy: bytes | None = None

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    @property
    def offset(self) -> int:
        """Where the range begins in the file."""
        return self._position

    def fileno(self) -> int | None:
        """A descriptor for sendfile; None in memory, and once truncation has taken the bytes out of the file."""
        return None if self._copy is not None else self._file.fileno()

    def is_warm(self, start: int, size: int) -> bool:
        """Whether `size` bytes from `start` bytes into the range can be had without waiting for a disk."""
        return self._copy is not None or self._file.is_warm(size, self._position + start)

    def read(self, start: int, size: int) -> bytes:
        """At most `size` bytes from `start` bytes into the range."""
        size = min(size, self._size - start)
        if self._copy is not None:
            return self._copy[start : start + size]
        return self._file.pread(size, self._position + start)

    def read_warm(self, start: int, size: int) -> Buffer | None:
        """What of that can be had without waiting for a disk, which may be less than there is; None if nothing."""
        if self._copy is not None:
            return self.read(start, size)
        return self._file.pread_warm(min(size, self._size - start), self._position + start)

    def release(self) -> None:
        """The bytes are sent or dropped."""
        self._owner.released(self)

    def keep_beyond(self, end: int) -> None:
        """Take a copy if the range has bytes behind `end`, which are about to be cut off."""
        if self._copy is None and self._position + self._size > end:
            self._copy = self._file.pread(self._size, self._position)
