"""The batch header: what stands where, and what may change without touching the checksum."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.header import (
    BatchHeader,
    TimestampType,
    crc_is_valid,
    decrement_sequence,
    increment_sequence,
    iter_batches,
    next_batch_size,
    pack_header,
    parse_header,
    rewrite_base_offset_and_epoch,
    set_log_append_time,
    set_max_timestamp,
)
from odradek.wire.records.legacy import build_message
from odradek.wire.records.record import Record

from .examples import record_lists

int16, int32, int64 = (st.integers(-(1 << bits), (1 << bits) - 1) for bits in (15, 31, 63))
any_header = st.builds(
    BatchHeader,
    base_offset=int64,
    length=int32,
    leader_epoch=int32,
    magic=st.integers(-128, 127),
    crc=st.integers(0, (1 << 32) - 1),
    attributes=int16,
    last_offset_delta=int32,
    base_timestamp_ms=int64,
    max_timestamp_ms=int64,
    producer_id=int64,
    producer_epoch=int16,
    base_sequence=int32,
    record_count=int32,
)


@given(any_header, st.binary(max_size=5))
def test_a_packed_header_is_parsed_back(header: BatchHeader, before: bytes) -> None:
    assert parse_header(memoryview(before + pack_header(header)), len(before)) == header


@pytest.mark.parametrize(("data", "position"), [(b"", 0), (bytes(60), 0), (bytes(61), 1), (bytes(70), -1)])
def test_a_header_that_is_cut_off_is_corrupt(data: bytes, position: int) -> None:
    with pytest.raises(KafkaError) as caught:
        parse_header(data, position)
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


@given(record_lists(), int64, st.integers(-1, (1 << 31) - 1), st.binary(max_size=9))
def test_a_batch_takes_its_place_in_the_log_and_stays_valid(
    records: list[Record], base_offset: int, epoch: int, before: bytes
) -> None:
    buffer = bytearray(before + build_batch(records))
    rewrite_base_offset_and_epoch(memoryview(buffer), len(before), base_offset, epoch)
    header = parse_header(buffer, len(before))
    assert (header.base_offset, header.leader_epoch) == (base_offset, epoch)
    assert buffer.startswith(before)
    assert crc_is_valid(buffer, len(before))


@given(record_lists(), st.integers(0, 1 << 62), st.booleans())
def test_append_time_is_every_records_time(records: list[Record], now_ms: int, transactional: bool) -> None:
    batch = bytearray(b"??") + build_batch(records, producer_id=5, is_transactional=transactional)
    set_log_append_time(batch, 2, now_ms)
    assert crc_is_valid(batch, 2)
    assert parse_header(batch, 2).is_transactional is transactional
    assert [record.timestamp_ms for record in iter_records(batch[2:])] == [now_ms] * len(records)
    set_max_timestamp(batch, 2, TimestampType.CREATE_TIME, 7)
    assert (parse_header(batch, 2).timestamp_type, parse_header(batch, 2).max_timestamp_ms) == (0, 7)
    assert crc_is_valid(batch, 2)


def test_a_timestamp_that_is_right_leaves_even_a_wrong_checksum() -> None:
    batch = bytearray(build_batch([Record(0, 5, None, b"v")]))
    batch[17] ^= 1
    before = bytes(batch)
    set_max_timestamp(batch, 0, TimestampType.CREATE_TIME, 5)
    assert batch == before


@given(record_lists(), st.data())
def test_any_changed_byte_after_the_checksum_is_noticed(records: list[Record], data: st.DataObject) -> None:
    batch = bytearray(build_batch(records))
    position = data.draw(st.integers(17, len(batch) - 1))
    batch[position] ^= data.draw(st.integers(1, 255))
    assert not crc_is_valid(batch)


def test_batches_are_found_one_after_another_up_to_the_one_that_is_cut_off() -> None:
    batches = [build_batch([Record(index, 0, None, b"v" * index)], base_offset=index) for index in range(3)]
    data = b"".join(batches)
    found = [(position, header.base_offset) for position, header in iter_batches(memoryview(data))]
    assert found == [(0, 0), (len(batches[0]), 1), (len(batches[0]) + len(batches[1]), 2)]
    for cut in range(len(data) - len(batches[2]), len(data)):
        assert len(list(iter_batches(data[:cut]))) == 2


@pytest.mark.parametrize("length", [-1, 0, 13, 48, -(1 << 31)])
def test_a_length_that_no_batch_has_is_corrupt(length: int) -> None:
    batch = build_batch([Record(0, 0, None, b"v")])
    with pytest.raises(KafkaError, match="CORRUPT_MESSAGE"):
        next_batch_size(batch[:8] + length.to_bytes(4, "big", signed=True) + batch[12:])


@pytest.mark.parametrize("magic", [3, 127, 128, 255])
def test_an_unknown_magic_is_corrupt(magic: int) -> None:
    batch = build_batch([Record(0, 0, None, b"v")])
    with pytest.raises(KafkaError, match="CORRUPT_MESSAGE"):
        list(iter_batches(batch[:16] + bytes((magic,)) + batch[17:]))


def test_older_messages_are_told_apart() -> None:
    with pytest.raises(KafkaError, match="UNSUPPORTED_FOR_MESSAGE_FORMAT"):
        list(iter_batches(build_message(0, b"k", b"v")))


@given(st.binary(max_size=200))
def test_any_bytes_are_batches_or_an_error(data: bytes) -> None:
    with contextlib.suppress(KafkaError):
        for position, header in iter_batches(data):
            assert position + header.size_bytes <= len(data)


def test_sequence_numbers_wrap_to_zero() -> None:
    top = (1 << 31) - 1
    assert [increment_sequence(top, by) for by in (0, 1, 2, top)] == [top, 0, 1, top - 1]
    assert [decrement_sequence(0, by) for by in (0, 1, top)] == [0, top, 1]
    batch = build_batch([Record(index, 0, None, None) for index in range(3)], producer_id=1, base_sequence=top)
    assert parse_header(batch).last_sequence == 1
    assert parse_header(build_batch([Record(0, 0, None, None)])).last_sequence == -1
