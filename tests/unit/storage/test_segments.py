"""Rolling, indexes and look-ups: what a log's directory holds, and that reads do not depend on where it was cut."""

from __future__ import annotations

import random
import struct

import pytest

from odradek.storage.log_config import LogConfig
from odradek.storage.retention import delete_old_segments
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from tests.unit.storage.support import DIRECTORY, NOW_MS, Disk, batch, check_indexes, read_bytes, read_records

SIZE = len(batch(b"v" * 30))


def log_names(disk: Disk) -> list[str]:
    return [name for name in disk.names() if name.endswith(".log")]


def offset_entries(disk: Disk, base_offset: int) -> list[tuple[int, int]]:
    data = disk.fs.read(f"{DIRECTORY}/{base_offset:020d}.index")
    return list(struct.iter_unpack(">ii", data))


def time_entries(disk: Disk, base_offset: int) -> list[tuple[int, int]]:
    data = disk.fs.read(f"{DIRECTORY}/{base_offset:020d}.timeindex")
    return list(struct.iter_unpack(">qi", data))


def test_a_segment_holds_as_many_bytes_as_segment_bytes_allows_and_no_more() -> None:
    disk = Disk(LogConfig(segment_bytes=3 * SIZE))
    for _ in range(7):
        disk.append(b"v" * 30)
    assert log_names(disk) == [f"{offset:020d}.log" for offset in (0, 3, 6)]
    assert [value for _, value in disk.read_all()] == [b"v" * 30] * 7


def test_an_append_larger_than_a_segment_is_refused() -> None:
    disk = Disk(LogConfig(segment_bytes=SIZE - 1))
    with pytest.raises(KafkaError) as raised:
        disk.append(b"v" * 30)
    assert raised.value.code is ErrorCode.RECORD_LIST_TOO_LARGE


def test_a_segment_rolls_when_a_record_is_segment_ms_younger_than_its_first_batch() -> None:
    disk = Disk(LogConfig(segment_ms=1000))
    for timestamp_ms in (NOW_MS, NOW_MS + 1000, NOW_MS + 1001):
        disk.append(b"v", timestamp_ms=timestamp_ms)
    assert log_names(disk) == [f"{offset:020d}.log" for offset in (0, 2)]


def test_a_segment_without_timestamps_rolls_by_the_clock() -> None:
    disk = Disk(LogConfig(segment_ms=1000))
    disk.append(b"v", timestamp_ms=-1)
    disk.clock.advance(1000)
    disk.append(b"v", timestamp_ms=-1)
    disk.clock.advance(1)
    disk.append(b"v", timestamp_ms=-1)
    assert log_names(disk) == [f"{offset:020d}.log" for offset in (0, 2)]


def test_jitter_makes_segments_roll_earlier_but_never_later() -> None:
    disk = Disk(LogConfig(segment_ms=1000, segment_jitter_ms=900, segment_bytes=SIZE * 2))
    for number in range(40):
        disk.append(b"v" * 30, timestamp_ms=NOW_MS + number)
    jitters = {segment.roll_jitter_ms for segment in disk.log.segments}
    assert len(jitters) > 5
    assert max(jitters) < 900


def test_a_full_index_rolls_the_segment() -> None:
    disk = Disk(LogConfig(index_interval_bytes=0, segment_index_bytes=36))
    for number in range(4):
        disk.append(b"v", timestamp_ms=NOW_MS + number)
    # Three time index entries fit, one is kept free for the segment's last; the first batch is never indexed.
    assert log_names(disk) == [f"{offset:020d}.log" for offset in (0, 3)]


def test_offsets_too_far_from_the_base_roll_the_segment() -> None:
    disk = Disk()
    disk.append(b"first")
    far = batch(b"far")
    struct.pack_into(">q", far, 0, 2**31)
    disk.log.append_as_follower(bytes(far))
    assert log_names(disk) == [f"{offset:020d}.log" for offset in (0, 1)]
    assert read_records(disk.log, 1) == [(2**31, b"far")]


def test_index_entries_are_interval_bytes_apart_and_point_to_batches() -> None:
    disk = Disk(LogConfig(index_interval_bytes=2 * SIZE))
    for number in range(10):
        disk.append(b"v" * 30, timestamp_ms=NOW_MS + number)
    disk.log.close()
    # An entry is due once more than the interval has been written since the one before.
    assert offset_entries(disk, 0) == [(3, 3 * SIZE), (6, 6 * SIZE), (9, 9 * SIZE)]
    assert time_entries(disk, 0) == [(NOW_MS + 3, 3), (NOW_MS + 6, 6), (NOW_MS + 9, 9)]


