"""Seeded lives of a node whose power is cut and whose disks fail: what was synced stays, and nothing is invented."""

from __future__ import annotations

import os

import pytest

from odradek.storage.log_config import LogConfig
from tests.sim.storage.crash_disk import PAGE_BYTES, CrashDisk
from tests.sim.storage.life import Life
from tests.unit.storage.support import DIRECTORY, NOW_MS, Disk, batch

LIVES = int(os.environ.get("ODRADEK_SIM_LIVES", "100"))
"""Each has some forty power cuts; more lives take more time."""
STEPS = 250


@pytest.mark.parametrize("seed", range(LIVES))
def test_nothing_synced_is_lost_and_nothing_is_invented(seed: int) -> None:
    life = Life(seed)
    for _ in range(STEPS):
        life.step()
    life.crash()
    assert life.values > 100
    assert life.cuts >= 20


BATCH_BYTES = 2 * PAGE_BYTES
CUTS = 200
"""How many power cuts each case below tries, with a seed for each."""


def value(letter: bytes) -> bytes:
    """Of a record whose batch is whole pages, so that what is behind another batch fits to it."""
    return letter * (BATCH_BYTES - len(batch(b"")) - 1)


def disk_with(seed: int, letters: bytes, *, batches_per_segment: int = 10) -> Disk:
    """A log with a batch for each letter, all of it synced."""
    fs = CrashDisk(seed)
    disk = Disk(LogConfig(segment_bytes=batches_per_segment * BATCH_BYTES), fs)
    for number in range(len(letters)):
        disk.append(value(letters[number : number + 1]))
    assert disk.log.size_bytes == len(letters) * BATCH_BYTES
    disk.log.flush()
    for path in (DIRECTORY, "/data", ""):
        fs.sync_dir(path)
    return disk


def letters_after_power_cut(disk: Disk, recovery_point: int) -> bytes:
    """What a start after a power cut finds."""
    assert isinstance(disk.fs, CrashDisk)
    disk.fs.lose_power()
    disk.open(recovery_point=recovery_point)
    return b"".join(found[:1] for _, found in disk.read_all() if found is not None)


def test_what_was_truncated_is_not_behind_what_was_written_next() -> None:
    for seed in range(CUTS):
        disk = disk_with(seed, b"abc")
        disk.log.truncate_to(1)
        disk.append(value(b"x"))
        assert letters_after_power_cut(disk, 0) in (b"a", b"ax"), f"seed {seed}"


def test_segments_that_were_truncated_do_not_come_back() -> None:
    for seed in range(CUTS):
        disk = disk_with(seed, b"abcd", batches_per_segment=2)
        disk.log.truncate_to(1)
        disk.append(value(b"x"))
        disk.log.flush()
        assert letters_after_power_cut(disk, 2) == b"ax", f"seed {seed}"


def test_what_recovery_has_cut_off_is_not_behind_what_was_written_next() -> None:
    for seed in range(CUTS):
        disk = disk_with(seed, b"abc")
        file = disk.fs.open(disk.log.segments.active.log.path)
        file.pwrite(b"damaged", BATCH_BYTES + 70)
        file.sync()
        assert disk.open().log_end_offset == 1
        disk.append(value(b"x"))
        assert letters_after_power_cut(disk, 0) in (b"a", b"ax"), f"seed {seed}"


def test_a_segment_that_was_begun_before_a_kill_keeps_its_name() -> None:
    for seed in range(CUTS):
        disk = disk_with(seed, b"ab", batches_per_segment=2)
        disk.append(value(b"c"))
        disk.open(recovery_point=2)
        disk.append(value(b"d"))
        disk.log.flush()
        assert letters_after_power_cut(disk, 4) == b"abcd", f"seed {seed}"


def test_indexes_that_recovery_has_made_are_on_the_disk_after_a_clean_stop() -> None:
    for seed in range(CUTS):
        disk = disk_with(seed, b"ab")
        disk.open(recovery_point=2)
        disk.log.close()
        assert isinstance(disk.fs, CrashDisk)
        disk.fs.lose_power()
        found = disk.open(is_clean=True).offset_for_timestamp(NOW_MS)
        assert found is not None, f"seed {seed}"
        assert found.offset == 0


def test_what_was_aborted_stays_so() -> None:
    """The index that says it is a file which may come long after the segment's others: its name has to be synced."""
    for seed in range(CUTS):
        disk = disk_with(seed, b"a")
        disk.append(b"undone", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
        disk.marker(5, 0, commit=False)
        if seed % 2:
            flushed = disk.log.flush_later()
            disk.clock.run_soon()
            flushed.result()
        else:
            disk.log.flush()
        disk.fs.lose_power()  # type: ignore[attr-defined] # a CrashDisk
        log = disk.open(is_clean=True, recovery_point=disk.log.log_end_offset)
        assert [(entry.first_offset, entry.last_offset) for entry in log.aborted_transactions(0, 3)] == [(1, 2)]
