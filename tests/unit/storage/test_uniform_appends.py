"""A run of batches of one size leaves in a log what they leave one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.storage.log_config import LogConfig
from odradek.storage.uniform_run import ProducerSequence, UniformRun
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import parse_header
from tests.unit.storage.support import NOW_MS, Disk, batch, stored_batches
from tests.unit.storage.test_failures import FailingFileSystem

PRODUCER = 7


def uniform(batches: Sequence[bytes | bytearray], sequences: Sequence[ProducerSequence] = ()) -> UniformRun:
    headers = [parse_header(each) for each in batches]
    views = [memoryview(bytearray(each)) for each in batches]
    times_ms = [header.max_timestamp_ms for header in headers]
    return UniformRun(views, len(views[0]), headers[0].record_count, times_ms, sequences)


def state(disk: Disk) -> object:
    """All that a log's files and memory say; closes it."""
    log = disk.log
    stored = [(header.base_offset, header.leader_epoch, bytes(view)) for header, view in stored_batches(log)]
    found = [
        log.read(offset, max_bytes=1, max_offset=log.log_end_offset, min_one_message=True).position
        for offset in range(log.log_start_offset, log.log_end_offset)
    ]
    times = [
        (segment.base_offset, segment.max_timestamp_ms, segment.offset_of_max_timestamp, segment.first_timestamp_ms)
        for segment in log.segments
    ]
    producers = [
        (entry.producer_id, entry.producer_epoch, entry.last_timestamp_ms, list(entry.batches))
        for entry in log.producers.active_producers()
    ]
    log.close()
    files = {name: disk.fs.read(f"{disk.directory}/{name}") for name in disk.names()}
    return stored, found, times, producers, files


@given(
    runs=st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=30), min_size=1, max_size=12),
    interval=st.sampled_from((0, 1, 71, 150, 4096)),
    records=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_runs_leave_what_their_batches_leave_one_by_one(runs: list[list[int]], interval: int, records: int) -> None:
    config = LogConfig(index_interval_bytes=interval)
    one_by_one, together = Disk(config), Disk(config)
    for number, lags in enumerate(runs):
        batches = [batch(*[b"v"] * records, timestamp_ms=NOW_MS + 1000 * lag + number) for lag in lags]
        first_offset = together.log.log_end_offset
        assert together.log.append_uniform(uniform(batches), leader_epoch=3, now_ms=NOW_MS) == first_offset
        for each in batches:
            one_by_one.log.append_as_leader(bytearray(each), leader_epoch=3, now_ms=NOW_MS)
    assert state(together) == state(one_by_one)


def test_a_run_longer_than_what_is_remembered_of_a_segment() -> None:
    one_by_one, together = Disk(), Disk()
    batches = [batch(b"v", b"w", timestamp_ms=NOW_MS + number) for number in range(700)]
    assert together.log.append_uniform(uniform(batches), leader_epoch=0, now_ms=NOW_MS) == 0
    for each in batches:
        one_by_one.log.append_as_leader(bytearray(each), leader_epoch=0, now_ms=NOW_MS)
    assert state(together) == state(one_by_one)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 11])
@pytest.mark.parametrize("first", [1, 2**31 - 13])
def test_the_sequences_of_several_producers(count: int, first: int) -> None:
    def of(producer_id: int, number: int) -> bytes:
        sequence = (first + 2 * number) % 2**31
        time_ms = NOW_MS + number
        return bytes(
            batch(b"v", b"w", timestamp_ms=time_ms, producer_id=producer_id, producer_epoch=4, base_sequence=sequence)
        )

    one_by_one, together = Disk(), Disk()
    mine = [of(PRODUCER, number) for number in range(count + 1)]
    theirs = [of(8, number) for number in range(3)]
    for disk in (one_by_one, together):
        for each in (mine[0], theirs[0]):
            disk.log.append_as_leader(bytearray(each), leader_epoch=0, now_ms=NOW_MS)
    run = [*mine[1:], bytes(batch(b"v", b"w")), *theirs[1:]]
    sequences = [
        ProducerSequence(PRODUCER, 4, first + 2, 0, count),
        ProducerSequence(8, 4, first + 2, count + 1, count + 3),
    ]
    appended = together.log.append_uniform(uniform(run, sequences), leader_epoch=0, now_ms=NOW_MS)
    assert appended == 4
    for each in run:
        one_by_one.log.append_as_leader(bytearray(each), leader_epoch=0, now_ms=NOW_MS)
    assert state(together) == state(one_by_one)


