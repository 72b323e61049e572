"""One record of magic 2: `Record` and its bytes.

A record is a varint length and that many bytes: attributes, timestamp delta, offset delta, key, value, headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.primitives import read_varint, read_varlong, varint, varlong

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

Fields: TypeAlias = tuple[int, int, int, int, int, int, int, int]
"""(timestamp delta, offset delta, key start, key end, value start, value end, headers start, headers end).

Positions are in the payload that was scanned. A null key or value starts at -1.
"""

NO_HEADERS = b"\x00"
MAX_RECORD_BYTES = 0x7FFF_FFF7
"""The default of `max.decompressed.message.bytes`: what Java could allocate at all."""
_NULL = b"\x01"
_INT64_SPAN = 1 << 63
_VARINT_BYTES = 5
_INVALID = ErrorCode.INVALID_RECORD


class Record:
    """A record with its absolute offset. Headers stay encoded until they are asked for."""

    __slots__ = ("header_bytes", "key", "offset", "timestamp_ms", "value")

    def __init__(
        self, offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> None:
        self.offset = offset
        self.timestamp_ms = timestamp_ms
        self.key = key
        self.value = value
        self.header_bytes = encode_headers(headers) if headers else NO_HEADERS

    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """The headers in their order; bytes of a name that are not UTF-8 become U+FFFD, as in Java."""
        return decode_headers(self.header_bytes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return self._identity() == other._identity()

    def _identity(self) -> tuple[int, int, bytes | None, bytes | None, bytes]:
        return self.offset, self.timestamp_ms, self.key, self.value, self.header_bytes

    def __repr__(self) -> str:
        headers = f", headers={self.headers!r}" if self.header_bytes != NO_HEADERS else ""
        return f"Record({self.offset}, {self.timestamp_ms}, {self.key!r}, {self.value!r}{headers})"


def make_record(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None, header_bytes: bytes) -> Record:
    """A record whose headers are already encoded."""
    record = Record.__new__(Record)
    record.offset = offset
    record.timestamp_ms = timestamp_ms
    record.key = key
    record.value = value
    record.header_bytes = header_bytes
    return record


def encode_headers(headers: Headers) -> bytes:
    """The number of headers and the headers."""
    parts = [varint(len(headers))]
    for name, value in headers:
        encoded = name.encode()
        parts += (varint(len(encoded)), encoded)
        parts += (_NULL,) if value is None else (varint(len(value)), value)
    return b"".join(parts)


def decode_headers(data: bytes) -> tuple[tuple[str, bytes | None], ...]:
    """What `encode_headers` wrote; `data` must come from there or from a scanned record."""
    if data == NO_HEADERS:
        return ()
    count, position = read_varint(data, 0)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        length, position = read_varint(data, position)
        name = data[position : position + length].decode(errors="replace")
        position += length
        length, position = read_varint(data, position)
        value = None if length < 0 else data[position : position + length]
        position += max(0, length)
        headers.append((name, value))
    return tuple(headers)


def encode_record(
    offset_delta: int, timestamp_delta_ms: int, key: bytes | None, value: bytes | None, header_bytes: bytes
) -> bytes:
    """The bytes of one record, its length first."""
    body = b"".join(
        (
            b"\x00",
            varlong(timestamp_delta_ms),
            varint(offset_delta),
            _NULL if key is None else varint(len(key)) + key,
            _NULL if value is None else varint(len(value)) + value,
            header_bytes,
        )
    )
    return varint(len(body)) + body


def add_int64(base: int, delta: int) -> int:
    """The sum of two int64, which wraps around as it does in Java: timestamp deltas are the producer's to choose."""
    total = base + delta
    if -_INT64_SPAN <= total < _INT64_SPAN:
        return total
    return (total + _INT64_SPAN) % (2 * _INT64_SPAN) - _INT64_SPAN


def invalid_record(what: str) -> KafkaError:
    """What a record whose structure does not hold is answered with."""
    return KafkaError(_INVALID, what)


def scan_records(
    payload: bytes,
    count: int,
    max_record_bytes: int = MAX_RECORD_BYTES,
    overlong_length: ErrorCode = ErrorCode.INVALID_RECORD,
) -> Iterator[Fields]:
    """The fields of the `count` records that `payload` is made of, one record at a time.

    KafkaError INVALID_RECORD where a record's structure does not hold, one is longer than `max_record_bytes`, or
    bytes are left after the last one; `overlong_length` where a record's length is a varint that does not end.
    """
    position = 0
    try:
        for _ in range(count):
            fields, position = _scan_record(payload, position, max_record_bytes)
            yield fields
    except (IndexError, ProtocolError) as error:
        code = overlong_length if _is_overlong(payload[position : position + _VARINT_BYTES]) else _INVALID
        raise KafkaError(code, f"Record structure does not hold: {error}") from error
    if position != len(payload):
        raise invalid_record(f"{len(payload) - position} bytes after the last of {count} records")


def _is_overlong(start: bytes) -> bool:
    """Whether a varint that starts like this is longer than a varint may be."""
    return len(start) == _VARINT_BYTES and min(start) >= 128


def _scan_record(payload: bytes, position: int, max_record_bytes: int) -> tuple[Fields, int]:
    """One record's fields and where the next starts. Varints of one byte, the common ones, are read inline."""
    byte = payload[position]
    if byte < 128:
        length = byte >> 1 if not byte & 1 else -1
        position += 1
    else:
        length, position = read_varint(payload, position)
    end = position + length
    if length < 0 or end > len(payload):
        raise invalid_record(f"Record of {length} bytes where {len(payload) - position} are left")
    if length > max_record_bytes:
        raise invalid_record(f"Record of {length} bytes, of which {max_record_bytes} are allowed")
    position += 1
    byte = payload[position]
    if byte < 128:
        timestamp_delta = (byte >> 1) ^ -(byte & 1)
        position += 1
    else:
        timestamp_delta, position = read_varlong(payload, position)
    byte = payload[position]
    if byte < 128:
        offset_delta = (byte >> 1) ^ -(byte & 1)
        position += 1
    else:
        offset_delta, position = read_varint(payload, position)
    key_start, key_end, position = _scan_bytes(payload, position)
    value_start, value_end, position = _scan_bytes(payload, position)
    headers_start = position
    if payload[position]:
        position = _skip_headers(payload, position)
    else:
        position += 1
    if position != end:
        raise invalid_record(f"Record says {length} bytes and is {length + position - end}")
    return (
        timestamp_delta,
        offset_delta,
        key_start,
        key_end,
        value_start,
        value_end,
        headers_start,
        end,
    ), end


def _scan_bytes(payload: bytes, position: int) -> tuple[int, int, int]:
    """(start, end, next position) of a key or value; (-1, -1, next position) for null."""
    byte = payload[position]
    if byte < 128:
        length = (byte >> 1) ^ -(byte & 1)
        position += 1
    else:
        length, position = read_varint(payload, position)
    if length < 0:
        return -1, -1, position
    return position, position + length, position + length


def _skip_headers(payload: bytes, position: int) -> int:
    count, position = read_varint(payload, position)
    if count < 0 or count > len(payload) - position:
        raise invalid_record(f"Record with {count} headers")
    for _ in range(count):
        length, position = read_varint(payload, position)
        if length < 0:
            raise invalid_record(f"Header name of {length} bytes")
        position += length
        length, position = read_varint(payload, position)
        position += max(0, length)
    return position
