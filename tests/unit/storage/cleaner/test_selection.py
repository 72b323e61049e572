"""Which log is cleaned next, and up to where."""

from __future__ import annotations

import logging

import pytest

from odradek.storage.cleaner.segment_groups import SegmentSizes, group_segments
from odradek.storage.cleaner.selection import LogToClean, dirtiest, look_at
from odradek.storage.log_config import LogConfig
from tests.unit.storage.cleaner.support import COMPACTED, NOW_MS, CompactedDisk, Producer

HOUR_MS = 3_600_000


def segments(config: LogConfig = COMPACTED, *ages_ms: int) -> CompactedDisk:
    """A closed segment of one record for each age, and an empty active one."""
    disk = CompactedDisk(config)
    for age_ms in ages_ms:
        disk.write(("a", "1"), timestamps_ms=[NOW_MS - age_ms])
        disk.roll()
    return disk


def test_a_log_with_its_active_segment_only_is_not_looked_at() -> None:
    disk = CompactedDisk()
    disk.write(("a", "1"))
    assert look_at(disk.log, NOW_MS) is None


def test_all_closed_segments_are_dirty_at_first_and_then_those_behind_the_checkpoint() -> None:
    disk = segments(COMPACTED, 0, 0, 0)
    size = disk.log.segments.first.size
    assert disk.look()[1:] == (0, 3, 0, 3 * size, False)
    assert disk.look().ratio == 1.0
    disk.log.cleaned_offset = 2
    assert disk.look()[1:] == (2, 3, 2 * size, size, False)
    assert disk.look().ratio == pytest.approx(1 / 3)
    disk.log.cleaned_offset = 3
    assert disk.look()[1:] == (3, 3, 3 * size, 0, False)
    assert not disk.look().is_due


def test_nothing_above_the_high_watermark_is_cleaned() -> None:
    disk = segments(COMPACTED, 0, 0, 0)
    disk.log.high_watermark = 2
    assert disk.look().first_uncleanable_offset == 2
    disk.log.high_watermark = 0
    assert disk.look().first_uncleanable_offset == 0
    assert disk.look().cleanable_bytes == 0


def test_a_transaction_within_a_segment_keeps_that_segment() -> None:
    disk = segments(COMPACTED, 0)
    disk.write(("a", "1"))
    disk.write(("a", "1"), producer=Producer(7, 0, 0, is_transactional=True))
    disk.roll()
    assert disk.log.last_stable_offset == 2
    assert disk.look().first_uncleanable_offset == 1


def test_young_segments_wait_for_the_minimum_lag() -> None:
    config = COMPACTED._replace(min_compaction_lag_ms=HOUR_MS)
    disk = segments(config, 3 * HOUR_MS, HOUR_MS, HOUR_MS - 1, 2 * HOUR_MS)
    assert disk.look().first_uncleanable_offset == 2
    disk.clock.advance(1)
    assert disk.look().first_uncleanable_offset == 4


def test_a_segment_without_timestamps_is_as_old_as_its_file() -> None:
    disk = segments(COMPACTED._replace(min_compaction_lag_ms=HOUR_MS), NOW_MS + 1)
    assert disk.look().first_uncleanable_offset == 0
    disk.clock.advance(HOUR_MS)
    assert disk.look().first_uncleanable_offset == 1


def test_the_maximum_lag_forces_a_clean_log_to_be_cleaned() -> None:
    disk = segments(COMPACTED._replace(max_compaction_lag_ms=HOUR_MS, min_cleanable_dirty_ratio=1.0), 0, HOUR_MS, 0)
    disk.log.cleaned_offset = 1
    assert (disk.look().is_overdue, disk.look().is_due) == (False, False)
    disk.clock.advance(1)
    assert (disk.look().is_overdue, disk.look().is_due) == (True, True)
    disk.log.cleaned_offset = 2
    assert not disk.look().is_overdue, "the old record is in the clean part"
    disk.log.cleaned_offset = 3
    assert not disk.look().is_due