@pytest.mark.parametrize(
    "sequences",
    [
        [(PRODUCER, 0, 2, 0, 2)],
        [(PRODUCER, 0, 0, 0, 2)],
        [(PRODUCER, 1, 1, 0, 2)],
        [(9, 0, 0, 0, 2)],
        [(PRODUCER, 0, 1, 0, 1), (PRODUCER, 0, 1, 1, 2)],
        [(PRODUCER, 0, 1, 0, 1), (9, 0, 0, 1, 2)],
    ],
)
def test_a_run_in_which_a_producer_does_not_continue_changes_nothing(
    sequences: list[tuple[int, int, int, int, int]],
) -> None:
    disk = Disk()
    disk.append(b"v", producer_id=PRODUCER, producer_epoch=0, base_sequence=0)
    run = uniform([bytes(batch(b"v"))] * 2, [ProducerSequence(*each) for each in sequences])
    before = [bytes(each) for each in run.batches]
    assert disk.log.append_uniform(run, leader_epoch=0, now_ms=NOW_MS) is None
    assert ([bytes(each) for each in run.batches], disk.log.log_end_offset) == (before, 1)


@pytest.mark.parametrize("is_verified", [True, False])
def test_a_run_of_a_producer_with_a_transaction_changes_nothing(is_verified: bool) -> None:
    disk = Disk()
    disk.append(b"v", producer_id=PRODUCER, producer_epoch=0, base_sequence=0, is_transactional=is_verified)
    if not is_verified:
        disk.log.producers.start_verification(PRODUCER, 0, 1, NOW_MS, adds_partitions=False)
    run = uniform([bytes(batch(b"v"))] * 2, [ProducerSequence(PRODUCER, 0, 1, 0, 2)])
    assert disk.log.append_uniform(run, leader_epoch=0, now_ms=NOW_MS) is None
    assert disk.log.log_end_offset == 1


def test_a_run_that_does_not_fit_the_segment_changes_nothing() -> None:
    disk = Disk(LogConfig(segment_bytes=1000))
    run = uniform([bytes(batch(b"v" * 100))] * 6)
    before = [bytes(each) for each in run.batches]
    assert disk.log.append_uniform(run, leader_epoch=0, now_ms=NOW_MS) is None
    assert ([bytes(each) for each in run.batches], disk.log.log_end_offset) == (before, 0)
    assert disk.log.append_uniform(uniform([bytes(batch(b"v" * 100))] * 5), leader_epoch=0, now_ms=NOW_MS) == 0


def test_flush_messages_counts_the_records_of_a_run() -> None:
    disk = Disk(LogConfig(flush_messages=10))
    disk.log.append_uniform(uniform([bytes(batch(b"v", b"w", b"x"))] * 3), leader_epoch=0, now_ms=NOW_MS)
    assert disk.log.recovery_point == 0
    disk.log.append_uniform(uniform([bytes(batch(b"v"))]), leader_epoch=0, now_ms=NOW_MS)
    assert disk.log.recovery_point == 10


def test_a_disk_that_fails_leaves_nothing_of_a_run() -> None:
    fs = FailingFileSystem()
    disk = Disk(fs=fs)
    disk.append(b"v", producer_id=PRODUCER, producer_epoch=0, base_sequence=0)
    disk.log.release()
    fs.failing = disk.directory
    batches = [bytes(batch(b"v", producer_id=PRODUCER, producer_epoch=0, base_sequence=number)) for number in (1, 2)]
    run = uniform(batches, [ProducerSequence(PRODUCER, 0, 1, 0, 2)])
    with pytest.raises(KafkaError) as raised:
        disk.log.append_uniform(run, leader_epoch=0, now_ms=NOW_MS)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert len(disk.failures) == 1
    producer = disk.log.producers.entry(PRODUCER)
    assert producer is not None
    assert (disk.log.log_end_offset, producer.last_sequence) == (1, 0)
