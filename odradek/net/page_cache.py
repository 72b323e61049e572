"""What of a file is in memory: preadv(2) with RWF_NOWAIT, and cachestat(2)."""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Callable
from functools import cache

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
KNOWS_PAGE_CACHE = bool(_RWF_NOWAIT)
_CACHESTAT = 451
"""Its number on every architecture; Linux has it since 6.5."""
_CANNOT_SAY = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})


def read_cached(fd: int, size: int, offset: int) -> bytearray | memoryview | None:
    """The bytes from `offset` that are in memory: at most `size`, none at the end of the file; None if a disk has them.

    Raises NotImplementedError where that cannot be asked, OSError.
    """
    if not KNOWS_PAGE_CACHE:
        raise NotImplementedError
    data = bytearray(size)
    try:
        read = os.preadv(fd, (data,), offset, _RWF_NOWAIT)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in _CANNOT_SAY:
            raise NotImplementedError from error
        raise
    return data if read == size else memoryview(data)[:read]


def is_cached(fd: int, size: int, offset: int) -> bool:
    """Whether `size` bytes from `offset`, all within the file, are in memory; True where that cannot be asked.

    First and last page are tried, since a page that is still being read counts as cached; where the system counts
    pages, none may be missing between them. Raises OSError.
    """
    if size <= 0:
        return True
    last = offset + size - 1
    try:
        if read_cached(fd, 1, last) is None or read_cached(fd, 1, offset) is None:
            return False
    except NotImplementedError:
        return True
    count = _page_counter()
    cached = None if count is None else count(fd, offset, size)
    # 0 although both ends are there: a file system whose pages are kept under another file, as overlayfs.
    return not cached or cached > last // mmap.PAGESIZE - offset // mmap.PAGESIZE


@cache
def _page_counter() -> Callable[[int, int, int], int | None] | None:
    """(descriptor, offset, size) -> pages in memory, None where that cannot be said."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    number = ctypes.c_uint64
    # Not CDLL, which would hand over the interpreter's lock for a call that never waits.
    syscall = ctypes.PyDLL(None).syscall

    def count(fd: int, offset: int, size: int) -> int | None:
        asked = (number * 2)(offset, size)
        pages = (number * 5)()
        failed = syscall(ctypes.c_long(_CACHESTAT), ctypes.c_uint(fd), asked, pages, ctypes.c_uint(0))
        return None if failed else pages[0]

    return count
