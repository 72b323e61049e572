"""Batches that a client should not send, by name, and the code that a leader answers with."""

from __future__ import annotations

from collections.abc import Callable

from odradek.wire.primitives import varint
from odradek.wire.records.batch import build_batch
from odradek.wire.records.compression import Codec, compress
from odradek.wire.records.header import HEADER_BYTES, BatchHeader, parse_header, seal_batch
from odradek.wire.records.legacy import build_message
from odradek.wire.records.record import Record, encode_record

from .examples import NOW_MS

RECORDS = [Record(index, NOW_MS, b"key %d" % index, b"value") for index in range(3)]
GOOD = build_batch(RECORDS)
ONE = encode_record(0, 0, b"k", b"v", b"\x00")
TWO = ONE + encode_record(1, 0, b"k", b"v", b"\x00")


def edit(change: Callable[[BatchHeader], BatchHeader], payload: bytes | None = None) -> bytes:
    """The good batch with another header (and records), its length and checksum right."""
    return seal_batch(change(parse_header(GOOD)), GOOD[HEADER_BYTES:] if payload is None else payload)


def fields(payload: bytes | None = None, **values: int) -> bytes:
    """The good batch with other values in its header."""
    return edit(lambda header: header._replace(**values), payload)


def put(position: int, data: bytes) -> bytes:
    """The good batch with other bytes in it, its checksum as it was."""
    return GOOD[:position] + data + GOOD[position + len(data) :]


HEADER_FAULTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "INVALID_RECORD"),
    "eleven bytes": (GOOD[:11], "INVALID_RECORD"),
    "sixteen bytes": (GOOD[:16], "INVALID_RECORD"),
    "all but the last byte": (GOOD[:-1], "INVALID_RECORD"),
    "negative length": (put(8, b"\xff\xff\xff\xff"), "CORRUPT_MESSAGE"),
    "lowest length": (put(8, b"\x80\x00\x00\x00"), "CORRUPT_MESSAGE"),
    "length 0": (put(8, bytes(4)), "CORRUPT_MESSAGE"),
    "length 13": (put(8, b"\x00\x00\x00\x0d"), "CORRUPT_MESSAGE"),
    "largest length that can be": (put(8, b"\x7f\xff\xff\xf3"), "INVALID_RECORD"),
    "magic 3": (put(16, b"\x03"), "CORRUPT_MESSAGE"),
    "magic -1": (put(16, b"\xff"), "CORRUPT_MESSAGE"),
    "magic 0": (build_message(0, b"k", b"v", magic=0), "INVALID_RECORD"),
    "magic 1": (build_message(0, b"k", b"v", magic=1, timestamp_ms=NOW_MS), "INVALID_RECORD"),
    "two batches": (GOOD + GOOD, "INVALID_RECORD"),
    "a batch and a negative length": (GOOD + bytes(8) + b"\xff" * 9, "CORRUPT_MESSAGE"),
    "count 0": (fields(record_count=0), "INVALID_RECORD"),
    "negative count": (fields(record_count=-1), "INVALID_RECORD"),
    "count below the offsets": (fields(record_count=2), "INVALID_RECORD"),
    "count above the offsets": (fields(record_count=4), "INVALID_RECORD"),
    "largest offset delta": (fields(last_offset_delta=(1 << 31) - 1), "INVALID_RECORD"),
    "negative offset delta": (fields(last_offset_delta=-2), "INVALID_RECORD"),
    "control batch": (fields(attributes=0x20), "INVALID_RECORD"),
    "control batch of a transaction": (fields(attributes=0x30, producer_id=1), "INVALID_RECORD"),
    "producer without a sequence": (fields(producer_id=1, base_sequence=-1), "INVALID_RECORD"),
    "producer with a negative sequence": (fields(producer_id=1, base_sequence=-9), "INVALID_RECORD"),
}
"""What the header shows."""

LOG_FAULTS: dict[str, tuple[bytes, str]] = {
    "base offset 1": (fields(base_offset=1), "INVALID_RECORD"),
    "negative base offset": (fields(base_offset=-1), "INVALID_RECORD"),
    "wrong checksum": (put(17, b"\x00\x00\x00\x01"), "CORRUPT_MESSAGE"),
    "changed record": (put(len(GOOD) - 2, b"X"), "CORRUPT_MESSAGE"),
    "no room for the header": (put(8, b"\x00\x00\x00\x30")[:60], "CORRUPT_MESSAGE"),
    "length beyond the largest": (put(8, b"\x7f\xff\xff\xf4"), "CORRUPT_MESSAGE"),
    "largest length": (put(8, b"\x7f\xff\xff\xff"), "CORRUPT_MESSAGE"),
    "unknown codec": (fields(attributes=5), "UNSUPPORTED_COMPRESSION_TYPE"),
}
"""What Kafka's log checks before its validator, or answers with UNKNOWN_SERVER_ERROR (the last three)."""

RECORD_FAULTS: dict[str, tuple[bytes, str]] = {
    "fewer records": (fields(ONE), "INVALID_RECORD"),
    "more records": (fields(TWO + TWO), "INVALID_RECORD"),
    "negative record size": (
        fields(b"\x01" + ONE, record_count=1, last_offset_delta=0),
        "INVALID_RECORD",
    ),
    "record size beyond the batch": (
        fields(varint(1 << 30) + ONE[1:], record_count=1, last_offset_delta=0),
        "INVALID_RECORD",
    ),
    "record size that does not end, compressed": (
        fields(compress(Codec.GZIP, b"\xff" * 20), record_count=1, last_offset_delta=0, attributes=Codec.GZIP),
        "INVALID_RECORD",
    ),
    "record size that is cut off": (
        fields(b"\xff" * 4, record_count=1, last_offset_delta=0),
        "INVALID_RECORD",
    ),
    "largest varint as size": (
        fields(b"\xff" * 4 + b"\x0f" + ONE, record_count=1, last_offset_delta=0),
        "INVALID_RECORD",
    ),
    "timestamp delta that does not end": (
        fields(b"\x20\x00" + b"\xff" * 15, record_count=1, last_offset_delta=0),
        "INVALID_RECORD",
    ),
    "key size that does not end": (
        fields(b"\x20\x00\x00\x00" + b"\xff" * 13, record_count=1, last_offset_delta=0),
        "INVALID_RECORD",
    ),
    "fewer compressed records": (
        fields(compress(Codec.GZIP, ONE), attributes=Codec.GZIP),
        "INVALID_RECORD",
    ),
    "more compressed records": (
        fields(compress(Codec.ZSTD, TWO + TWO), attributes=Codec.ZSTD),
        "INVALID_RECORD",
    ),
    "negative size, compressed": (
        fields(compress(Codec.LZ4, b"\x01" + ONE), record_count=1, last_offset_delta=0, attributes=Codec.LZ4),
        "INVALID_RECORD",
    ),
}
"""What only opening the records shows."""

UNREADABLE_FAULTS: dict[str, tuple[bytes, str]] = {
    "record size that does not end": (
        fields(b"\xff" * 20, record_count=1, last_offset_delta=0),
        "CORRUPT_MESSAGE",
    ),
    "record size that does not end, of a second record": (
        fields(ONE + b"\x80" * 5 + ONE, record_count=2, last_offset_delta=1),
        "CORRUPT_MESSAGE",
    ),
}
"""What only opening the records shows, and Kafka answers with UNKNOWN_SERVER_ERROR."""
