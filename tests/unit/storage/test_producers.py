"""Idempotence and transactions: what a log remembers of its producers, and that it survives what the log survives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.log_config import LogConfig
from odradek.storage.log_results import AppendOrigin
from odradek.storage.producer_snapshot import decode_snapshot
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import MAX_SEQUENCE, parse_header
from tests.unit.storage.support import DIRECTORY, NOW_MS, Disk, batch, marker

PRODUCER = 7


def send(disk: Disk, sequence: int, *values: bytes, epoch: int = 0, is_transactional: bool = False) -> int:
    """Append as the producer; the first offset of the answer."""
    info = disk.append(
        *(values or (b"v",)),
        producer_id=PRODUCER,
        producer_epoch=epoch,
        base_sequence=sequence,
        is_transactional=is_transactional,
    )
    return info.first_offset


def code_of(action: Callable[[], object]) -> ErrorCode:
    with pytest.raises(KafkaError) as raised:
        action()
    return raised.value.code


def reopen(disk: Disk, how: str) -> None:
    if how == "clean stop":
        disk.log.close()
        disk.open(is_clean=True)
        disk.log.update_high_watermark(disk.log.log_end_offset)
    elif how == "crash":
        disk.open()
        disk.log.update_high_watermark(disk.log.log_end_offset)


RESTARTS = pytest.mark.parametrize("how", ["none", "clean stop", "crash"])


def test_each_of_the_last_five_batches_is_answered_again_with_its_offset() -> None:
    disk = Disk()
    for sequence in range(7):
        send(disk, sequence)
    for sequence in range(2, 7):
        info = disk.append(b"v", producer_id=PRODUCER, producer_epoch=0, base_sequence=sequence)
        assert (info.is_duplicate, info.first_offset, info.last_offset) == (True, sequence, sequence)
    assert code_of(lambda: send(disk, 1)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert disk.log.log_end_offset == 7


@RESTARTS
def test_the_last_batch_is_known_and_gaps_are_refused_after_a_restart(how: str) -> None:
    disk = Disk()
    send(disk, 0, b"a", b"b")
    reopen(disk, how)
    assert send(disk, 0, b"a", b"b") == 0
    assert disk.log.log_end_offset == 2
    assert code_of(lambda: send(disk, 3)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send(disk, 2) == 2


def test_a_new_epoch_begins_with_sequence_zero_and_fences_the_old_one() -> None:
    disk = Disk()
    send(disk, 0)
    assert code_of(lambda: send(disk, 1, epoch=1)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send(disk, 0, epoch=1) == 1
    assert code_of(lambda: send(disk, 1, epoch=0)) is ErrorCode.INVALID_PRODUCER_EPOCH


def test_a_producer_that_the_log_does_not_know_may_begin_anywhere() -> None:
    assert send(Disk(), 41) == 0


def test_sequences_go_on_with_zero_after_the_largest() -> None:
    disk = Disk()
    send(disk, MAX_SEQUENCE - 1, b"a", b"b")
    assert send(disk, 0) == 2
    disk.log.close()
    disk.open(is_clean=True)
    assert send(disk, 1) == 3


def test_a_batch_that_wraps_around_is_known_again() -> None:
    disk = Disk()
    send(disk, MAX_SEQUENCE, b"a", b"b")
    assert send(disk, MAX_SEQUENCE, b"a", b"b") == 0
    assert send(disk, 1) == 2


def test_a_coordinator_writes_without_sequences() -> None:
    disk = Disk()
    for _ in range(2):
        disk.append(b"v", producer_id=PRODUCER, producer_epoch=3, origin=AppendOrigin.COORDINATOR)
    assert disk.log.log_end_offset == 2


@RESTARTS
def test_an_open_transaction_holds_back_the_last_stable_offset(how: str) -> None:
    disk = Disk()
    disk.append(b"before")
    send(disk, 0, is_transactional=True)
    disk.append(b"after")
    reopen(disk, how)
    assert (disk.log.last_stable_offset, disk.log.high_watermark) == (1, 3)
    disk.marker(PRODUCER, 0, commit=True)
    assert disk.log.last_stable_offset == 4
    assert disk.log.aborted_transactions(0, 4) == []


@RESTARTS
def test_aborted_transactions_are_found_by_range(how: str) -> None:
    disk = Disk()
    send(disk, 0, is_transactional=True)
    disk.append(b"v", producer_id=8, producer_epoch=0, base_sequence=0, is_transactional=True)
    disk.marker(PRODUCER, 0, commit=False)
    send(disk, 1, is_transactional=True)
    disk.log.roll()
    disk.marker(8, 0, commit=False)
    disk.marker(PRODUCER, 0, commit=True)
    reopen(disk, how)
    first, second = AbortedTransaction(PRODUCER, 0, 2, 1), AbortedTransaction(8, 1, 4, 3)
    assert disk.log.aborted_transactions(0, 6) == [first, second]
    assert disk.log.aborted_transactions(0, 1) == [first]
    assert disk.log.aborted_transactions(3, 6) == [second]
    assert disk.log.aborted_transactions(5, 6) == []


@RESTARTS
def test_an_aborted_transaction_says_up_to_where_all_was_decided(how: str) -> None:
    disk = Disk()
    send(disk, 0, is_transactional=True)
    disk.marker(PRODUCER, 0, commit=True)
    disk.append(b"v", producer_id=8, producer_epoch=0, base_sequence=0, is_transactional=True)
    send(disk, 1, is_transactional=True)
    disk.marker(8, 0, commit=False)
    disk.marker(PRODUCER, 0, commit=False)
    reopen(disk, how)
    assert disk.log.aborted_transactions(0, 6) == [
        AbortedTransaction(8, 2, 4, 3),
        AbortedTransaction(PRODUCER, 3, 5, 6),
    ]


def test_producers_are_what_the_batches_say_whatever_a_snapshot_of_before_the_crash_says() -> None:
    disk = Disk()
    send(disk, 0)
    other = Disk()
    send(other, 50)
    other.log.close()
    path = f"{DIRECTORY}/{1:020d}.snapshot"
    disk.fs.write_atomically(path, other.fs.read(path))
    disk.open()
    assert send(disk, 1) == 1


def test_a_decided_transaction_stays_unstable_until_its_marker_is_replicated() -> None:
    disk = Disk()
    send(disk, 0, is_transactional=True)
    disk.log.append_as_leader(
        marker(PRODUCER, 0, commit=True), leader_epoch=0, now_ms=NOW_MS, origin=AppendOrigin.COORDINATOR
    )
    disk.log.update_high_watermark(1)
    assert disk.log.last_stable_offset == 0
    disk.log.update_high_watermark(2)
    assert disk.log.last_stable_offset == 2


def test_data_outside_of_the_open_transaction_is_refused() -> None:
    disk = Disk()
    send(disk, 0, is_transactional=True)
    assert code_of(lambda: send(disk, 1)) is ErrorCode.INVALID_TXN_STATE


def test_markers_are_fenced_by_epoch_and_coordinator() -> None:
    disk = Disk()
    send(disk, 0, epoch=2, is_transactional=True)
    assert code_of(lambda: disk.marker(PRODUCER, 1, commit=True)) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert code_of(lambda: disk.marker(PRODUCER, 2, commit=True, transaction_version=2)) is (
        ErrorCode.INVALID_PRODUCER_EPOCH
    )
    disk.marker(PRODUCER, 3, commit=True, coordinator_epoch=5, transaction_version=2)
    # The same marker again, as after a lost response, is fine.
    disk.marker(PRODUCER, 3, commit=True, coordinator_epoch=5, transaction_version=2)
    assert code_of(lambda: disk.marker(PRODUCER, 4, commit=True, coordinator_epoch=4)) is (
        ErrorCode.TRANSACTION_COORDINATOR_FENCED
    )
    assert send(disk, 0, epoch=3, is_transactional=True) == 3


def test_truncation_takes_producers_back_to_where_they_were() -> None:
    disk = Disk()
    for sequence in range(3):
        send(disk, sequence, is_transactional=True)
    send(disk, 3, is_transactional=True)
    disk.marker(PRODUCER, 0, commit=False)
    disk.log.roll()
    disk.append(b"v")
    disk.log.truncate_to(2)
    disk.log.update_high_watermark(2)
    assert disk.log.last_stable_offset == 0
    assert disk.log.aborted_transactions(0, 2) == []
    assert send(disk, 1, is_transactional=True) == 1
    assert send(disk, 2, is_transactional=True) == 2
    disk.marker(PRODUCER, 0, commit=True)
    disk.append(b"v")
    assert disk.log.aborted_transactions(0, 5) == []
    disk.log.truncate_fully_and_start_at(50)
    assert disk.log.producers.active_producers() == []


def test_producers_are_forgotten_after_the_expiration_but_not_within_a_transaction() -> None:
    disk = Disk()
    send(disk, 0)
    disk.append(b"v", producer_id=8, producer_epoch=0, base_sequence=0, is_transactional=True)
    disk.log.producers.expire(NOW_MS + 1000, 1001)
    assert [entry.producer_id for entry in disk.log.producers.active_producers()] == [7, 8]
    disk.log.producers.expire(NOW_MS + 1000, 1000)
    assert [entry.producer_id for entry in disk.log.producers.active_producers()] == [8]


def test_a_damaged_snapshot_is_not_used() -> None:
    disk = Disk(LogConfig())
    send(disk, 0)
    disk.log.close()
    path = f"{DIRECTORY}/{1:020d}.snapshot"
    whole = disk.fs.read(path)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        with pytest.raises(CorruptFileError):
            decode_snapshot(bytes(damaged), path)
        with pytest.raises(CorruptFileError):
            decode_snapshot(whole[:position], path)
    disk.fs.write_atomically(path, bytes(damaged))
    disk.open(is_clean=True)
    assert send(disk, 0) == 0
    assert disk.log.log_end_offset == 1


@pytest.mark.parametrize("count", [2, 4, 5, 6, 11])
def test_a_run_of_a_producers_batches_leaves_what_they_leave_one_by_one(count: int) -> None:
    one_by_one, together = Disk().log, Disk().log
    batches = [
        batch(
            b"v", b"w", timestamp_ms=NOW_MS + number, producer_id=PRODUCER, producer_epoch=0, base_sequence=2 * number
        )
        for number in range(count + 1)
    ]
    views = [memoryview(bytearray(each)) for each in batches[1:]]
    together.append_as_leader(bytearray(batches[0]), leader_epoch=0, now_ms=NOW_MS)
    assert together.append_run(views, [parse_header(each) for each in views], leader_epoch=0, now_ms=NOW_MS) is not None
    for each in batches:
        one_by_one.append_as_leader(each, leader_epoch=0, now_ms=NOW_MS)
    mine, theirs = together.producers.entry(PRODUCER), one_by_one.producers.entry(PRODUCER)
    assert mine is not None
    assert theirs is not None
    assert mine.batches == theirs.batches
    assert len(mine.batches) == min(count + 1, 5)
    assert (mine.producer_epoch, mine.last_timestamp_ms) == (0, NOW_MS + count)


def test_a_run_of_several_producers_leaves_what_they_leave_one_by_one() -> None:
    def from_producer(producer_id: int, sequence: int) -> bytearray:
        return batch(b"v", producer_id=producer_id, producer_epoch=0, base_sequence=sequence)

    one_by_one, together = Disk().log, Disk().log
    run = [
        batch(b"a"), from_producer(7, 1), from_producer(7, 2), batch(b"b"), batch(b"c"), from_producer(9, 1),
        from_producer(8, 1), from_producer(8, 2), from_producer(8, 3),
    ]  # fmt: skip
    for log in (one_by_one, together):
        for producer_id in (7, 8, 9):
            log.append_as_leader(from_producer(producer_id, 0), leader_epoch=0, now_ms=NOW_MS)
    views = [memoryview(bytearray(each)) for each in run]
    assert together.append_run(views, [parse_header(each) for each in views], leader_epoch=0, now_ms=NOW_MS) is not None
    for each in run:
        one_by_one.append_as_leader(each, leader_epoch=0, now_ms=NOW_MS)
    assert together.log_end_offset == one_by_one.log_end_offset == 12
    for mine, theirs in zip(
        together.producers.active_producers(), one_by_one.producers.active_producers(), strict=True
    ):
        assert (mine.producer_id, mine.batches) == (theirs.producer_id, theirs.batches)


@pytest.mark.parametrize("sequences", [(2,), (0,), (1, 1), (1, 2)])
def test_a_run_in_which_a_producer_does_not_continue_changes_nothing(sequences: tuple[int, ...]) -> None:
    disk = Disk()
    send(disk, 0)
    run = [memoryview(batch(b"a"))]
    for sequence in sequences:
        run.append(memoryview(batch(b"v", producer_id=PRODUCER, producer_epoch=0, base_sequence=sequence)))
        run.append(memoryview(batch(b"b")))
    before = [bytes(each) for each in run]
    headers = [parse_header(each) for each in run]
    assert disk.log.append_run(run, headers, leader_epoch=0, now_ms=NOW_MS) is None
    assert ([bytes(each) for each in run], disk.log.log_end_offset) == (before, 1)
