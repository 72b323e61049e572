"""The batches of a `.log` file or a metadata snapshot, damaged ones included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from odradek.ports import File, FileSystem
from odradek.storage.batches import CorruptBatchError, scan_valid
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import ATTRIBUTES_AT, BatchHeader


class FoundBatch(NamedTuple):
    """A batch where it was found."""

    position: int
    header: BatchHeader
    data: memoryview

    @property
    def is_valid(self) -> bool:
        """Whether the checksum holds."""
        return crc32c(self.data[ATTRIBUTES_AT:], 0) == self.header.crc


class _Source:
    def __init__(self, file: File) -> None:
        self._file = file

    def read(self, size: int, position: int) -> bytes:
        return self._file.pread(size, position)


def read_batches(fs: FileSystem, path: str) -> Iterator[FoundBatch]:
    """The batches of a file. Raises CorruptBatchError where one is not whole, OSError.

    A file that grows is read as far as it went at first, and on from there only if that is within a batch.
    """
    with closing(fs.open(path, read_only=True)) as file:
        source = _Source(file)
        position, end = 0, file.size()
        while True:
            try:
                for stored, view in scan_valid(source, position, end, checks_crc=False):
                    yield FoundBatch(stored.position, stored.header, view)
                    position = stored.position + stored.header.size_bytes
            except CorruptBatchError:
                longer = file.size()
                if longer <= end:
                    raise
                end = longer
            else:
                return
