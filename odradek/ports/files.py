"""The file system as the storage engine sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class File(Protocol):
    """An open file. Every method may raise OSError."""

    @property
    def path(self) -> str:
        """The path it was opened at; a later rename does not change it."""
        ...

    def size(self) -> int:
        """Length in bytes."""
        ...

    def pread(self, size: int, offset: int) -> bytes:
        """At most `size` bytes from `offset`; fewer only at the end of the file."""
        ...

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write `data` whole at `offset` and return its length; a short write is completed or raises OSError."""
        ...

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write `buffers` one behind the other, whole, at `offset`; returns the bytes written."""
        ...

    def truncate(self, size: int) -> None:
        """Cut the file, or extend it with zeros, to `size` bytes; what was reserved behind them is given back."""
        ...

    def reserve(self, offset: int, size: int) -> bool:
        """Writing goes on at `offset`, the end: take `size` bytes of the disk for it, if that makes it cheaper.

        Whether that was done. The file's length stays; who asks again soon writes fast. Never raises.
        """
        ...

    def sync(self) -> None:
        """Return once data and length survive a power cut (fsync)."""
        ...

    def fileno(self) -> int | None:
        """A descriptor for sendfile, or None where the file is not the operating system's."""
        ...

    def is_warm(self, size: int, offset: int) -> bool:
        """Whether a read of this range would not wait for a disk; True where that cannot be asked."""
        ...

    def pread_warm(self, size: int, offset: int) -> Buffer | None:
        """`pread` of what can be had without waiting for a disk, which may be less than there is; None if nothing."""
        ...

    def close(self) -> None:
        """Release it; further calls but close are errors."""
        ...


class MappedFile(Protocol):
    """A closed file's whole content, read-only, without reading it."""

    @property
    def view(self) -> memoryview:
        """The content."""
        ...

    def close(self) -> None:
        """Release the mapping; views taken from it must be gone."""
        ...


class FileSystem(Protocol):
    """Directories and names. Paths are '/'-separated strings; every method may raise OSError."""

    @property
    def max_open_files(self) -> int:
        """How many files may be kept open, without taking what else needs descriptors its share."""
        ...

    @property
    def knows_page_cache(self) -> bool:
        """Whether its files can tell what would wait for a disk (`is_warm`, `pread_warm`)."""
        ...

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        """Open an existing file, or create an empty one if `create`; raises FileNotFoundError."""
        ...

    def map(self, path: str) -> MappedFile:
        """Map a file that will not be written any more."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file."""
        ...

    def write_atomically(self, path: str, data: Buffer) -> None:
        """Replace the file so that after a crash either the old or the new content is there whole, and synced."""
        ...

    def exists(self, path: str) -> bool:
        """Whether a file or directory has this name."""
        ...

    def size(self, path: str) -> int:
        """A file's length in bytes."""
        ...

    def list(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        ...

    def is_dir(self, path: str) -> bool:
        """Whether the name is a directory's."""
        ...

    def mkdir(self, path: str) -> None:
        """Create a directory and its parents; one that exists is fine."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Atomically rename a file or directory, replacing a file of the target's name."""
        ...

    def remove(self, path: str) -> None:
        """Delete a file; one that is gone already is fine."""
        ...

    def remove_gradually(self, path: str) -> None:
        """`remove` for a file that may be large, with pauses in which others have processor and disk."""
        ...

    def remove_tree(self, path: str) -> None:
        """Delete a directory with all it holds; one that is gone already is fine."""
        ...

    def sync_dir(self, path: str) -> None:
        """Make the directory's entries survive a power cut."""
        ...

    def usable_bytes(self, path: str) -> tuple[int, int]:
        """(total bytes, usable bytes) of the volume that holds `path`; (-1, -1) where there is none."""
        ...
