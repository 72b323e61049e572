"""Keeps the number of open files bounded, whatever the number of segments."""

from __future__ import annotations

from typing import Protocol

from odradek.ports import FileSystem


class PooledHandle(Protocol):
    """Something open that can be closed for a while: it opens again when it is needed."""

    used: bool
    """Set at each use; the pool resets it, and closes what was not used since."""

    def is_busy(self) -> bool:
        """Whether somebody holds on to it, so that it must stay open."""
        ...

    def close(self) -> None:
        """Close it for now; the handle tells the pool with `closed`."""
        ...


class FilePool:
    """The open handles of a node's logs, closed in second-chance order once there are too many."""

    def __init__(self, fs: FileSystem, max_open_files: int | None = None) -> None:
        """`max_open_files` is what the file system allows by default."""
        self.fs = fs
        self.held = 0
        """Open handles that cannot be closed now, since somebody reads from them."""
        self._max_open_files = fs.max_open_files if max_open_files is None else max_open_files
        self._open: dict[PooledHandle, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def may_hold(self) -> bool:
        """Whether another handle may be held on to: at most half of them, lest there be none left to close."""
        return self.held < self._max_open_files // 2

    def opened(self, handle: PooledHandle) -> None:
        """Count `handle` in, and close others if they are too many now."""
        self._open[handle] = None
        if len(self._open) > self._max_open_files:
            self._close_one(handle)

    def closed(self, handle: PooledHandle) -> None:
        """Count `handle` out."""
        self._open.pop(handle, None)

    def _close_one(self, newest: PooledHandle) -> None:
        """Each handle gets one more turn if it was used since the last; none may be closable, then all stay open."""
        for _ in range(2):
            for handle in list(self._open):
                if handle is newest or handle.is_busy():
                    continue
                if not handle.used:
                    handle.close()
                    return
                handle.used = False
                del self._open[handle]
                self._open[handle] = None
