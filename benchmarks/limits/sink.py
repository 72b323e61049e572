"""A file that takes all bytes that come, at the least cost that is known on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from odradek.net.reserving import reserver
from odradek.storage.segment_file import RESERVED_BYTES


class Sink:
    """Written from its begin; on ext4 into blocks that are reserved ahead, as the broker does it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._end = 0
        self._reserve_at = RESERVED_BYTES // 2
        self._reserver = reserver()

    def write(self, data: memoryview) -> None:
        """All of it. Raises OSError."""
        self._end += os.write(self._fd, data)
        if self._end > self._reserve_at and self._reserver is not None:
            self._reserve_at = self._end + RESERVED_BYTES // 2
            self._reserver(self._fd, self._end, RESERVED_BYTES)

    def close(self) -> None:
        os.close(self._fd)
