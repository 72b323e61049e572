"""Where a follower's log is cut when it has parted from its leader's."""

from __future__ import annotations

import pytest

from odradek.broker.replication.truncation import offset_to_keep
from odradek.storage.log import Log
from tests.unit.storage.support import Disk, batch


def follower(*epochs: tuple[int, int]) -> Log:
    """A log with so many records in each epoch: (epoch, count)."""
    log = Disk().log
    for epoch, count in epochs:
        for _ in range(count):
            log.append_as_leader(batch(b"x"), leader_epoch=epoch, now_ms=0)
    return log


@pytest.mark.parametrize(
    ("leader_epoch", "leader_end", "kept"),
    [
        # The leader's epoch ends before ours, or behind it.
        (2, 7, 7),
        (2, 50, 10),
        # The leader knows an earlier epoch only: up to where either of them ended it.
        (1, 5, 5),
        (1, 3, 3),
        (1, 9, 5),
        # An epoch that is not here: to the end of the one before, as the leader has nothing of ours behind that.
        (0, 2, 2),
        (0, 1, 1),
    ],
)
def test_a_log_keeps_what_the_leader_has_in_the_same_epoch(leader_epoch: int, leader_end: int, kept: int) -> None:
    log = follower((0, 2), (1, 3), (2, 5))
    assert offset_to_keep(log, leader_epoch, leader_end) == kept


def test_an_epoch_between_those_of_the_log_cuts_it_to_the_end_of_the_one_before() -> None:
    log = follower((1, 3), (4, 3))
    assert offset_to_keep(log, 2, 5) == 3


def test_an_epoch_before_all_of_the_log_cuts_it_where_the_leader_ends_it() -> None:
    log = follower((3, 4))
    assert offset_to_keep(log, 1, 2) == 0
    assert offset_to_keep(Disk().log, 1, 2) == 0
