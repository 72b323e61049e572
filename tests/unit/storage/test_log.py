"""A log as its users see it: what is appended comes back, with Kafka's offsets, errors and limits."""

from __future__ import annotations

import pytest

from odradek.storage.log_config import LogConfig
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.storage.support import NOW_MS, Disk, batch, read_bytes, stored_batches


def test_appended_records_come_back_with_consecutive_offsets() -> None:
    disk = Disk()
    first = disk.append(b"a", b"b")
    second = disk.append(b"c")
    assert (first.first_offset, first.last_offset, second.first_offset) == (0, 1, 2)
    assert disk.read_all() == [(0, b"a"), (1, b"b"), (2, b"c")]


def test_a_read_in_the_middle_of_a_batch_returns_the_batch_that_contains_it() -> None:
    disk = Disk()
    disk.append(b"a", b"b", b"c")
    disk.append(b"d")
    assert read_bytes(disk.log, 1) == read_bytes(disk.log, 0)


@pytest.mark.parametrize(("min_one_message", "is_whole"), [(True, True), (False, False)])
def test_only_min_one_message_lets_the_first_batch_exceed_the_limit(min_one_message: bool, is_whole: bool) -> None:
    disk = Disk()
    disk.append(b"x" * 1000)
    data = read_bytes(disk.log, 0, max_bytes=10, min_one_message=min_one_message)
    assert (len(data) > 1000) is is_whole
    assert is_whole or not data


def test_a_read_stops_before_the_batch_at_max_offset() -> None:
    disk = Disk()
    for value in (b"a", b"b", b"c"):
        disk.append(value)
    whole = read_bytes(disk.log, 0)
    part = disk.log.read(0, max_bytes=1 << 20, max_offset=2, min_one_message=True)
    assert part.size == len(whole) // 3 * 2
    assert disk.log.read(2, max_bytes=1 << 20, max_offset=2, min_one_message=True).size == 0


@pytest.mark.parametrize("offset", [-1, 2])
def test_an_offset_outside_of_the_log_is_out_of_range(offset: int) -> None:
    disk = Disk()
    disk.append(b"a")
    with pytest.raises(KafkaError) as raised:
        disk.log.read(offset, max_bytes=100, max_offset=2, min_one_message=True)
    assert raised.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_batch_over_max_message_bytes_is_refused_and_nothing_is_written() -> None:
    disk = Disk(LogConfig(max_message_bytes=100))
    with pytest.raises(KafkaError) as raised:
        disk.append(b"x" * 200)
    assert raised.value.code is ErrorCode.MESSAGE_TOO_LARGE
    assert disk.log.log_end_offset == 0
    assert disk.log.size_bytes == 0


def test_log_append_time_replaces_the_timestamps_and_keeps_the_checksum_valid() -> None:
    disk = Disk(LogConfig(message_timestamp_type="LogAppendTime"))
    disk.clock.advance(5000)
    info = disk.append(b"a", b"b", timestamp_ms=17)
    assert info.log_append_time_ms == NOW_MS + 5000
    found = disk.log.offset_for_timestamp(NOW_MS + 5000)
    assert found is not None
    assert found.offset == 0
    assert [view.nbytes for _, view in stored_batches(disk.log)] == [disk.log.size_bytes]


def test_several_batches_in_one_append_get_consecutive_offsets() -> None:
    disk = Disk()
    info = disk.log.append_as_leader(bytearray(batch(b"a", b"b") + batch(b"c")), leader_epoch=3, now_ms=NOW_MS)
    assert (info.first_offset, info.last_offset) == (0, 2)
    assert [(header.base_offset, header.leader_epoch) for header, _ in stored_batches(disk.log)] == [(0, 3), (2, 3)]


def test_the_log_is_as_before_after_a_clean_stop() -> None:
    disk = Disk(LogConfig(segment_bytes=300))
    for number in range(10):
        disk.append(b"%d" % number)
    before = disk.read_all()
    disk.log.close()
    disk.open(is_clean=True)
    assert disk.read_all() == before
    assert disk.append(b"more").first_offset == 10
