"""What a leader concludes from a follower's fetches."""

from __future__ import annotations

import pytest

from odradek.broker.replication.followers import FollowerProgress
from odradek.wire.errors import ErrorCode, KafkaError

LAG_MS = 1_000
EPOCH = 7


def fetch(follower: FollowerProgress, offset: int, now_ms: float, leader_end: int, epoch: int = EPOCH) -> None:
    follower.fetched(offset, 0, now_ms, leader_end, epoch, EPOCH)


def test_whoever_reads_up_to_the_leaders_end_is_caught_up_then() -> None:
    follower = FollowerProgress(2)
    fetch(follower, 10, 5_000, 10)
    assert follower.is_caught_up(20, 5_000 + LAG_MS, LAG_MS)
    assert not follower.is_caught_up(20, 5_001 + LAG_MS, LAG_MS)


def test_one_that_is_a_batch_behind_all_the_time_keeps_up_as_of_its_fetch_before() -> None:
    follower = FollowerProgress(2)
    for step in range(10):
        fetch(follower, step, 10_000 + step * 100, step + 1)
    assert follower.last_caught_up_ms == 10_000 + 8 * 100


def test_one_that_stands_still_falls_behind_though_it_fetches() -> None:
    follower = FollowerProgress(2)
    fetch(follower, 5, 0, 5)
    for step in range(1, 50):
        fetch(follower, 5, step * 100, 5 + step)
    assert not follower.is_caught_up(100, 5_000, LAG_MS)


def test_one_with_the_same_end_as_the_leader_is_caught_up_however_long_ago_it_fetched() -> None:
    follower = FollowerProgress(2)
    fetch(follower, 5, 0, 5)
    assert follower.is_caught_up(5, 1e9, LAG_MS)


@pytest.mark.parametrize(
    ("sent", "registered", "is_taken"), [(6, 7, False), (7, 7, True), (8, 7, True), (-1, 7, True), (6, None, True)]
)
def test_a_fetch_of_an_earlier_incarnation_does_not_count(sent: int, registered: int | None, is_taken: bool) -> None:
    follower = FollowerProgress(2)
    if is_taken:
        follower.fetched(5, 0, 0, 5, sent, registered)
    else:
        with pytest.raises(KafkaError) as refusal:
            follower.fetched(5, 0, 0, 5, sent, registered)
        assert refusal.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (follower.log_end_offset == 5) is is_taken


def test_a_new_leader_knows_nothing_and_gives_those_in_sync_their_time() -> None:
    inside, outside = FollowerProgress(2), FollowerProgress(3)
    for follower, is_in_sync in ((inside, True), (outside, False)):
        fetch(follower, 10, 0, 10)
        follower.reset(60_000, 10, is_new_leader=True, is_in_sync=is_in_sync)
        assert (follower.log_end_offset, follower.broker_epoch) == (-1, None)
        assert follower.is_caught_up(10, 60_000 + LAG_MS, LAG_MS) is is_in_sync


def test_a_leader_that_is_elected_again_remembers_how_far_they_were() -> None:
    follower = FollowerProgress(2)
    fetch(follower, 10, 0, 12)
    follower.reset(60_000, 12, is_new_leader=False, is_in_sync=False)
    assert (follower.log_end_offset, follower.broker_epoch) == (10, EPOCH)
    assert not follower.is_caught_up(12, 60_000, LAG_MS)
