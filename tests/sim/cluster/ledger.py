"""What was committed of each partition, and whether every replica has just that."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from odradek.storage.log import Log
from odradek.wire.records.header import HEADER_BYTES, parse_header
from tests.sim.storage.crash_disk import CrashDisk


class Committed(NamedTuple):
    """A batch below a high watermark."""

    next_offset: int
    leader_epoch: int
    crc: int


class Cursor:
    """How far the files of one replica have been compared."""

    __slots__ = ("base_offset", "log", "next_offset", "position")

    def __init__(self) -> None:
        self.log: Log | None = None
        """Whose files these are."""
        self.base_offset = 0
        """Of the segment."""
        self.position = 0
        self.next_offset = 0

    def follow(self, log: Log) -> None:
        """Where the files are others than before, look at the last segment again, or at all if there is less."""
        if log is self.log:
            return
        self.log = log
        if log.log_end_offset < self.next_offset:
            self.next_offset = 0
        bases = [segment.base_offset for segment in log.segments if segment.base_offset <= self.next_offset]
        self.base_offset = self.next_offset = max(bases, default=0)
        self.position = 0


class Ledger:
    """One partition's committed batches, by what the first replica said that had them."""

    def __init__(self, name: str, on_violation: Callable[[str], None]) -> None:
        self.name = name
        self.end = 0
        """The highest high watermark that any leader had."""
        self.leader_epoch = -1
        """The latest that anybody knows."""
        self._batches: dict[int, Committed] = {}
        self._known = 0
        """The first offset of which the batch is not in here."""
        self._on_violation = on_violation

    def compare(self, disk: CrashDisk, directory: str, cursor: Cursor, high_watermark: int, who: str) -> None:
        """Look at a replica's files from the cursor up to its high watermark."""
        path = _segment(directory, cursor.base_offset)
        data = disk.look(path)
        while cursor.next_offset < high_watermark:
            if data is None or cursor.position + HEADER_BYTES > len(data):
                following = _segment(directory, cursor.next_offset)
                found = disk.look(following) if cursor.next_offset != cursor.base_offset else None
                if found is None:
                    self._on_violation(
                        f"{who}: {self.name} has a high watermark of {high_watermark} and ends at {cursor.next_offset}"
                    )
                    return
                data, cursor.base_offset, cursor.position = found, cursor.next_offset, 0
                continue
            header = parse_header(data, cursor.position)
            batch = Committed(header.next_offset, header.leader_epoch, header.crc)
            if not self._is_same(header.base_offset, batch, cursor.next_offset, who):
                return
            cursor.position += header.size_bytes
            cursor.next_offset = header.next_offset

    def _is_same(self, base_offset: int, batch: Committed, expected_offset: int, who: str) -> bool:
        if base_offset != expected_offset:
            self._on_violation(f"{who}: {self.name} has offset {base_offset} where {expected_offset} should be")
            return False
        if base_offset >= self._known:
            self._batches[base_offset] = batch
            self._known = batch.next_offset
            return True
        if self._batches.get(base_offset) != batch:
            self._on_violation(
                f"{who}: {self.name} has another batch at offset {base_offset} below its high watermark: "
                f"{batch}, not {self._batches.get(base_offset)}"
            )
            return False
        return True


def _segment(directory: str, base_offset: int) -> str:
    return f"{directory}/{base_offset:020d}.log"
