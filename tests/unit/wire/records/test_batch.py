"""Records go into a batch and come out of it; bytes that are no records are an error code, nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.primitives import varint, varlong
from odradek.wire.records.batch import (
    BatchBuilder,
    build_batch,
    build_empty_batch,
    iter_records,
    rebuild_batch,
)
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import (
    HEADER_BYTES,
    BatchHeader,
    TimestampType,
    crc_is_valid,
    parse_header,
    seal_batch,
)
from odradek.wire.records.record import Record, encode_record

from .examples import codecs, record_lists


def raw_batch(payload: bytes, count: int, attributes: int = 0, **fields: int) -> bytes:
    """A batch whose records are just these bytes."""
    header = BatchHeader(0, 0, -1, 2, 0, attributes, count - 1, 0, 0, -1, -1, -1, count)
    return seal_batch(header._replace(**fields), payload)


def code_of(batch: bytes, limit_bytes: int = 10_000) -> ErrorCode:
    """The code with which reading a batch's records ends."""
    with pytest.raises(KafkaError) as caught:
        list(iter_records(batch, limit_bytes))
    return caught.value.code


@given(record_lists(base_offset=1000), codecs)
def test_round_trip(records: list[Record], codec: Codec) -> None:
    batch = build_batch(records, 1000, codec=codec, leader_epoch=3)
    assert list(iter_records(memoryview(batch))) == records
    header = parse_header(batch)
    assert crc_is_valid(batch)
    assert header.size_bytes == len(batch)
    assert (header.base_offset, header.last_offset, header.record_count) == (
        1000,
        records[-1].offset,
        len(records),
    )
    assert header.max_timestamp_ms == max(record.timestamp_ms for record in records)
    assert (header.codec, header.leader_epoch, header.is_control) == (codec, 3, False)


@given(record_lists())
def test_headers_are_read_as_they_were_written(records: list[Record]) -> None:
    again = [Record(r.offset, r.timestamp_ms, r.key, r.value, r.headers) for r in iter_records(build_batch(records))]
    assert again == records


def test_records_are_parsed_as_they_are_asked_for() -> None:
    good = encode_record(0, 0, b"k", b"v", b"\x00")
    records = iter_records(raw_batch(good + b"\xff", 2))
    assert next(records) == Record(0, 0, b"k", b"v")
    with pytest.raises(KafkaError):
        next(records)


def test_a_header_name_that_is_not_utf8_is_read_as_java_does_and_kept() -> None:
    odd = encode_record(0, 0, None, None, b"\x02\x02\xff\x01")
    (record,) = iter_records(raw_batch(odd, 1))
    assert record.headers == (("\ufffd", None),)
    assert raw_batch(odd, 1)[HEADER_BYTES:] == build_batch([record])[HEADER_BYTES:]


def test_timestamps_wrap_around_as_in_java() -> None:
    (record,) = iter_records(raw_batch(encode_record(0, (1 << 63) - 1, None, None, b"\x00"), 1, base_timestamp_ms=2))
    assert record.timestamp_ms == -(1 << 63) + 1


def test_the_builder_knows_its_size_and_keeps_gaps() -> None:
    builder = BatchBuilder(10, producer_id=4, producer_epoch=1, base_sequence=7, is_transactional=True)
    builder.append(5, b"k", b"v")
    builder.append(3, None, None, [("h", b"x")], offset=14)
    assert (builder.record_count, builder.next_offset) == (2, 15)
    with pytest.raises(ValueError, match="14"):
        builder.append(0, None, None, offset=14)
    with pytest.raises(ValueError, match="batch from 10"):
        builder.append(0, None, None, offset=10 + (1 << 31))
    batch = builder.build(last_offset=20)
    assert len(batch) == builder.size_bytes
    assert [record.offset for record in iter_records(batch)] == [10, 14]
    header = parse_header(batch)
    assert (header.last_offset, header.base_timestamp_ms, header.max_timestamp_ms) == (20, 5, 5)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4, 1, 7)
    assert header.is_transactional


def test_a_delete_horizon_stands_in_place_of_the_base_timestamp() -> None:
    builder = BatchBuilder(delete_horizon_ms=77)
    builder.append(100, b"k", None)
    batch = builder.build()
    assert parse_header(batch).delete_horizon_ms == 77
    assert next(iter_records(batch)).timestamp_ms == 100
    assert parse_header(build_batch([Record(0, 1, None, None)])).delete_horizon_ms is None


def test_an_emptied_batch_keeps_its_place_and_its_producer() -> None:
    full = build_batch(
        [Record(5, 9, b"k", None), Record(6, 8, b"k", None)],
        5,
        codec=Codec.LZ4,
        producer_id=3,
        producer_epoch=2,
        base_sequence=4,
        is_transactional=True,
    )
    batch = build_empty_batch(parse_header(full))
    header = parse_header(batch)
    assert len(batch) == HEADER_BYTES
    assert crc_is_valid(batch)
    assert list(iter_records(batch)) == []
    assert (header.base_offset, header.last_offset, header.max_timestamp_ms) == (5, 6, 9)
    assert (header.producer_id, header.producer_epoch, header.last_sequence) == (3, 2, 5)
    assert (header.codec, header.is_transactional) == (Codec.NONE, True)