def test_the_ratio_has_to_be_above_the_minimum() -> None:
    disk = segments(COMPACTED._replace(min_cleanable_dirty_ratio=0.5), 0, 0)
    disk.log.cleaned_offset = 1
    assert (disk.look().ratio, disk.look().is_due) == (0.5, False)
    disk.log.update_config(disk.config._replace(min_cleanable_dirty_ratio=0.49))
    assert disk.look().is_due


@pytest.mark.parametrize(
    ("policy", "start", "cleaned", "expected", "warns"),
    [
        (("compact",), 0, 9, 0, True),
        (("compact",), 2, 1, 2, True),
        (("compact", "delete"), 2, 1, 2, False),
        (("compact", "delete"), 0, 9, 0, True),
        (("compact",), 2, 2, 2, False),
    ],
)
def test_a_checkpoint_that_the_log_does_not_reach_begins_again(
    caplog: pytest.LogCaptureFixture,
    policy: tuple[str, ...],
    start: int,
    cleaned: int,
    expected: int,
    warns: bool,
) -> None:
    disk = segments(COMPACTED._replace(cleanup_policy=policy), 0, 0, 0)
    disk.log.log_start_offset = start
    disk.log.cleaned_offset = cleaned
    with caplog.at_level(logging.WARNING):
        assert disk.look().first_dirty_offset == expected
    assert disk.log.cleaned_offset == expected
    assert bool(caplog.records) is warns


def test_the_dirtiest_of_those_that_are_due_is_next() -> None:
    def candidate(clean: int, dirty: int, *, overdue: bool = False, minimum: float = 0.5) -> LogToClean:
        log = CompactedDisk(COMPACTED._replace(min_cleanable_dirty_ratio=minimum)).log
        return LogToClean(log, 0, 0, clean, dirty, overdue)

    some, more = candidate(40, 60), candidate(20, 80)
    not_due = candidate(1, 99, minimum=1.0)
    overdue = candidate(99, 1, overdue=True, minimum=1.0)
    nothing = candidate(100, 0, overdue=True)
    assert dirtiest([some, not_due, more, overdue, nothing]) is more
    assert dirtiest([nothing, not_due, overdue]) is overdue
    assert dirtiest([nothing, not_due]) is None
    assert dirtiest([]) is None


def sizes(*triples: tuple[int, int, int]) -> list[SegmentSizes]:
    return [SegmentSizes(10 * number, *triple) for number, triple in enumerate(triples)]


def grouped(found: list[SegmentSizes], log: int = 100, index: int = 50, end: int = 1000) -> list[list[int]]:
    groups = group_segments(found, log, index, end)
    return [[segment.base_offset for segment in group] for group in groups]


def test_segments_are_merged_as_long_as_they_fit() -> None:
    assert grouped(sizes((60, 1, 1), (40, 1, 1), (1, 1, 1), (99, 1, 1), (1, 1, 1))) == [[0, 10], [20, 30], [40]]
    assert grouped(sizes((500, 1, 1), (1, 1, 1))) == [[0], [10]], "larger than a segment may be now"
    assert grouped([]) == []


def test_indexes_have_to_fit_as_well() -> None:
    assert grouped(sizes((1, 30, 1), (1, 20, 1), (1, 1, 1))) == [[0, 10], [20]]
    assert grouped(sizes((1, 1, 30), (1, 1, 20), (1, 1, 1))) == [[0, 10], [20]]


def test_offsets_have_to_be_within_an_int_of_the_first() -> None:
    far = 2**31 - 1
    two = [SegmentSizes(0, 1, 1, 1), SegmentSizes(far - 5, 1, 1, 1)]
    assert grouped(two, end=far + 1) == [[0, far - 5]]
    assert grouped(two, end=far + 2) == [[0], [far - 5]]
    three = [*two, SegmentSizes(far + 1, 1, 1, 1)]
    assert grouped(three, end=far + 50) == [[0, far - 5], [far + 1]]
    empty = [SegmentSizes(0, 1, 1, 1), SegmentSizes(far + 9, 0, 0, 0)]
    assert grouped(empty, end=far + 50) == [[0, far + 9]], "an empty segment goes anywhere"
