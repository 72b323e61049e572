"""Incremental fetch sessions (KIP-227)."""

from __future__ import annotations

import pytest

from odradek.broker.fetch.session import FetchPlan, SessionCache
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, PartitionData
from tests.unit.fakes import FakeWorld

EVICTION_MS = 120_000


def cache(world: FakeWorld | None = None, slots: int = 10) -> SessionCache:
    world = world or FakeWorld()
    return SessionCache(world, world, slots=slots, eviction_ms=EVICTION_MS)


def request(session_id: int, epoch: int, *partitions: int, forget: tuple[int, ...] = ()) -> FetchRequest:
    return FetchRequest(
        session_id=session_id,
        session_epoch=epoch,
        topics=[
            FetchTopic(
                topic="t", partitions=[FetchPartition(partition=index, partition_max_bytes=100) for index in partitions]
            )
        ]
        if partitions
        else [],
        forgotten_topics_data=[ForgottenTopic(topic="t", partitions=list(forget))] if forget else [],
    )


def answer(plan: FetchPlan, **high_watermarks: int) -> list[int]:
    """Answer with the given high watermarks (`p0=5`, else 0) and return which partitions are told."""
    responses = [
        (
            fetched,
            PartitionData(
                partition_index=fetched.key[1],
                high_watermark=high_watermarks.get(f"p{fetched.key[1]}", 0),
                log_start_offset=0,
                records=b"",
            ),
        )
        for fetched in plan.partitions
    ]
    return [response.partition_index for _fetched, response in plan.select(responses)]


def opened(sessions: SessionCache, *partitions: int, version: int = 12) -> FetchPlan:
    plan = sessions.plan(request(0, 0, *partitions), version)
    answer(plan)
    return plan


def fails(sessions: SessionCache, asked: FetchRequest, version: int = 12) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        sessions.plan(asked, version)
    return caught.value.code


def test_a_fetch_without_a_session_is_answered_whole() -> None:
    sessions = cache()
    plan = sessions.plan(request(0, -1, 0, 1), 12)
    assert (plan.session_id, answer(plan)) == (0, [0, 1])
    assert len(sessions) == 0


def test_an_incremental_fetch_is_told_only_what_is_new() -> None:
    sessions = cache()
    first = opened(sessions, 0, 1, 2)
    assert first.session_id != 0
    second = sessions.plan(request(first.session_id, 1), 12)
    assert [fetched.key[1] for fetched in second.partitions] == [0, 1, 2]
    assert answer(second, p1=7) == [1]
    third = sessions.plan(request(first.session_id, 2), 12)
    assert answer(third, p1=7) == []


def test_partitions_are_added_changed_and_forgotten() -> None:
    sessions = cache()
    session_id = opened(sessions, 0, 1).session_id
    plan = sessions.plan(request(session_id, 1, 2, forget=(0,)), 12)
    assert [fetched.key[1] for fetched in plan.partitions] == [1, 2]
    assert answer(plan) == [2]


def test_a_partition_asked_again_keeps_what_it_was_told() -> None:
    sessions = cache()
    session_id = opened(sessions, 0, 1).session_id
    assert answer(sessions.plan(request(session_id, 1, 0), 12)) == []


def test_a_session_without_partitions_ends() -> None:
    sessions = cache()
    session_id = opened(sessions, 0).session_id
    assert sessions.plan(request(session_id, 1, forget=(0,)), 12).session_id == 0
    assert len(sessions) == 0


def test_an_error_is_told_until_it_is_gone_and_its_end_is_news() -> None:
    sessions = cache()
    session_id = opened(sessions, 0).session_id
    for epoch in (1, 2):
        plan = sessions.plan(request(session_id, epoch), 12)
        failed = PartitionData(partition_index=0, error_code=3, high_watermark=-1, records=b"")
        assert len(plan.select([(plan.partitions[0], failed)])) == 1
    assert answer(sessions.plan(request(session_id, 3), 12)) == [0]


def test_a_partition_with_data_is_read_last_next_time_once_the_session_is_known() -> None:
    sessions = cache()
    plan = sessions.plan(request(0, 0, 0, 1, 2), 12)
    session_id = plan.session_id
    orders = []
    for epoch in (1, 2):
        plan.select(
            [
                (fetched, PartitionData(partition_index=fetched.key[1], records=b"x" if fetched.key[1] == 0 else b""))
                for fetched in plan.partitions
            ]
        )
        plan = sessions.plan(request(session_id, epoch), 12)
        orders.append([fetched.key[1] for fetched in plan.partitions])
    assert orders == [[0, 1, 2], [1, 2, 0]]


def test_what_does_not_belong_to_a_session_is_refused() -> None:
    sessions = cache()
    session_id = opened(sessions, 0).session_id
    assert fails(sessions, request(session_id + 1, 1)) is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert fails(sessions, request(session_id, 2)) is ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert fails(sessions, request(session_id, 1), version=13) is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


def test_the_final_epoch_closes_and_epoch_zero_replaces_the_session() -> None:
    sessions = cache()
    session_id = opened(sessions, 0).session_id
    replaced = sessions.plan(request(session_id, 0, 0), 12)
    assert replaced.session_id not in (0, session_id)
    assert len(sessions) == 1
    assert sessions.plan(request(replaced.session_id, -1, 0), 12).session_id == 0
    assert len(sessions) == 0


def test_a_full_cache_keeps_busy_sessions_and_evicts_idle_ones() -> None:
    world = FakeWorld()
    sessions = cache(world, slots=1)
    session_id = opened(sessions, 0).session_id
    assert opened(sessions, 0).session_id == 0
    world.advance(EVICTION_MS)
    assert opened(sessions, 0).session_id == 0
    world.advance(1)
    assert opened(sessions, 0).session_id != 0
    assert fails(sessions, request(session_id, 1)) is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert sessions.evictions == 1


def test_a_larger_session_replaces_an_old_smaller_one_that_is_in_use() -> None:
    world = FakeWorld()
    sessions = cache(world, slots=1)
    session_id = opened(sessions, 0).session_id
    world.advance(EVICTION_MS)
    answer(sessions.plan(request(session_id, 1), 12))
    world.advance(1)
    assert opened(sessions, 0).session_id == 0
    assert opened(sessions, 0, 1).session_id != 0


def test_sessions_remember_a_limited_number_of_partitions() -> None:
    world = FakeWorld()
    sessions = SessionCache(world, world, slots=10, eviction_ms=EVICTION_MS, max_partitions=5)
    first = opened(sessions, 0, 1)
    second = opened(sessions, 0, 1, 2)
    assert (first.session_id > 0, second.session_id > 0) == (True, True)
    third = opened(sessions, 7)
    assert (third.session_id, [fetched.key for fetched in third.partitions]) == (0, [("t", 7)])
    sessions.plan(request(first.session_id, 1, 0, forget=(1,)), 12)
    assert opened(sessions, 7).session_id > 0
    grown = request(second.session_id, 1, 3)
    assert fails(sessions, grown) is ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert (len(sessions), sessions.partition_count) == (2, 2)
    sessions.plan(request(first.session_id, -1), 12)
    assert sessions.partition_count == 1
