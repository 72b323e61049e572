"""What a crash leaves behind: nothing whole is lost, nothing half is served."""

from __future__ import annotations

import struct

import pytest

from odradek.storage.environment import DEFAULT_PRODUCER_EXPIRATION_MS
from odradek.storage.file_names import LEADER_EPOCH_CHECKPOINT
from odradek.storage.log_config import LogConfig
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from tests.unit.storage.support import DIRECTORY, Disk, batch

LAST = f"{DIRECTORY}/{0:020d}.log"


def patch(disk: Disk, path: str, position: int, data: bytes) -> None:
    file = disk.fs.open(path)
    file.pwrite(data, position)
    file.close()


def cut(disk: Disk, path: str, size: int) -> None:
    file = disk.fs.open(path)
    file.truncate(size)
    file.close()


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 200, b"\xff" * 200])
def test_a_torn_tail_is_cut_at_the_last_whole_batch_wherever_it_tore(garbage: bytes) -> None:
    first, second = len(batch(b"a", b"b")), len(batch(b"c"))
    for size in range(first + second + 1):
        disk = Disk()
        disk.append(b"a", b"b")
        disk.append(b"c")
        whole = disk.fs.read(LAST)
        cut(disk, LAST, size)
        patch(disk, LAST, size, garbage)
        left = disk.fs.read(LAST)
        count = 3 if left.startswith(whole) else 2 if left.startswith(whole[:first]) else 0
        assert count == 3 or size < len(whole)
        disk.open()
        expected = [(0, b"a"), (1, b"b"), (2, b"c")][:count]
        assert disk.read_all() == expected
        assert disk.log.log_end_offset == count
        assert disk.append(b"next").first_offset == count
        assert disk.read_all() == [*expected, (count, b"next")]


def test_a_flipped_bit_ends_the_log_before_the_damage() -> None:
    disk = Disk()
    for value in (b"a", b"b", b"c"):
        disk.append(value)
    size = len(batch(b"a"))
    patch(disk, LAST, 2 * size - 1, b"\x7f")
    disk.open()
    assert disk.read_all() == [(0, b"a")]


def test_segments_behind_a_damaged_one_are_dropped() -> None:
    size = len(batch(b"a"))
    disk = Disk(LogConfig(segment_bytes=2 * size))
    for number in range(6):
        disk.append(b"%d" % number)
    patch(disk, f"{DIRECTORY}/{2:020d}.log", 2 * size - 1, b"\x7f")
    disk.open()
    assert disk.read_all() == [(0, b"0"), (1, b"1"), (2, b"2")]
    disk.append(b"again")
    disk.log.close()
    disk.open(is_clean=True)
    assert disk.read_all() == [(0, b"0"), (1, b"1"), (2, b"2"), (3, b"again")]


@pytest.mark.parametrize(("policy", "end"), [(("delete",), 3), (("compact",), 6)])
def test_a_segment_that_lost_its_last_batch_ends_the_log_unless_compaction_makes_gaps(
    policy: tuple[str, ...], end: int
) -> None:
    size = len(batch(b"a"))
    disk = Disk(LogConfig(segment_bytes=2 * size, cleanup_policy=policy))
    for number in range(6):
        disk.append(b"%d" % number)
    cut(disk, f"{DIRECTORY}/{2:020d}.log", size)
    disk.open()
    assert disk.log.log_end_offset == end
    assert [offset for offset, _ in disk.read_all()] == [offset for offset in range(end) if offset != 3]


