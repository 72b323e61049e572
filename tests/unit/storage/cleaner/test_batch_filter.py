"""What is left of batches: tombstones, markers, producers' last batches, timestamps, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.ports.jobs import JobFailedError
from odradek.storage.cleaner.job import clean
from odradek.storage.cleaner.plan import CleanedSegment
from odradek.storage.log_config import LogConfig
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import DELETE_HORIZON_BIT, BatchHeader, parse_header, seal_batch
from odradek.wire.records.record import Record
from tests.unit.storage.cleaner.support import COMPACTED, NOW_MS, CompactedDisk, Producer, all_records
from tests.unit.storage.support import stored_batches

HORIZON_MS = NOW_MS + COMPACTED.delete_retention_ms


def batch_at(disk: CompactedDisk, offset: int) -> BatchHeader | None:
    return next((header for header in disk.headers() if header.base_offset == offset), None)


def test_a_batch_that_stays_whole_is_copied_byte_for_byte() -> None:
    disk = CompactedDisk()
    disk.write(("a", "1"), ("b", "1"), codec=Codec.LZ4, timestamps_ms=[NOW_MS + 7, NOW_MS - 3])
    disk.write(("c", "1"))
    before = [bytes(view) for _, view in stored_batches(disk.log)]
    disk.roll()
    disk.clean()
    assert [bytes(view) for _, view in stored_batches(disk.log)] == before


def test_a_smaller_batch_keeps_offsets_producer_epochs_and_timestamps() -> None:
    disk = CompactedDisk()
    times = [NOW_MS + 5, NOW_MS, NOW_MS + 300, NOW_MS + 2]
    pairs = [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")]
    disk.write(*pairs, producer=Producer(9, 3, 17), leader_epoch=4, timestamps_ms=times)
    disk.write(("a", "3"), leader_epoch=4)
    before = disk.headers()[0]
    disk.roll()
    disk.clean()
    after = disk.headers()[0]
    assert after == before._replace(
        length=after.length, crc=after.crc, base_timestamp_ms=times[1], max_timestamp_ms=NOW_MS + 2, record_count=2
    )
    assert [(record.offset, record.timestamp_ms) for record in all_records(disk.log)[:2]] == [
        (1, NOW_MS),
        (3, NOW_MS + 2),
    ]


def test_what_the_broker_stamped_keeps_its_stamp() -> None:
    disk = CompactedDisk(COMPACTED._replace(message_timestamp_type="LogAppendTime"))
    disk.write(("a", "1"), ("b", None), ("c", "1"), timestamps_ms=[1, 2, 3])
    disk.clock.advance(50)
    disk.write(("a", "2"))
    disk.roll()
    disk.clean()
    assert [(record.offset, record.timestamp_ms) for record in all_records(disk.log)] == [
        (1, NOW_MS),
        (2, NOW_MS),
        (3, NOW_MS + 50),
    ]
    assert disk.headers()[0].max_timestamp_ms == NOW_MS


def test_a_tombstone_is_given_a_horizon_and_goes_when_that_is_over() -> None:
    disk = CompactedDisk()
    disk.write(("a", "1"), ("b", None), timestamps_ms=[NOW_MS - 10, NOW_MS - 4])
    disk.write(("c", "1"))
    disk.roll()
    disk.clean()
    first = disk.headers()[0]
    assert first.attributes == DELETE_HORIZON_BIT
    assert (first.base_timestamp_ms, first.delete_horizon_ms, first.max_timestamp_ms) == (
        HORIZON_MS,
        HORIZON_MS,
        NOW_MS - 4,
    )
    assert [record.timestamp_ms for record in all_records(disk.log)] == [NOW_MS - 10, NOW_MS - 4, NOW_MS]
    disk.clock.advance(COMPACTED.delete_retention_ms - 1)
    disk.write(("d", "1"))
    disk.roll()
    disk.clean()
    assert [offset for offset, _, _ in disk.pairs()] == [0, 1, 2, 3]
    assert disk.headers()[0] == first, "its horizon is set once"
    disk.clock.advance(1)
    disk.write(("e", "1"))
    disk.roll()
    disk.clean()
    assert [offset for offset, _, _ in disk.pairs()] == [0, 2, 3, 4]
    assert disk.headers()[0].delete_horizon_ms == HORIZON_MS
    assert all_records(disk.log)[0].timestamp_ms == NOW_MS - 10


def test_a_tombstone_behind_the_map_is_left_alone() -> None:
    disk = CompactedDisk(COMPACTED._replace(delete_retention_ms=0))
    disk.write(("a", "1"))
    disk.write(("b", None))
    disk.roll()
    plan = disk.plan()
    steps = clean(disk.fs, plan._replace(limits=plan.limits._replace(dedupe_buffer_bytes=3 * 24, load_factor=0.1)))
    result = run(disk, steps)
    assert result == 1
    assert [header.delete_horizon_ms for header in disk.headers()] == [None, HORIZON_MS - 1000]
    assert [offset for offset, _, _ in disk.pairs()] == [0, 1]


def run(disk: CompactedDisk, steps: object) -> int:
    """Carry out a cleaning and swap it in; the offset it reached."""
    while True:
        try:
            step = next(steps)  # type: ignore[call-overload] # a generator
        except StopIteration as stop:
            disk.log.cleaned_offset = stop.value.end_offset
            return int(stop.value.end_offset)
        if isinstance(step, CleanedSegment):
            disk.log.replace_segments(step)


def test_records_without_a_key_go_and_are_counted() -> None:
    disk = CompactedDisk(LogConfig(index_interval_bytes=200))
    disk.append(b"no key", b"nor here")
    disk.write(("a", "1"))
    disk.roll()
    disk.log.update_config(COMPACTED)
    assert disk.clean().keyless == 2
    assert disk.pairs() == [(2, "a", "1")]


def test_the_last_batch_of_an_active_producer_stays_without_its_records() -> None:
    disk = CompactedDisk()
    disk.write(("a", "1"), producer=Producer(5, 1, 0))
    disk.write(("a", "2"), ("b", "1"), producer=Producer(5, 1, 1))
    disk.write(("a", "3"), ("b", "2"))
    disk.roll()
    before = disk.headers()[1]
    disk.clean()
    empty = disk.headers()[0]
    assert empty == before._replace(length=49, crc=empty.crc, base_timestamp_ms=-1, record_count=0)
    disk.log.producers.expire(NOW_MS + 10**9, 1)
    disk.write(("c", "1"))
    disk.roll()
    disk.clean()
    assert batch_at(disk, 1) is None, "nobody asks for a producer that has expired"


def test_the_batch_before_the_high_watermark_stays() -> None:
    """Nothing is behind it that would tell where the log ends."""
    disk = CompactedDisk(COMPACTED._replace(delete_retention_ms=0))
    disk.write(("a", "1"))
    disk.write(("a", None))
    disk.roll()
    disk.clean()
    disk.clock.advance(1)
    disk.log.cleaned_offset = 0
    disk.clean()
    assert [(header.base_offset, header.record_count) for header in disk.headers()] == [(1, 0)]
    disk.write(("b", "1"))
    disk.log.cleaned_offset = 0
    disk.clean()
    assert [header.base_offset for header in disk.headers()] == [2]


def test_an_aborted_transaction_goes_at_once_and_its_marker_in_time() -> None:
    disk = CompactedDisk()
    disk.write(("a", "0"))
    disk.write(("a", "1"), ("b", "1"), producer=Producer(7, 0, 0, is_transactional=True))
    disk.write(("b", "0"))
    disk.marker(7, 0, commit=False)
    disk.write(("c", "1"))
    disk.roll()
    disk.clean()
    assert disk.pairs() == [(0, "a", "0"), (3, "b", "0"), (5, "c", "1")]
    last = batch_at(disk, 1)
    assert last is not None
    assert last.record_count == 0, "the producer's last sequence"
    marker = batch_at(disk, 4)
    assert marker is not None
    assert marker.delete_horizon_ms is None, "its transaction still has a batch"
    assert disk.log.aborted_transactions(0, 6) == [AbortedTransaction(7, 1, 4, 5)]

    disk.log.producers.expire(NOW_MS + 10**9, 1)
    for step in ("the batch goes", "the marker gets its horizon", "the horizon is over"):
        disk.write((step, "1"))
        disk.roll()
        disk.clean()
        marker = batch_at(disk, 4)
        if step == "the batch goes":
            assert batch_at(disk, 1) is None
            assert marker is not None
            assert marker.delete_horizon_ms is None
            assert len(disk.log.aborted_transactions(0, 9)) == 1
        elif step == "the marker gets its horizon":
            assert marker is not None
            assert marker.delete_horizon_ms == HORIZON_MS
            assert disk.log.aborted_transactions(0, 9) == []
            disk.clock.advance(COMPACTED.delete_retention_ms)
        else:
            assert marker is None


def test_the_marker_of_a_commit_outlives_the_records_of_its_transaction() -> None:
    disk = CompactedDisk()
    disk.write(("a", "1"), producer=Producer(7, 0, 0, is_transactional=True))
    disk.marker(7, 0, commit=True)
    disk.write(("a", "2"), producer=Producer(7, 0, 1, is_transactional=True))
    disk.marker(7, 0, commit=True)
    disk.roll()
    disk.clean()
    first, second = batch_at(disk, 1), batch_at(disk, 3)
    assert first is not None
    assert first.delete_horizon_ms is None, "its data was there when it was read"
    assert second is not None
    disk.write(("b", "1"))
    disk.roll()
    disk.clean()
    first, second = batch_at(disk, 1), batch_at(disk, 3)
    assert first is not None
    assert first.delete_horizon_ms == HORIZON_MS
    assert second is not None
    assert second.delete_horizon_ms is None
    disk.clock.advance(COMPACTED.delete_retention_ms)
    disk.write(("c", "1"))
    disk.roll()
    disk.clean()
    assert batch_at(disk, 1) is None
    assert batch_at(disk, 3) is not None


def test_the_marker_of_a_producer_that_wrote_nothing_else_keeps_its_epoch() -> None:
    disk = CompactedDisk(COMPACTED._replace(delete_retention_ms=0))
    disk.marker(7, 5, commit=False)
    disk.write(("a", "1"))
    for key in "bcd":
        disk.roll()
        disk.clean()
        disk.clock.advance(1)
        disk.write((key, "1"))
    marker = batch_at(disk, 0)
    assert marker is not None
    assert (marker.record_count, marker.is_control, marker.producer_epoch) == (0, True, 5)
    disk.log.close()
    for name in disk.names():
        if name.endswith(".snapshot"):
            disk.fs.remove(f"{disk.directory}/{name}")
    disk.open(is_clean=True)
    assert disk.log.log_end_offset == 5


def test_a_marker_of_an_earlier_epoch_is_not_kept_for_its_producer() -> None:
    disk = CompactedDisk(COMPACTED._replace(delete_retention_ms=0))
    disk.marker(7, 4, commit=False)
    disk.marker(7, 5, commit=False)
    for key in "abc":
        disk.write((key, "1"))
        disk.roll()
        disk.clean()
        disk.clock.advance(1)
    assert batch_at(disk, 0) is None
    assert batch_at(disk, 1) is not None


def test_nothing_of_an_open_transaction_is_looked_at() -> None:
    disk = CompactedDisk()
    disk.write(("a", "1"))
    disk.roll()
    disk.write(("a", "2"), producer=Producer(7, 0, 0, is_transactional=True))
    disk.roll()
    disk.write(("a", "3"))
    disk.roll()
    assert disk.look().first_uncleanable_offset == 1
    disk.clean()
    assert [offset for offset, _, _ in disk.pairs()] == [0, 1, 2]


Damage = Callable[[bytearray], None]


def flip_a_byte(data: bytearray) -> None:
    data[-1] ^= 1


def change_an_offset(data: bytearray) -> None:
    """The checksum does not cover it."""
    data[len(data) // 2] ^= 1


def go_back(data: bytearray) -> None:
    data[len(data) // 2 + 7] = 0


def cut(data: bytearray) -> None:
    del data[-1:]


@pytest.mark.parametrize("damage", [flip_a_byte, change_an_offset, go_back, cut])
def test_damaged_batches_are_told_and_nothing_is_replaced(damage: Damage) -> None:
    disk = CompactedDisk()
    disk.write(("a", "1"))
    disk.write(("a", "2"))
    disk.roll()
    path = f"{disk.directory}/00000000000000000000.log"
    data = bytearray(disk.fs.read(path))
    damage(data)
    file = disk.fs.open(path)
    file.truncate(0)
    file.pwrite(bytes(data), 0)
    with pytest.raises(JobFailedError):
        disk.clean()
    assert disk.fs.read(path) == data


def test_a_record_that_is_larger_than_allowed_is_told() -> None:
    disk = CompactedDisk()
    disk.write(("a", "x" * 1000), codec=Codec.GZIP)
    disk.roll()
    disk.log.update_config(COMPACTED._replace(max_decompressed_message_bytes=900))
    with pytest.raises(JobFailedError, match="900 are allowed"):
        disk.clean()


def test_a_payload_that_is_no_records_is_told() -> None:
    disk = CompactedDisk()
    broken = bytearray(build_batch([Record(0, NOW_MS, b"k", b"v")]))
    broken[60] = 2  # the header says two records
    sealed = seal_batch(parse_header(broken), bytes(broken[61:]))
    disk.log.append_as_leader(bytearray(sealed), leader_epoch=0, now_ms=NOW_MS)
    disk.log.update_high_watermark(disk.log.log_end_offset)
    disk.roll()
    with pytest.raises(JobFailedError, match="structure"):
        disk.clean()


@pytest.mark.parametrize("codec", list(Codec))
def test_every_codec_is_read_and_written(codec: Codec) -> None:
    disk = CompactedDisk()
    disk.write(*(("key", str(number)) for number in range(50)), ("other", "1"), codec=codec)
    disk.write(("key", "last"), codec=codec)
    disk.roll()
    disk.clean()
    assert disk.pairs() == [(50, "other", "1"), (51, "key", "last")]
    assert [header.codec for header in disk.headers()] == [codec, codec]
    assert [len(list(iter_records(view))) for _, view in stored_batches(disk.log)] == [1, 1]