@given(record_lists(base_offset=3), codecs, codecs)
def test_a_rebuilt_batch_has_the_same_records_in_another_codec(
    records: list[Record], source: Codec, target: Codec
) -> None:
    batch = build_batch(records, 3, codec=source, producer_id=9, producer_epoch=1, base_sequence=2, leader_epoch=5)
    rebuilt = rebuild_batch(batch, codec=target)
    assert list(iter_records(rebuilt)) == records
    assert parse_header(rebuilt)[9:] == parse_header(batch)[9:]
    assert parse_header(rebuilt).codec is target
    assert parse_header(rebuilt).leader_epoch == 5


def test_rebuilding_closes_gaps_and_sets_append_time() -> None:
    batch = build_batch([Record(0, 1, b"a", None), Record(7, 2, b"b", None)], codec=Codec.GZIP)
    rebuilt = rebuild_batch(
        batch, codec=Codec.ZSTD, timestamp_type=TimestampType.LOG_APPEND_TIME, log_append_time_ms=50
    )
    assert list(iter_records(rebuilt)) == [Record(0, 50, b"a", None), Record(1, 50, b"b", None)]


def body(
    *,
    attributes: bytes = b"\x00",
    timestamp: bytes = b"\x00",
    offset: bytes = b"\x00",
    key: bytes = b"\x01",
    value: bytes = b"\x01",
    headers: bytes = b"\x00",
    size: int | None = None,
) -> bytes:
    """One record of exactly these bytes, its length right unless `size` says otherwise."""
    data = attributes + timestamp + offset + key + value + headers
    return varint(len(data) if size is None else size) + data


BAD_RECORDS = {
    "nothing": b"",
    "negative size": body(size=-1),
    "size of zero": b"\x00",
    "size too large": body(size=7),
    "size too small": body(size=5),
    "size beyond int32": b"\xff\xff\xff\xff\x0f" + body()[1:],
    "size that does not end": b"\xff" * 6,
    "key beyond the record": body(key=varint(1)),
    "key beyond the batch": body(key=varint(1000)),
    "value beyond the batch": body(value=varint(1 << 30)),
    "negative number of headers": body(headers=varint(-1)),
    "more headers than bytes": body(headers=varint(1 << 30)),
    "header without a value": body(headers=varint(1) + varint(0)),
    "negative header name": body(headers=varint(1) + varint(-1) + varint(0)),
    "header beyond the batch": body(headers=varint(1) + varint(0) + varint(1000)),
    "timestamp that does not end": body(timestamp=b"\xff" * 10),
    "offset that does not end": body(offset=b"\xff" * 5),
    "bytes after the last record": body() + b"\x00",
}


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.SNAPPY])
@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_record_that_does_not_hold_together_is_invalid(name: str, codec: Codec) -> None:
    from odradek.wire.records.compression import compress

    assert code_of(raw_batch(compress(codec, BAD_RECORDS[name]), 1, codec)) is ErrorCode.INVALID_RECORD


def test_lengths_below_minus_one_are_null_as_in_java() -> None:
    (record,) = iter_records(raw_batch(body(key=varint(-2), value=varint(-(1 << 31))), 1))
    assert (record.key, record.value) == (None, None)


def test_the_widest_deltas_are_read() -> None:
    wide = body(timestamp=varlong(-(1 << 63)), offset=varint((1 << 31) - 1))
    (record,) = iter_records(raw_batch(wide, 1, base_timestamp_ms=-1, base_offset=1))
    assert (record.offset, record.timestamp_ms) == (1 << 31, (1 << 63) - 1)


def test_fewer_records_than_the_header_says_are_invalid() -> None:
    assert code_of(raw_batch(body(), 2)) is ErrorCode.INVALID_RECORD
    assert code_of(raw_batch(body(), (1 << 31) - 1)) is ErrorCode.INVALID_RECORD
    assert code_of(raw_batch(body(), -1)) is ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_what_does_not_decompress_is_corrupt(codec: Codec) -> None:
    assert code_of(raw_batch(b"garbage, not compressed", 1, codec)) is ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("codec", list(Codec))
def test_records_above_the_limit_are_too_large(codec: Codec) -> None:
    batch = build_batch([Record(0, 0, None, bytes(5000))], codec=codec)
    assert len(list(iter_records(batch, 5009))) == 1
    assert code_of(batch, 5008) is ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("number", [5, 6, 7])
def test_an_unknown_codec_is_unsupported(number: int) -> None:
    assert code_of(raw_batch(body(), 1, number)) is ErrorCode.UNSUPPORTED_COMPRESSION_TYPE


def test_a_batch_that_is_cut_off_or_of_another_magic_is_refused() -> None:
    batch = build_batch([Record(0, 0, None, b"v")])
    assert code_of(batch[:-1]) is ErrorCode.CORRUPT_MESSAGE
    assert code_of(batch[:40]) is ErrorCode.CORRUPT_MESSAGE
    assert code_of(batch[:16] + b"\x01" + batch[17:]) is ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT


@given(st.binary(max_size=120), st.integers(-2, 5), codecs)
def test_any_payload_is_records_or_an_error_code(payload: bytes, count: int, codec: Codec) -> None:
    with contextlib.suppress(KafkaError):
        list(iter_records(raw_batch(payload, count, codec), 10_000))


@given(record_lists(), codecs, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=3))
def test_a_damaged_batch_is_records_or_an_error_code(
    records: list[Record], codec: Codec, changes: list[tuple[int, int]]
) -> None:
    batch = bytearray(build_batch(records, codec=codec))
    for position, value in changes:
        batch[position % len(batch)] = value
    with contextlib.suppress(KafkaError):
        for record in iter_records(batch, 100_000):
            assert isinstance(record.headers, tuple)