def test_the_last_timestamp_of_a_closed_segment_is_indexed() -> None:
    disk = Disk()
    disk.append(b"v", timestamp_ms=NOW_MS + 7)
    disk.append(b"v", timestamp_ms=NOW_MS)
    disk.log.roll()
    assert time_entries(disk, 0) == [(NOW_MS + 7, 0)]


@pytest.mark.parametrize("reopen", [None, "clean", "crash"])
def test_reads_from_every_offset_with_every_limit_agree(reopen: str | None) -> None:
    disk = Disk(LogConfig(segment_bytes=700, index_interval_bytes=150))
    for number in range(60):
        disk.append(*[b"%d" % number] * (number % 3 + 1))
    if reopen == "clean":
        disk.log.close()
    if reopen is not None:
        disk.open(is_clean=reopen == "clean")
    everything = disk.read_all(0)
    assert len(everything) == disk.log.log_end_offset
    for offset in range(disk.log.log_end_offset):
        for max_bytes in (1, 250, 10_000):
            assert read_records(disk.log, offset, max_bytes) == everything[offset:]


def test_a_read_near_the_end_of_a_long_segment_begins_with_the_right_batch() -> None:
    disk = Disk()
    for number in range(600):
        disk.append(b"%d" % number)
    starts = [int.from_bytes(read_bytes(disk.log, offset, 1)[:8], "big") for offset in range(600)]
    assert starts == list(range(600))


def test_index_entries_that_were_not_written_yet_survive_truncation() -> None:
    disk = Disk(LogConfig(index_interval_bytes=0))
    for number in range(20):
        disk.append(b"v", timestamp_ms=NOW_MS + number)
        if number == 9:
            disk.log.flush()
    disk.log.truncate_to(15)
    disk.append(b"w", timestamp_ms=NOW_MS + 50)
    disk.append(b"w", timestamp_ms=NOW_MS + 51)
    disk.log.close()
    assert check_indexes(disk) >= 28


def test_a_batch_with_several_timestamps_is_searched_record_by_record() -> None:
    disk = Disk()
    records = [Record(index, NOW_MS + timestamp, None, b"v") for index, timestamp in enumerate((5, 1, 9, 3, 9))]
    disk.log.append_as_leader(bytearray(build_batch(records)), leader_epoch=0, now_ms=NOW_MS)
    for wanted, offset in ((0, 0), (5, 0), (6, 2), (9, 2)):
        found = disk.log.offset_for_timestamp(NOW_MS + wanted)
        assert found is not None
        assert found.offset == offset
    largest = disk.log.offset_of_max_timestamp()
    assert largest is not None
    assert largest.offset == 2


def test_timestamps_are_found_wherever_they_are() -> None:
    disk = Disk(LogConfig(segment_bytes=5 * SIZE, index_interval_bytes=SIZE))
    for number in range(20):
        disk.append(b"v" * 30, timestamp_ms=NOW_MS + 10 * number)
    for number in range(20):
        for timestamp_ms in (NOW_MS + 10 * number - 9, NOW_MS + 10 * number):
            found = disk.log.offset_for_timestamp(timestamp_ms)
            assert found is not None
            assert (found.timestamp_ms, found.offset, found.leader_epoch) == (NOW_MS + 10 * number, number, 0)
    assert disk.log.offset_for_timestamp(NOW_MS + 191) is None


def test_the_first_record_with_the_largest_timestamp_is_found() -> None:
    disk = Disk(LogConfig(segment_bytes=2 * SIZE))
    for timestamp_ms in (NOW_MS, NOW_MS + 50, NOW_MS + 50, NOW_MS + 20):
        disk.append(b"v" * 30, timestamp_ms=timestamp_ms)
    found = disk.log.offset_of_max_timestamp()
    assert found is not None
    assert (found.timestamp_ms, found.offset) == (NOW_MS + 50, 1)


def test_an_empty_log_has_no_timestamps() -> None:
    disk = Disk()
    assert disk.log.offset_of_max_timestamp() is None
    assert disk.log.offset_for_timestamp(0) is None


def test_few_files_are_open_however_many_segments_are_read() -> None:
    disk = Disk(LogConfig(segment_bytes=SIZE, index_interval_bytes=0), max_open_files=4)
    for _ in range(50):
        disk.append(b"v" * 30)
    assert len(disk.read_all()) == 50
    assert disk.log.offset_for_timestamp(NOW_MS) is not None
    assert len(disk.pool) <= 4


