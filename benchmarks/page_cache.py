"""Files that are not in memory, though they have just been written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


class StillCached(OSError):
    """The system keeps a file in memory, whatever it is told: a file system in memory does."""


def drop(paths: Iterable[Path]) -> None:
    """Write files to the disk, and have the system forget their pages. Raises StillCached, OSError."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            if _begins_in_memory(descriptor):
                raise StillCached(f"{path} stays in the page cache")
        finally:
            os.close(descriptor)


def _begins_in_memory(descriptor: int) -> bool:
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