def test_only_segments_from_the_recovery_point_on_are_read() -> None:
    size = len(batch(b"a"))
    disk = Disk(LogConfig(segment_bytes=2 * size))
    for number in range(6):
        disk.append(b"%d" % number)
    patch(disk, LAST, 2 * size - 1, b"\x7f")
    disk.open(recovery_point=2)
    assert disk.log.log_end_offset == 6
    disk.open(recovery_point=1)
    assert disk.log.log_end_offset == 1


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_a_missing_or_odd_index_is_rebuilt(suffix: str) -> None:
    size = len(batch(b"a"))
    disk = Disk(LogConfig(segment_bytes=4 * size, index_interval_bytes=size))
    for number in range(8):
        disk.append(b"%d" % number)
    disk.log.close()
    path = f"{DIRECTORY}/{0:020d}{suffix}"
    whole = disk.fs.read(path)
    assert whole
    for damage in ("missing", "odd"):
        if damage == "missing":
            disk.fs.remove(path)
        else:
            cut(disk, path, len(whole) - 1)
        disk.open(is_clean=True)
        assert disk.fs.read(path) == whole
        assert len(disk.read_all()) == 8
        disk.log.close()


def test_index_space_that_kafka_has_allocated_ahead_does_no_harm_after_a_crash() -> None:
    disk = Disk(LogConfig(index_interval_bytes=0))
    for number in range(5):
        disk.append(b"%d" % number)
    disk.log.flush()
    for suffix in (".index", ".timeindex"):
        file = disk.fs.open(f"{DIRECTORY}/{0:020d}{suffix}")
        file.truncate(10 * 1024 * 1024 // 24 * 24)
        file.close()
    disk.open(recovery_point=5)
    assert disk.read_all() == [(number, b"%d" % number) for number in range(5)]
    disk.append(b"5")
    assert disk.log.offset_for_timestamp(0) is not None


def test_after_a_crash_each_of_a_producers_last_five_batches_is_known_for_a_duplicate() -> None:
    disk = Disk()
    for sequence in range(7):
        disk.append(b"x", producer_id=7, producer_epoch=0, base_sequence=sequence)
    for _ in range(2):  # what the first start leaves must do for the second
        disk.open(recovery_point=3)
        for sequence in range(2, 7):
            info = disk.append(b"x", producer_id=7, producer_epoch=0, base_sequence=sequence)
            assert (info.is_duplicate, info.first_offset) == (True, sequence)
    assert not disk.append(b"x", producer_id=7, producer_epoch=0, base_sequence=7).is_duplicate


def test_a_producer_that_was_silent_for_too_long_is_forgotten_by_a_start_after_a_crash_too() -> None:
    disk = Disk()
    disk.append(b"x", producer_id=7, producer_epoch=0, base_sequence=0)
    disk.clock.advance(2 * DEFAULT_PRODUCER_EXPIRATION_MS)
    disk.open()
    assert not disk.append(b"x", producer_id=7, producer_epoch=0, base_sequence=0).is_duplicate


def test_leader_epochs_come_back_from_the_batches() -> None:
    disk = Disk()
    disk.append(b"a", leader_epoch=1)
    disk.append(b"b", leader_epoch=4)
    disk.fs.remove(f"{DIRECTORY}/{LEADER_EPOCH_CHECKPOINT}")
    disk.open()
    assert disk.log.leader_epochs.entries() == [(1, 0), (4, 1)]


def test_a_leader_epoch_whose_batches_are_lost_is_forgotten() -> None:
    disk = Disk()
    disk.append(b"a", leader_epoch=1)
    disk.append(b"b", leader_epoch=4)
    cut(disk, LAST, len(batch(b"a")) + 10)
    disk.open()
    assert disk.log.leader_epochs.entries() == [(1, 0)]


def test_batches_whose_offsets_go_back_end_the_log() -> None:
    disk = Disk()
    disk.append(b"a")
    disk.append(b"b")
    whole = disk.fs.read(LAST)
    patch(disk, LAST, len(whole), whole)
    disk.open()
    assert disk.read_all() == [(0, b"a"), (1, b"b")]


def test_a_batch_whose_offset_is_too_high_for_what_follows_is_not_believed() -> None:
    disk = Disk()
    for number in range(5):
        disk.append(b"%d" % number)
    patch(disk, LAST, 2 * len(batch(b"0")) + 5, b"\x04")
    disk.open()
    assert disk.read_all() == [(0, b"0"), (1, b"1")]
    assert disk.log.log_end_offset == 2


def test_a_gap_that_compaction_has_made_is_not_blamed_for_damage_behind_it() -> None:
    disk = Disk()
    for number in range(2):
        disk.append(b"%d" % number)
    for offset in (5, 6, 7):
        far = batch(b"%d" % offset)
        struct.pack_into(">q", far, 0, offset)
        disk.log.append_as_follower(bytes(far))
    patch(disk, LAST, 4 * len(batch(b"0")) + 7, b"\x03")
    disk.open()
    assert disk.read_all() == [(0, b"0"), (1, b"1"), (5, b"5"), (6, b"6")]


def test_an_index_that_leads_nowhere_is_made_anew_after_a_clean_stop_as_well() -> None:
    disk = Disk(LogConfig(index_interval_bytes=0))
    for number in range(5):
        disk.append(b"%d" % number)
    disk.log.close()
    path = LAST.replace(".log", ".index")
    whole = disk.fs.read(path)
    patch(disk, path, 0, struct.pack(">ii", 3, 1 << 20))
    cut(disk, path, 8)
    disk.open(is_clean=True)
    assert disk.log.log_end_offset == 5
    assert disk.fs.read(path) == whole


def test_a_background_sync_does_not_vouch_for_what_was_written_after_a_truncation() -> None:
    disk = Disk()
    disk.append(b"a")
    disk.append(b"b")
    disk.log.flush_later()
    disk.log.truncate_to(1)
    disk.append(b"c")
    disk.clock.run_soon()
    assert disk.log.recovery_point <= 1
    disk.log.flush_later()
    disk.clock.run_soon()
    assert disk.log.recovery_point == 2


def test_a_damaged_epoch_checkpoint_is_made_anew() -> None:
    disk = Disk()
    disk.append(b"a", leader_epoch=1)
    disk.append(b"b", leader_epoch=4)
    disk.fs.write_atomically(f"{DIRECTORY}/{LEADER_EPOCH_CHECKPOINT}", b"0\n7\nnonsense")
    disk.open(recovery_point=2)
    assert disk.log.leader_epochs.entries() == [(1, 0), (4, 1)]


def test_a_log_that_ends_before_its_start_begins_anew_there() -> None:
    disk = Disk()
    disk.append(b"a")
    disk.open(log_start_offset=10)
    assert (disk.log.log_start_offset, disk.log.log_end_offset) == (10, 10)
    assert disk.append(b"b").first_offset == 10


def test_what_was_marked_as_deleted_or_half_compacted_is_gone_after_a_start() -> None:
    disk = Disk()
    disk.append(b"a")
    for suffix in (".log.deleted", ".index.cleaned", ".log.cleaned"):
        disk.fs.open(f"{DIRECTORY}/{7:020d}{suffix}", create=True).close()
    disk.fs.open(f"{DIRECTORY}/{9:020d}.index", create=True).close()
    disk.open()
    assert [name for name in disk.names() if not name.startswith(f"{0:020d}.")] == [f"{1:020d}.snapshot"]


def test_the_bytes_of_a_write_that_failed_are_never_read() -> None:
    disk = Disk()
    disk.append(b"a")
    patch(disk, LAST, disk.log.size_bytes, bytes(batch(b"never acknowledged"))[:70])
    assert disk.append(b"b").first_offset == 1
    disk.log.roll()
    assert disk.fs.size(LAST) == len(batch(b"a")) * 2
    disk.open()
    assert disk.read_all() == [(0, b"a"), (1, b"b")]


def test_a_file_system_in_memory_keeps_logs_apart() -> None:
    fs = MemoryFileSystem()
    one, two = Disk(fs=fs, directory="/data/one-0"), Disk(fs=fs, directory="/data/two-0")
    one.append(b"1")
    two.append(b"2")
    assert (one.read_all(), two.read_all()) == ([(0, b"1")], [(0, b"2")])
    assert TopicPartition("one", 0) != TopicPartition("two", 0)
