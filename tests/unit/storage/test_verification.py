"""Transactions that a log does not know yet: who was verified may write, and a marker in between ends that."""

from __future__ import annotations

import pytest

from odradek.storage.log_config import LogConfig
from odradek.storage.memory_files import MemoryFile
from odradek.storage.producers import Verification
from odradek.storage.segment_file import FileRange
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.errors import ErrorCode
from tests.unit.storage.support import NOW_MS, Disk
from tests.unit.storage.test_producers import PRODUCER, code_of, send

DAY_MS = 86_400_000


def start(disk: Disk, *, epoch: int = 0, sequence: int = 0, adds_partitions: bool = False) -> Verification | None:
    return disk.log.producers.start_verification(PRODUCER, epoch, sequence, NOW_MS, adds_partitions=adds_partitions)


def refusal(disk: Disk, verification: Verification | None, *, epoch: int = 0) -> ErrorCode | None:
    """Why a batch may not be written, None if it may."""
    producers = disk.log.producers
    try:
        producers.check_verified(PRODUCER, epoch, verification)
    except Exception:  # noqa: BLE001 - asked again for its code
        return code_of(lambda: producers.check_verified(PRODUCER, epoch, verification))
    return None


def test_nobody_is_asked_about_a_transaction_that_goes_on() -> None:
    disk = Disk()
    verification = start(disk)
    assert verification is not None
    assert start(disk) is verification, "one answer for all that wait"
    assert refusal(disk, verification) is None
    send(disk, 0, is_transactional=True)
    assert start(disk) is None
    assert refusal(disk, None) is None


def test_a_marker_ends_what_was_verified_before_it() -> None:
    """A batch that was held up begins no transaction that nobody would end."""
    disk = Disk()
    verification = start(disk)
    disk.marker(PRODUCER, 0, commit=False)
    assert refusal(disk, verification) is ErrorCode.INVALID_TXN_STATE
    assert refusal(disk, None) is ErrorCode.INVALID_TXN_STATE
    fresh = start(disk)
    assert fresh is not verification
    assert (refusal(disk, fresh), refusal(disk, verification)) == (None, ErrorCode.INVALID_TXN_STATE)


def test_the_next_transactions_verification_outlives_the_marker_of_the_one_before() -> None:
    """With an epoch per transaction the producer goes on before the marker is written, which carries its new epoch."""
    disk = Disk()
    start(disk, adds_partitions=True)
    send(disk, 0, is_transactional=True)
    following = start(disk, epoch=1, adds_partitions=True)
    disk.marker(PRODUCER, 1, commit=True, transaction_version=2)
    assert refusal(disk, following, epoch=1) is None
    older = start(disk, epoch=1, adds_partitions=True)
    disk.marker(PRODUCER, 2, commit=True, transaction_version=2)
    assert refusal(disk, older, epoch=2) is ErrorCode.INVALID_TXN_STATE


def test_a_marker_with_the_last_epoch_there_is_ends_a_transaction_of_that_epoch() -> None:
    """No higher one could."""
    disk = Disk()
    send(disk, 0, epoch=2**15 - 1, is_transactional=True)
    disk.marker(PRODUCER, 2**15 - 1, commit=False, transaction_version=2)
    assert disk.log.last_stable_offset == 2


def test_old_epochs_are_refused() -> None:
    disk = Disk()
    send(disk, 0, epoch=3, is_transactional=True)
    assert code_of(lambda: start(disk, epoch=2)) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert refusal(disk, None, epoch=2) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert start(disk, epoch=4) is not None


def test_the_first_batch_is_the_first_that_was_sent() -> None:
    disk = Disk()
    start(disk, sequence=5)
    start(disk, sequence=4)
    assert code_of(lambda: send(disk, 5, is_transactional=True)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    send(disk, 4, is_transactional=True)
    send(disk, 5, is_transactional=True)


def test_sequences_begin_at_0_with_an_epoch_per_transaction() -> None:
    """Without one they may begin anywhere, for the partition may have forgotten the producer."""
    disk = Disk()
    start(disk, sequence=4, adds_partitions=True)
    assert code_of(lambda: send(disk, 4, is_transactional=True)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    send(disk, 0, is_transactional=True)
    disk.marker(PRODUCER, 1, commit=True, transaction_version=2)
    start(disk, epoch=1, sequence=3, adds_partitions=True)
    assert code_of(lambda: send(disk, 3, epoch=1, is_transactional=True)) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_what_is_verified_and_never_written_is_forgotten() -> None:
    disk = Disk()
    verification = start(disk)
    disk.log.producers.expire(NOW_MS + DAY_MS - 1, DAY_MS)
    assert refusal(disk, verification) is None
    disk.log.producers.expire(NOW_MS + DAY_MS, DAY_MS)
    assert refusal(disk, verification) is ErrorCode.INVALID_TXN_STATE
    second = start(disk)
    disk.log.truncate_fully_and_start_at(7)
    assert refusal(disk, second) is ErrorCode.INVALID_TXN_STATE


def test_a_reader_is_told_of_what_was_aborted_where_it_reads() -> None:
    """Not of all that was ever aborted behind that."""
    disk = Disk(LogConfig(index_interval_bytes=1))
    for number in range(50):
        send(disk, number, is_transactional=True)
        disk.marker(PRODUCER, 0, commit=False)
    log = disk.log
    part = log.read(40, max_bytes=1, max_offset=100, min_one_message=True)
    told = log.aborted_in(part, 40)
    assert told[0] == AbortedTransaction(PRODUCER, 40, 41, 42)
    assert len(told) <= 2
    everything = log.read(40, max_bytes=1 << 20, max_offset=100, min_one_message=True)
    assert [entry.first_offset for entry in log.aborted_in(everything, 40)] == list(range(40, 100, 2))
    assert log.aborted_in(log.read(100, max_bytes=1, max_offset=100, min_one_message=True), 100) == []


def test_a_reader_is_told_of_what_was_aborted_before_the_latest_segment() -> None:
    disk = Disk()
    send(disk, 0, is_transactional=True)
    disk.marker(PRODUCER, 0, commit=False)
    disk.log.roll()
    disk.append(b"after")
    part = disk.log.read(0, max_bytes=1 << 20, max_offset=3, min_one_message=True)
    assert disk.log.aborted_in(part, 0) == [AbortedTransaction(PRODUCER, 0, 1, 2)]


def test_small_reads_hold_no_range_where_all_of_them_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    disk.append(b"v")
    log = disk.log

    def read(small_bytes: int) -> FileRange | bytes:
        return log.read(0, max_bytes=1 << 20, max_offset=1, min_one_message=True, small_bytes=small_bytes).records

    size = len(log.segments.active.log.read(1 << 20, 0))
    assert read(size) == log.segments.active.log.read(size, 0)
    ranges = [read(size - 1)]
    monkeypatch.setattr(MemoryFile, "pread_warm", lambda file, size, offset: file.pread(size - 1, offset))
    ranges.append(read(size))
    monkeypatch.setattr(MemoryFile, "pread_warm", lambda _file, _size, _offset: None)
    ranges.append(read(size))
    for each in ranges:
        assert isinstance(each, FileRange)
        assert each.size == size
        each.release()
    assert not log.segments.active.log.is_busy()
