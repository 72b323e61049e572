"""Record batches by hand: every field of the header can be told to lie."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crc32c import crc32c

from odradek.wire.schema import Records

CODEC_GZIP = 1
TIMESTAMP_TYPE_BIT = 8
TRANSACTIONAL_BIT = 16
CONTROL_BIT = 32
_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = _HEADER.size


def varint(value: int) -> bytes:
    unsigned = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while unsigned & ~0x7F:
        encoded.append(unsigned & 0x7F | 0x80)
        unsigned = (unsigned >> 7) & (1 << 63) - 1
    encoded.append(unsigned)
    return bytes(encoded)


def _blob(value: bytes | None) -> bytes:
    return varint(-1) if value is None else varint(len(value)) + value


def record(
    value: bytes | None, key: bytes | None = None, *, offset_delta: int = 0, timestamp_delta: int = 0, headers: int = 0
) -> bytes:
    body = b"\x00" + varint(timestamp_delta) + varint(offset_delta) + _blob(key) + _blob(value) + varint(headers)
    return varint(len(body)) + body


@dataclass(frozen=True)
class Lies:
    """Header fields to write instead of the true ones."""

    magic: int = 2
    attributes: int = 0
    crc_xor: int = 0
    count: int | None = None
    last_offset_delta: int | None = None
    length: int | None = None
    base_offset: int = 0
    max_timestamp_ms: int | None = None


HONEST = Lies()


def batch(
    values: Sequence[bytes | None] = (b"value",),
    *,
    keys: Sequence[bytes | None] | None = None,
    timestamp_ms: int = 1_700_000_000_000,
    timestamps_ms: Sequence[int] | None = None,
    producer: tuple[int, int, int] = (-1, -1, -1),
    payload: bytes | None = None,
    lies: Lies = HONEST,
) -> bytes:
    """One batch of magic 2. ``producer`` is (id, epoch, base sequence); ``payload`` replaces the records' bytes."""
    keys = keys or [None] * len(values)
    times = timestamps_ms or [timestamp_ms] * len(values)
    if payload is None:
        payload = b"".join(
            record(value, key, offset_delta=index, timestamp_delta=time - times[0])
            for index, (value, key, time) in enumerate(zip(values, keys, times, strict=True))
        )
        if lies.attributes & 7 == CODEC_GZIP:
            payload = gzip.compress(payload, mtime=0)
    count = len(values) if lies.count is None else lies.count
    last_delta = len(values) - 1 if lies.last_offset_delta is None else lies.last_offset_delta
    max_timestamp = max(times) if lies.max_timestamp_ms is None else lies.max_timestamp_ms
    checked = struct.pack(">hiqqqhii", lies.attributes, last_delta, times[0], max_timestamp, *producer, count) + payload
    length = len(checked) + 9 if lies.length is None else lies.length
    front = struct.pack(">qiibI", lies.base_offset, length, 0, lies.magic, crc32c(checked) ^ lies.crc_xor)
    return front + checked


@dataclass(frozen=True)
class Batch:
    """What a test reads from a batch's header, and its records where they are not compressed."""

    base_offset: int
    size: int
    leader_epoch: int
    attributes: int
    last_offset_delta: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer: tuple[int, int, int]
    count: int
    crc_is_right: bool
    payload: bytes

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def values(self) -> list[bytes | None]:
        payload = gzip.decompress(self.payload) if self.attributes & 7 == CODEC_GZIP else self.payload
        found: list[bytes | None] = []
        position = 0
        for _ in range(self.count):
            _, position = _read_varint(payload, position)
            position += 1
            for _ in range(2):
                _, position = _read_varint(payload, position)
            size, position = _read_varint(payload, position)
            position += max(size, 0)
            size, position = _read_varint(payload, position)
            found.append(None if size < 0 else payload[position : position + size])
            position += max(size, 0)
            headers, position = _read_varint(payload, position)
            for _ in range(headers * 2):
                size, position = _read_varint(payload, position)
                position += max(size, 0)
        return found


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), position
        shift += 7


def raw(records: Records | None) -> bytes:
    """A records field as it came from the wire; null is empty."""
    assert records is None or isinstance(records, bytes | bytearray | memoryview)
    return bytes(records or b"")


def batches(records: Records | None) -> Iterator[Batch]:
    """The whole batches in what a fetch returned; an incomplete one at the end is left out."""
    data = raw(records)
    position = 0
    while position + HEADER_BYTES <= len(data):
        base, length, epoch, _, crc, attributes, delta, first, last, *producer, count = _HEADER.unpack_from(
            data, position
        )
        end = position + 12 + length
        if end > len(data):
            return
        yield Batch(
            base_offset=base,
            size=12 + length,
            leader_epoch=epoch,
            attributes=attributes,
            last_offset_delta=delta,
            base_timestamp_ms=first,
            max_timestamp_ms=last,
            producer=(producer[0], producer[1], producer[2]),
            count=count,
            crc_is_right=crc32c(data[position + 21 : end]) == crc,
            payload=data[position + HEADER_BYTES : end],
        )
        position = end
