"""Walking over the record batches of a file by their headers, without opening them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from odradek.ports.files import Buffer
from odradek.storage.segment_file import SegmentFile
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import ATTRIBUTES_AT, HEADER_BYTES, MAGIC_V2, BatchHeader, parse_header

SCAN_BYTES = 64 * 1024
_VALIDATE_BYTES = 1024 * 1024


class CorruptBatchError(Exception):
    """What is in the file at this position is not a whole, valid batch."""


class NotInMemoryError(Exception):
    """What was asked for would have to be waited for."""


class BatchSource(Protocol):
    """Where batches are read from."""

    def read(self, size: int, position: int) -> bytes:
        """At most `size` bytes from `position`; raises OSError."""
        ...


class StoredBatch(NamedTuple):
    """A batch's place in its file, and its header."""

    position: int
    header: BatchHeader


def scan(
    file: SegmentFile, position: int, end: int, *, chunk_bytes: int = SCAN_BYTES, waits: bool = True
) -> Iterator[StoredBatch]:
    """The batches from `position`, which is where one begins, up to `end`, by their headers only.

    A batch that is not whole before `end` ends the walk. Raises CorruptBatchError, OSError, and NotInMemoryError
    instead of waiting for a disk if not `waits`.
    """
    chunk: Buffer = b""
    start = position
    while position + HEADER_BYTES <= end:
        at = position - start
        if at + HEADER_BYTES > len(chunk):
            wanted = min(chunk_bytes, end - position)
            chunk = file.read(wanted, position) if waits else _read_warm(file, wanted, position)
            start, at = position, 0
            if len(chunk) < HEADER_BYTES:
                return
        header = sound_header(chunk, at, position)
        if position + header.size_bytes > end:
            return
        yield StoredBatch(position, header)
        position += header.size_bytes


def scan_valid(file: BatchSource, position: int, end: int) -> Iterator[tuple[StoredBatch, memoryview]]:
    """The batches from `position` with their bytes, each checked against its CRC.

    Raises CorruptBatchError at the first that is not whole and valid; OSError.
    """
    for stored, view in scan_whole(file, position, end):
        check_crc(view, stored.header, stored.position)
        yield stored, view


def scan_whole(file: BatchSource, position: int, end: int) -> Iterator[tuple[StoredBatch, memoryview]]:
    """As `scan_valid`, without looking at checksums."""
    chunk = memoryview(b"")
    start = position
    while position < end:
        at = position - start
        if at + HEADER_BYTES > len(chunk):
            chunk = memoryview(file.read(min(_VALIDATE_BYTES, end - position), position))
            start, at = position, 0
        header = whole_header(chunk, at, position, end)
        size = header.size_bytes
        if at + size > len(chunk):
            chunk = memoryview(file.read(max(size, min(_VALIDATE_BYTES, end - position)), position))
            start, at = position, 0
            header = whole_header(chunk, 0, position, position + len(chunk))
        yield StoredBatch(position, header), chunk[at : at + size]
        position += size


def walk(data: memoryview, position: int = 0) -> Iterator[tuple[StoredBatch, memoryview]]:
    """The batches in memory with their bytes; `position` is where the first is in its file.

    Raises CorruptBatchError where they are not whole.
    """
    at = 0
    while at < len(data):
        header = whole_header(data, at, position + at, position + len(data))
        yield StoredBatch(position + at, header), data[at : at + header.size_bytes]
        at += header.size_bytes


def _read_warm(file: SegmentFile, size: int, position: int) -> Buffer:
    chunk = file.read_warm(size, position)
    if chunk is None or len(chunk) < HEADER_BYTES:
        raise NotInMemoryError
    return chunk


def sound_header(data: Buffer, at: int, position: int) -> BatchHeader:
    """The header at `at` in `data` and at `position` in its file. Raises CorruptBatchError if it cannot be one."""
    header = parse_header(data, at)
    if header.magic != MAGIC_V2:
        raise CorruptBatchError(f"a batch of magic {header.magic} at position {position}")
    if header.size_bytes < HEADER_BYTES or header.last_offset_delta < 0 or header.base_offset < 0:
        raise CorruptBatchError(f"no batch header at position {position}")
    return header


def whole_header(data: Buffer, at: int, position: int, end: int) -> BatchHeader:
    """As `sound_header`, and the whole batch must end by `end` in its file."""
    if len(data) - at < HEADER_BYTES:
        raise CorruptBatchError(f"half a batch header at position {position}")
    header = sound_header(data, at, position)
    if position + header.size_bytes > end:
        raise CorruptBatchError(f"half a batch at position {position}")
    return header


def check_crc(batch: memoryview, header: BatchHeader, position: int) -> None:
    """Raise CorruptBatchError unless the CRC in the header is that of the content."""
    if crc32c(batch[ATTRIBUTES_AT:], 0) != header.crc:
        raise CorruptBatchError(f"the checksum of the batch at position {position} does not hold")
