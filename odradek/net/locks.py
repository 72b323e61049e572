"""One node to a directory: the `.lock` file that Apache Kafka locks too."""

from __future__ import annotations

import errno
import os
import sys

LOCK_FILE = ".lock"
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

_held: set[tuple[int, int]] = set()
"""Device and inode of the directories that this process holds: its own locks never conflict with each other."""


class DirectoryInUseError(Exception):
    """Another node holds the directory."""


class DirectoryLock:
    """Holds a directory until `release`. The file stays, as Kafka's does."""

    def __init__(self, directory: str) -> None:
        """Take the lock, making the directory if there is none; raises DirectoryInUseError, OSError."""
        os.makedirs(directory, exist_ok=True)
        status = os.stat(directory)
        self._key = (status.st_dev, status.st_ino)
        if self._key in _held:
            # Not even opened: closing it again would end the lock of the one who holds it.
            raise DirectoryInUseError(directory)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._fd = os.open(os.path.join(directory, LOCK_FILE), flags, 0o644)
        try:
            if not _lock(self._fd):
                raise DirectoryInUseError(directory)
        except BaseException:
            os.close(self._fd)
            raise
        _held.add(self._key)

    def release(self) -> None:
        """Let others have the directory."""
        if self._fd >= 0:
            _held.discard(self._key)
            os.close(self._fd)
            self._fd = -1


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        return True

else:
    import fcntl

    def _lock(fd: int) -> bool:
        """A POSIX lock, which is what Java takes."""
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        return True
