"""Blocks of the disk for what is written next: fallocate(2), where that is known to make writing cheaper.

ext4 looks for the place of every new page by itself, and reserves it, counts it and notes it; of a page for which there
is a block already it does nothing of this, which is a third of what a large write costs. Reserved blocks lie behind the
file's end, so that its length, and what is found after a power cut, are as without them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache

_KEEP_SIZE = 1
_EXT4 = 0xEF53
"""Its magic number, which ext2 and ext3 share, who do not know fallocate. XFS does the like on its own account."""
_STATFS_BYTES = 256
"""More than a struct statfs has; its first word is the magic number."""
_SLOW_S = 0.005
_PAUSE_S = 60.0
"""A disk that is nearly full may have to look for blocks for long: then it is not asked again for a while."""


class Reserver:
    """Asks the kernel, as long as that is quick."""

    def __init__(self, allocate: Callable[[int, int, int], bool], now_s: Callable[[], float] = time.monotonic) -> None:
        """`allocate`: (descriptor, offset, size) -> whether there are blocks for these bytes now."""
        self._allocate = allocate
        self._now_s = now_s
        self._not_before_s = 0.0

    def __call__(self, fd: int, offset: int, size: int) -> bool:
        """Have blocks for `size` bytes from `offset`; whether there are."""
        begun_s = self._now_s()
        if begun_s < self._not_before_s:
            return False
        reserved = self._allocate(fd, offset, size)
        ended_s = self._now_s()
        if ended_s - begun_s > _SLOW_S:
            self._not_before_s = ended_s + _PAUSE_S
        return reserved


@cache
def reserver() -> Reserver | None:
    """The process's; None where there is no fallocate that keeps a file's length."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    libc = ctypes.CDLL(None)
    fallocate, fstatfs = getattr(libc, "fallocate", None), getattr(libc, "fstatfs", None)
    offset_type = ctypes.c_int64
    if fallocate is None or fstatfs is None or ctypes.sizeof(ctypes.c_long) < ctypes.sizeof(offset_type):
        return None

    def allocate(fd: int, offset: int, size: int) -> bool:
        about = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()
        if fstatfs(ctypes.c_int(fd), about) or about[0] != _EXT4:
            return False
        return not fallocate(ctypes.c_int(fd), ctypes.c_int(_KEEP_SIZE), offset_type(offset), offset_type(size))

    return Reserver(allocate)
