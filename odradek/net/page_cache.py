"""Whether bytes of a file are in memory: cachestat(2), and preadv(2) with RWF_NOWAIT."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_CACHESTAT = 451
"""Its number on every architecture; Linux has it since 6.5."""
_PAGE_BYTES = 4096
_NOT_KNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("size", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "lately_evicted"))


def _cachestat() -> Callable[[int, int, int], int | None] | None:
    """(descriptor, offset, size) -> pages in memory, None where that cannot be said. For one thread."""
    if not sys.platform.startswith("linux"):
        return None
    # Not CDLL, which would hand over the interpreter's lock for a call that never waits.
    syscall = ctypes.PyDLL(None, use_errno=True).syscall
    asked, pages = _Range(), _Pages()
    number, asked_at, pages_at = ctypes.c_long(_CACHESTAT), ctypes.byref(asked), ctypes.byref(pages)
    nothing = ctypes.c_uint(0)

    def ask(fd: int, offset: int, size: int) -> int | None:
        asked.offset = offset
        asked.size = size
        return None if syscall(number, ctypes.c_uint(fd), asked_at, pages_at, nothing) else pages.cached

    return ask


_count_pages = _cachestat()


def is_cached(fd: int, size: int, offset: int) -> bool:
    """Whether `size` bytes from `offset`, all within the file, are in memory; True where that cannot be asked.

    First and last page are tried, since a page that is still being read counts as cached; where the system counts
    pages, none may be missing between them. Raises OSError.
    """
    if not _RWF_NOWAIT or size <= 0:
        return True
    last = offset + size - 1
    if not _is_page_cached(fd, last):
        return False
    wanted = last // _PAGE_BYTES - offset // _PAGE_BYTES + 1
    if wanted == 1:
        return True
    cached = _count_pages(fd, offset, size) if wanted > 2 and _count_pages is not None else None
    # 0 although the last page is there: a file system whose pages are kept under another file, as overlayfs.
    return cached >= wanted if cached else _is_page_cached(fd, offset)


def _is_page_cached(fd: int, offset: int) -> bool:
    try:
        os.preadv(fd, [bytearray(1)], offset, _RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NOT_KNOWN:
            return True
        raise
    return True