def test_a_range_stays_readable_when_its_segment_is_truncated_or_deleted() -> None:
    disk = Disk(LogConfig(file_delete_delay_ms=0))
    disk.append(b"kept")
    disk.append(b"cut off")
    held = disk.log.read(0, max_bytes=1000, max_offset=2, min_one_message=True).records
    assert not isinstance(held, bytes)
    before = held.read(0, held.size)
    disk.log.truncate_to(1)
    disk.append(b"something else")
    assert held.read(0, held.size) == before
    disk.log.truncate_fully_and_start_at(0)
    disk.clock.advance(1)
    assert held.read(0, held.size) == before
    held.release()
    assert log_names(disk) == [f"{0:020d}.log"]


def test_a_range_that_is_held_keeps_its_file_open_however_many_others_are_read() -> None:
    disk = Disk(LogConfig(segment_bytes=SIZE), max_open_files=2)
    for number in range(20):
        disk.append(b"%030d" % number)
    held = disk.log.read(3, max_bytes=1000, max_offset=20, min_one_message=True).records
    assert not isinstance(held, bytes)
    assert len(disk.read_all()) == 20
    assert held.read(0, held.size).endswith(b"%030d\x00" % 3)
    held.release()


def test_the_files_of_deleted_segments_are_removed_after_the_delay_and_closed_once_nobody_reads_them() -> None:
    disk = Disk(LogConfig(segment_bytes=SIZE, retention_bytes=0, file_delete_delay_ms=1000))
    for _ in range(3):
        disk.append(b"v" * 30)
    held = disk.log.read(0, max_bytes=1000, max_offset=3, min_one_message=True).records
    assert not isinstance(held, bytes)
    delete_old_segments(disk.log, NOW_MS)
    marked = [name for name in disk.names() if name.endswith(".deleted")]
    assert [name for name in marked if ".log" in name] == [f"{offset:020d}.log.deleted" for offset in (0, 1, 2)]
    disk.clock.advance(1000)
    assert [name for name in disk.names() if not name.endswith("checkpoint")] == [
        f"{3:020d}{suffix}" for suffix in (".index", ".log", ".snapshot", ".timeindex")
    ]
    assert len(held.read(0, held.size)) == SIZE
    held.release()
    assert len(disk.pool) == 0


def test_readers_that_hold_many_files_get_bytes_instead_of_more_open_files() -> None:
    disk = Disk(LogConfig(segment_bytes=SIZE), max_open_files=4)
    for number in range(20):
        disk.append(b"%030d" % number)
    held = [disk.log.read(offset, max_bytes=1000, max_offset=20, min_one_message=True).records for offset in range(10)]
    ranges = [records for records in held if not isinstance(records, bytes)]
    assert len(ranges) == 2
    assert len(disk.pool) <= 4
    for number, records in enumerate(held):
        data = records if isinstance(records, bytes) else records.read(0, records.size)
        assert data.endswith(b"%030d\x00" % number)
    for each in ranges:
        each.release()
        each.release()
    assert disk.pool.held == 0
    assert not isinstance(disk.log.read(9, max_bytes=1000, max_offset=20, min_one_message=True).records, bytes)


def test_large_and_small_batches_are_found_by_each_of_their_offsets() -> None:
    disk = Disk(LogConfig(index_interval_bytes=4096))
    starts: list[int] = []
    generator = random.Random(3)
    for number in range(60):
        size = generator.choice((5, 300, 9_000, 20_000))
        starts += [disk.log.size_bytes] * 3
        disk.append(b"%d" % number, bytes(size), b"")
    disk.log.close()
    log = disk.open(is_clean=True)
    segment = log.segments.first
    assert [located.position for located in map(segment.locate, range(180)) if located is not None] == starts


def test_a_damaged_batch_does_not_hide_the_one_before_it() -> None:
    disk = Disk(LogConfig(index_interval_bytes=4096))
    positions = []
    for size in (5_000, 3_000, 7_000, 9_000, 100):
        positions.append(disk.log.size_bytes)
        disk.append(bytes(size), b"")
    disk.log.close()
    assert positions[2] not in [position for _, position in offset_entries(disk, 0)]
    log = disk.open(is_clean=True)
    disk.fs.open(log.segments.first.log.path).pwrite(b"\x09", positions[3] + 16)
    assert log.read(4, max_bytes=10, max_offset=10, min_one_message=True).size == positions[3] - positions[2]
    with pytest.raises(KafkaError):
        log.read(6, max_bytes=10, max_offset=10, min_one_message=True)
