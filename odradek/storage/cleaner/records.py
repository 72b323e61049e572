"""The records of a batch as the cleaner looks at them: key, whether there is a value, and the bytes to copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.primitives import read_varint, read_varlong, varint, varlong
from odradek.wire.records.batch import record_payload
from odradek.wire.records.compression import Codec, compress
from odradek.wire.records.header import (
    CODEC_MASK,
    DELETE_HORIZON_BIT,
    NO_TIMESTAMP,
    BatchHeader,
    TimestampType,
    seal_batch,
)
from odradek.wire.records.record import MAX_RECORD_BYTES, add_int64, invalid_record


class KeyedRecord(NamedTuple):
    """One record of a payload. Positions are in the payload."""

    offset_delta: int
    timestamp_delta: int
    key: bytes | None
    has_value: bool
    start: int
    """Where it begins, with its length."""
    offset_at: int
    """Where its offset delta begins: from there on nothing depends on the batch's base timestamp."""
    end: int


def read_records(batch: memoryview, header: BatchHeader, max_record_bytes: int) -> tuple[bytes, list[KeyedRecord]]:
    """A batch's payload, decompressed, and its records.

    `max_record_bytes` limits each record of a compressed batch. Raises KafkaError CORRUPT_MESSAGE, MESSAGE_TOO_LARGE,
    UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD.
    """
    payload = record_payload(batch, header)
    limit = max_record_bytes if header.attributes & CODEC_MASK else MAX_RECORD_BYTES
    try:
        records = _scan(payload, header.record_count, limit)
    except (IndexError, ProtocolError) as error:
        raise invalid_record(f"Record structure does not hold: {error}") from error
    if (records[-1].end if records else 0) != len(payload):
        raise invalid_record(f"{header.record_count} records do not make up {len(payload)} bytes")
    return payload, records


def rewrite_batch(
    header: BatchHeader, payload: bytes, records: Sequence[KeyedRecord], delete_horizon_ms: int | None
) -> bytes:
    """The batch with only these records, one or more: offsets, producer, epochs and codec stay as they are.

    The base timestamp becomes the first record's, or `delete_horizon_ms` (KIP-534).
    """
    if header.timestamp_type is TimestampType.LOG_APPEND_TIME:
        max_timestamp_ms = header.max_timestamp_ms
        base_ms = max_timestamp_ms if delete_horizon_ms is None else delete_horizon_ms
        kept = b"".join(_with_delta(payload, record, max_timestamp_ms - base_ms) for record in records)
    else:
        old_base_ms = header.base_timestamp_ms
        max_timestamp_ms = max(NO_TIMESTAMP, *(add_int64(old_base_ms, record.timestamp_delta) for record in records))
        first_ms = add_int64(old_base_ms, records[0].timestamp_delta)
        base_ms = first_ms if delete_horizon_ms is None else delete_horizon_ms
        shift = old_base_ms - base_ms
        kept = b"".join(_shifted(payload, records, shift) if shift else _runs(payload, records))
    codec = header.codec
    attributes = header.attributes | DELETE_HORIZON_BIT
    if delete_horizon_ms is None:
        attributes ^= DELETE_HORIZON_BIT
    changed = header._replace(
        attributes=attributes, base_timestamp_ms=base_ms, max_timestamp_ms=max_timestamp_ms, record_count=len(records)
    )
    return seal_batch(changed, kept if codec is Codec.NONE else compress(codec, kept))


def _runs(payload: bytes, records: Sequence[KeyedRecord]) -> Iterable[bytes]:
    """The records' bytes, neighbours in one piece."""
    start, end = records[0].start, records[0].end
    for record in records[1:]:
        if record.start != end:
            yield payload[start:end]
            start = record.start
        end = record.end
    yield payload[start:end]


def _shifted(payload: bytes, records: Sequence[KeyedRecord], shift: int) -> Iterable[bytes]:
    for record in records:
        yield _with_delta(payload, record, add_int64(record.timestamp_delta, shift))


def _with_delta(payload: bytes, record: KeyedRecord, timestamp_delta: int) -> bytes:
    delta = varlong(timestamp_delta)
    rest = payload[record.offset_at : record.end]
    return b"".join((varint(1 + len(delta) + len(rest)), b"\x00", delta, rest))


def _scan(payload: bytes, count: int, max_record_bytes: int) -> list[KeyedRecord]:
    """As `wire.records.record.scan_records`, without a look at headers and values.

    The hottest loop of the cleaner: varints of one and two bytes are read inline.
    """
    if count < 0:
        raise invalid_record(f"Batch says it has {count} records")
    size = len(payload)
    records: list[KeyedRecord] = []
    add = records.append
    new, kind = tuple.__new__, KeyedRecord
    position = 0
    for _ in range(count):
        start = position
        byte = payload[position]
        if byte < 128:
            length = (byte >> 1) ^ -(byte & 1)
            position += 1
        elif payload[position + 1] < 128:
            byte = byte & 127 | payload[position + 1] << 7
            length = (byte >> 1) ^ -(byte & 1)
            position += 2
        else:
            length, position = read_varint(payload, position)
        end = position + length
        if length < 0 or end > size:
            raise invalid_record(f"Record of {length} bytes where {size - position} are left")
        if length > max_record_bytes:
            raise KafkaError(
                ErrorCode.INVALID_RECORD, f"Record of {length} bytes, of which {max_record_bytes} are allowed"
            )
        position += 1
        byte = payload[position]
        if byte < 128:
            timestamp_delta = (byte >> 1) ^ -(byte & 1)
            position += 1
        else:
            timestamp_delta, position = read_varlong(payload, position)
        offset_at = position
        byte = payload[position]
        if byte < 128:
            offset_delta = (byte >> 1) ^ -(byte & 1)
            position += 1
        elif payload[position + 1] < 128:
            byte = byte & 127 | payload[position + 1] << 7
            offset_delta = (byte >> 1) ^ -(byte & 1)
            position += 2
        else:
            offset_delta, position = read_varint(payload, position)
        byte = payload[position]
        if byte < 128:
            key_length = (byte >> 1) ^ -(byte & 1)
            position += 1
        else:
            key_length, position = read_varint(payload, position)
        key = None
        if key_length >= 0:
            key = payload[position : position + key_length]
            position += key_length
        # A null value is -1, which is 1 as a varint; the longer forms of it count as a value, whose length is wrong.
        has_value = payload[position] != 1
        if position >= end:
            raise invalid_record(f"Record of {length} bytes ends in its key")
        add(new(kind, (offset_delta, timestamp_delta, key, has_value, start, offset_at, end)))
        position = end
    return records
