"""What a leader takes from a client and what it refuses, with Kafka's codes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import build_batch, rebuild_batch
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import TimestampType, parse_header
from odradek.wire.records.record import Record, encode_record
from odradek.wire.records.validation import (
    MAX_RECORD_ERRORS,
    RecordError,
    RecordRules,
    RecordValidationError,
    check_batch,
    must_open,
    validate_records,
)

from .examples import NOW_MS, codecs, record_lists
from .hostile import GOOD, HEADER_FAULTS, LOG_FAULTS, ONE, RECORD_FAULTS, RECORDS, UNREADABLE_FAULTS, fields

MAX_BYTES = 1 << 20
LENIENT = RecordRules(timestamp_after_max_ms=1 << 63)


def refusal(records: bytes, max_bytes: int = MAX_BYTES, *, allow_zstd: bool = True) -> str:
    """The code with which `check_batch` refuses."""
    with pytest.raises(KafkaError) as caught:
        check_batch(records, max_bytes, allow_zstd=allow_zstd)
    return caught.value.code.name


@given(record_lists(), codecs, st.integers(-1, 1 << 62))
def test_a_good_batch_is_taken(records: list[Record], codec: Codec, producer_id: int) -> None:
    batch = build_batch(records, codec=codec, producer_id=producer_id, base_sequence=0)
    assert check_batch(memoryview(batch), len(batch)) == parse_header(batch)
    found = validate_records(batch, parse_header(batch), LENIENT, NOW_MS)
    assert found.max_timestamp_ms == max(record.timestamp_ms for record in records)
    assert found.offsets_are_consecutive


@pytest.mark.parametrize("name", HEADER_FAULTS | LOG_FAULTS)
def test_a_fault_in_the_header_is_refused(name: str) -> None:
    batch, code = (HEADER_FAULTS | LOG_FAULTS)[name]
    assert refusal(batch) == code


@pytest.mark.parametrize("name", RECORD_FAULTS | UNREADABLE_FAULTS)
def test_a_fault_in_the_records_is_refused_when_they_are_opened(name: str) -> None:
    batch, code = (RECORD_FAULTS | UNREADABLE_FAULTS)[name]
    header = check_batch(batch, MAX_BYTES)
    with pytest.raises(KafkaError) as caught:
        validate_records(batch, header, RecordRules(), NOW_MS)
    assert caught.value.code.name == code


def test_a_batch_above_the_size_limit_is_too_large() -> None:
    assert refusal(GOOD, len(GOOD) - 1) == "MESSAGE_TOO_LARGE"


def test_faults_come_in_kafkas_order() -> None:
    assert refusal(fields(base_offset=1, record_count=0), 10) == "INVALID_RECORD"
    assert refusal(fields(record_count=0), 10) == "MESSAGE_TOO_LARGE"
    assert refusal(fields(record_count=0)[:-1] + b"?") == "CORRUPT_MESSAGE"


def test_zstd_needs_a_version_that_has_it() -> None:
    batch = build_batch(RECORDS, codec=Codec.ZSTD)
    assert check_batch(batch, MAX_BYTES).codec is Codec.ZSTD
    assert refusal(batch, allow_zstd=False) == "UNSUPPORTED_COMPRESSION_TYPE"


@pytest.mark.parametrize("left", [1, 11, 16, 17, 60])
def test_the_start_of_another_batch_is_cut_off(left: int) -> None:
    header = check_batch(GOOD + GOOD[:left], MAX_BYTES)
    assert header.size_bytes == len(GOOD)


@given(st.binary(max_size=150))
def test_any_bytes_are_a_header_or_an_error_code(data: bytes) -> None:
    with contextlib.suppress(KafkaError):
        check_batch(data, MAX_BYTES)


@given(st.binary(max_size=60), st.integers(1, 4), codecs)
def test_any_records_are_valid_or_an_error_code(payload: bytes, count: int, codec: Codec) -> None:
    batch = fields(payload, record_count=count, last_offset_delta=count - 1, attributes=codec)
    with contextlib.suppress(KafkaError):
        validate_records(batch, check_batch(batch, MAX_BYTES), RecordRules(), NOW_MS, 10_000)


def errors_of(
    batch: bytes, rules: RecordRules, now_ms: int = NOW_MS
) -> tuple[ErrorCode, list[int], tuple[RecordError, ...]]:
    """(code, refused batch indexes, errors) of a batch whose records are refused."""
    with pytest.raises(RecordValidationError) as caught:
        validate_records(batch, check_batch(batch, MAX_BYTES), rules, now_ms)
    errors = caught.value.errors
    return caught.value.code, [error.batch_index for error in errors], errors


@pytest.mark.parametrize("codec", list(Codec))
def test_a_compacted_topic_wants_keys(codec: Codec) -> None:
    keys = [b"a", None, b"", None]
    batch = build_batch([Record(index, NOW_MS, key, b"v") for index, key in enumerate(keys)], codec=codec)
    code, indexes, errors = errors_of(batch, RecordRules(compacted=True))
    assert (code, indexes) == (ErrorCode.INVALID_RECORD, [1, 3])
    assert "key" in errors[0].message
    assert validate_records(batch, parse_header(batch), RecordRules(), NOW_MS).max_timestamp_ms == NOW_MS


def test_timestamps_must_be_in_range() -> None:
    rules = RecordRules(timestamp_before_max_ms=10, timestamp_after_max_ms=20)
    times = [-11, -10, 0, 20, 21]
    batch = build_batch([Record(index, NOW_MS + time, b"k", None) for index, time in enumerate(times)])
    code, indexes, errors = errors_of(batch, rules)
    assert (code, indexes) == (ErrorCode.INVALID_TIMESTAMP, [0, 4])
    assert str(NOW_MS + 21) in errors[1].message
    assert must_open(parse_header(batch), rules, NOW_MS)


def test_a_timestamp_among_the_faults_decides_the_code() -> None:
    batch = build_batch([Record(0, NOW_MS, None, None), Record(1, NOW_MS + 5_000_000, b"k", None)])
    code, indexes, _ = errors_of(batch, RecordRules(compacted=True))
    assert (code, indexes) == (ErrorCode.INVALID_TIMESTAMP, [0, 1])


def test_a_record_without_a_timestamp_is_in_range() -> None:
    batch = build_batch([Record(0, -1, None, None)])
    rules = RecordRules(timestamp_before_max_ms=10)
    assert validate_records(batch, parse_header(batch), rules, NOW_MS).max_timestamp_ms == -1


def test_only_the_broker_says_append_time() -> None:
    batch = build_batch(RECORDS, timestamp_type=TimestampType.LOG_APPEND_TIME, log_append_time_ms=NOW_MS)
    header = parse_header(batch)
    append_time = RecordRules(timestamp_type=TimestampType.LOG_APPEND_TIME)
    assert must_open(header, RecordRules(), NOW_MS)
    assert must_open(header, append_time, NOW_MS)
    assert errors_of(batch, append_time)[0] is ErrorCode.INVALID_TIMESTAMP
    assert validate_records(batch, header, RecordRules(), NOW_MS).max_timestamp_ms == NOW_MS


def test_append_time_takes_any_timestamp_and_gives_its_own() -> None:
    batch = build_batch([Record(0, 5, None, None), Record(1, 1 << 60, None, None)])
    rules = RecordRules(timestamp_type=TimestampType.LOG_APPEND_TIME)
    assert not must_open(parse_header(batch), rules, NOW_MS)
    assert validate_records(batch, parse_header(batch), rules, NOW_MS).max_timestamp_ms == NOW_MS


def test_a_header_that_hides_its_latest_timestamp_is_found_out() -> None:
    batch = fields(max_timestamp_ms=5)
    assert must_open(parse_header(batch), RecordRules(), NOW_MS)
    assert validate_records(batch, parse_header(batch), RecordRules(), NOW_MS).max_timestamp_ms == NOW_MS


def test_an_ordinary_batch_is_not_opened() -> None:
    header = parse_header(build_batch(RECORDS, codec=Codec.LZ4))
    assert not must_open(header, RecordRules(), NOW_MS)
    assert not must_open(header, RecordRules(), NOW_MS, Codec.LZ4)
    assert must_open(header, RecordRules(), NOW_MS, Codec.ZSTD)
    assert must_open(header, RecordRules(), NOW_MS, Codec.NONE)
    assert must_open(header, RecordRules(compacted=True), NOW_MS)
    assert must_open(header, RecordRules(timestamp_before_max_ms=1), NOW_MS)
    assert must_open(header, RecordRules(), NOW_MS - 3_600_001)
    assert not must_open(header, RecordRules(), NOW_MS - 3_600_000)


@pytest.mark.parametrize("deltas", [[0, 2], [1, 2], [1, 0], [0, 0], [-1, 1], [0, (1 << 31) - 1]])
def test_offsets_that_do_not_follow_one_another_are_reported_and_mended(deltas: list[int]) -> None:
    payload = b"".join(encode_record(delta, 0, b"k", b"v", b"\x00") for delta in deltas)
    batch = fields(payload, record_count=2, last_offset_delta=1)
    header = check_batch(batch, MAX_BYTES)
    assert not validate_records(batch, header, RecordRules(), NOW_MS).offsets_are_consecutive
    mended = rebuild_batch(batch, codec=Codec.NONE)
    found = validate_records(mended, check_batch(mended, MAX_BYTES), RecordRules(), NOW_MS)
    assert found.offsets_are_consecutive


def test_a_single_record_may_be_limited_where_it_was_compressed() -> None:
    rules = RecordRules(max_decompressed_record_bytes=len(ONE) - 2)
    plain = build_batch([Record(0, NOW_MS, b"k", b"v")])
    packed = build_batch([Record(0, NOW_MS, b"k", b"v")], codec=Codec.GZIP)
    validate_records(plain, parse_header(plain), rules, NOW_MS)
    with pytest.raises(KafkaError, match="INVALID_RECORD"):
        validate_records(packed, parse_header(packed), rules, NOW_MS)


def test_a_batch_that_decompresses_to_too_much_is_too_large() -> None:
    batch = build_batch([Record(0, NOW_MS, b"k", bytes(50_000))], codec=Codec.ZSTD)
    with pytest.raises(KafkaError, match="MESSAGE_TOO_LARGE"):
        validate_records(batch, parse_header(batch), RecordRules(), NOW_MS, 50_000)


def test_the_list_of_refused_records_is_bounded() -> None:
    batch = build_batch([Record(index, NOW_MS, None, None) for index in range(MAX_RECORD_ERRORS + 5)])
    with pytest.raises(RecordValidationError, match=str(MAX_RECORD_ERRORS + 5)) as caught:
        validate_records(batch, parse_header(batch), RecordRules(compacted=True), NOW_MS)
    assert len(caught.value.errors) == MAX_RECORD_ERRORS
