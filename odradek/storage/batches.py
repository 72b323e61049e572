"""Walking over the record batches of a file by their headers, without opening them."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple, Protocol

from odradek.ports.files import Buffer
from odradek.storage.segment_file import SegmentFile
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import (
    ATTRIBUTES_AT,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    MAGIC_V2,
    BatchHeader,
    parse_header,
)

SCAN_BYTES = 64 * 1024
_VALIDATE_BYTES = 1024 * 1024
_MIN_LENGTH = HEADER_BYTES - LOG_OVERHEAD_BYTES
_PLACE = Struct(">qi4xb6xi")
"""Of a header what says where its batch ends: base offset, length, magic, last offset delta."""


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
            chunk = _read(file, wanted, position, waits)
            start, at = position, 0
            if len(chunk) < HEADER_BYTES:
                return
        header = sound_header(chunk, at, position)
        if position + header.size_bytes > end:
            return
        yield StoredBatch(position, header)
        position += header.size_bytes


def find(
    file: SegmentFile, position: int, end: int, offset: int, *, chunk_bytes: int, waits: bool
) -> tuple[int, int, int] | None:
    """(position, size, base offset) of the first batch that `scan` finds whose last offset is not below `offset`.

    It is what every fetch begins with, and reads no more of a header than that takes. Raises as `scan`.
    """
    chunk: Buffer = b""
    start = position
    unpack = _PLACE.unpack_from
    while position + HEADER_BYTES <= end:
        at = position - start
        if at + HEADER_BYTES > len(chunk):
            wanted = min(chunk_bytes, end - position)
            chunk = _read(file, wanted, position, waits)
            start, at = position, 0
            if len(chunk) < HEADER_BYTES:
                return None
        base_offset, length, magic, last_offset_delta = unpack(chunk, at)
        if magic != MAGIC_V2 or length < _MIN_LENGTH or last_offset_delta < 0 or base_offset < 0:
            raise _no_header(magic, position)
        size = length + LOG_OVERHEAD_BYTES
        if position + size > end:
            return None
        if base_offset + last_offset_delta >= offset:
            return position, size, base_offset
        position += size
    return None


def scan_valid(
    file: BatchSource, position: int, end: int, *, checks_crc: bool = True
) -> Iterator[tuple[StoredBatch, memoryview]]:
    """The batches from `position` with their bytes, each checked against its CRC.

    Raises CorruptBatchError at the first that is not whole and valid; OSError.
    """
    chunk = memoryview(b"")
    at = there = 0
    while position < end:
        if at + HEADER_BYTES > there:
            chunk = memoryview(file.read(min(_VALIDATE_BYTES, end - position), position))
            at, there = 0, len(chunk)
        header = whole_header(chunk, at, position, end)
        behind = at + header.length + LOG_OVERHEAD_BYTES
        if behind > there:
            size = behind - at
            chunk = memoryview(file.read(max(size, min(_VALIDATE_BYTES, end - position)), position))
            at, behind, there = 0, size, len(chunk)
            header = whole_header(chunk, 0, position, position + there)
        batch = chunk[at:behind]
        if checks_crc and crc32c(batch[ATTRIBUTES_AT:], 0) != header.crc:
            raise _wrong_crc(position)
        yield StoredBatch(position, header), batch
        position += behind - at
        at = behind


def walk(data: memoryview, position: int = 0) -> Iterator[tuple[StoredBatch, memoryview]]:
    """The batches in memory with their bytes; `position` is where the first is in its file.

    Raises CorruptBatchError where they are not whole.
    """
    at = 0
    while at < len(data):
        header = whole_header(data, at, position + at, position + len(data))
        yield StoredBatch(position + at, header), data[at : at + header.size_bytes]
        at += header.size_bytes


def _read(file: SegmentFile, size: int, position: int, waits: bool) -> Buffer:
    if waits:
        return file.read(size, position)
    chunk = file.read_warm(size, position)
    if chunk is None or len(chunk) < HEADER_BYTES:
        raise NotInMemoryError
    return chunk


def sound_header(data: Buffer, at: int, position: int) -> BatchHeader:
    """The header at `at` in `data` and at `position` in its file. Raises CorruptBatchError if it cannot be one."""
    header = parse_header(data, at)
    if (
        header.magic != MAGIC_V2
        or header.length < _MIN_LENGTH
        or header.last_offset_delta < 0
        or header.base_offset < 0
    ):
        raise _no_header(header.magic, position)
    return header


def whole_header(data: Buffer, at: int, position: int, end: int) -> BatchHeader:
    """As `sound_header`, and the whole batch must end by `end` in its file."""
    if len(data) - at < HEADER_BYTES:
        raise CorruptBatchError(f"half a batch header at position {position}")
    header = sound_header(data, at, position)
    if position + header.length + LOG_OVERHEAD_BYTES > end:
        raise CorruptBatchError(f"half a batch at position {position}")
    return header


def check_crc(batch: memoryview, header: BatchHeader, position: int) -> None:
    """Raise CorruptBatchError unless the CRC in the header is that of the content."""
    if crc32c(batch[ATTRIBUTES_AT:], 0) != header.crc:
        raise _wrong_crc(position)


def _no_header(magic: int, position: int) -> CorruptBatchError:
    if magic != MAGIC_V2:
        return CorruptBatchError(f"a batch of magic {magic} at position {position}")
    return CorruptBatchError(f"no batch header at position {position}")


def _wrong_crc(position: int) -> CorruptBatchError:
    return CorruptBatchError(f"the checksum of the batch at position {position} does not hold")
