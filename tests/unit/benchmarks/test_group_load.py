from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.group_load import SCENARIOS, GroupResult, run
from benchmarks.groups import FIGURES, SIDES, Figures, comparisons
from benchmarks.members import ClassicMember, Fleet, Group, MemberFailed
from benchmarks.workloads.groups import as_tool_result
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from tests.support.odradek import Odradek
from tests.support.requests import connect, create_topic

INTERVAL_S = 0.05


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Odradek]:
    broker = Odradek(tmp_path, {"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "1"})
    broker.start()
    yield broker
    broker.close()


def load(broker: Odradek, name: str, **changes: object) -> GroupResult:
    scenario = replace(SCENARIOS[name], interval_s=INTERVAL_S, steady_s=4 * INTERVAL_S, **changes)  # type: ignore[arg-type]  # fields of the scenario
    return asyncio.run(run(scenario, "classic", broker.host, broker.port))


@pytest.mark.parametrize(
    ("name", "groups", "members", "partitions", "replaced"), [("many", 4, 2, 3, 1), ("large", 1, 6, 7, 3)]
)
def test_every_replacement_ends_in_a_settled_group(
    broker: Odradek, name: str, groups: int, members: int, partitions: int, replaced: int
) -> None:
    result = load(broker, name, groups=groups, members=members, partitions=partitions, steps=4, replaced=replaced)
    assert result.heartbeats >= 4 * groups * members
    assert 0 < result.steady_p50_ms <= result.steady_p99_ms
    assert 0 < result.rebalance_p50_s <= result.rebalance_p99_s <= result.restart_s
    assert result.answered_p50_s is not None
    assert result.answered_p50_s <= result.rebalance_p50_s


def test_a_topic_that_is_named_is_used(broker: Odradek) -> None:
    with connect(broker) as connection:
        create_topic(connection, "mine", 3)
    scenario = replace(
        SCENARIOS["hundred"], members=3, partitions=3, interval_s=INTERVAL_S, steady_s=INTERVAL_S, steps=2
    )
    result = asyncio.run(run(scenario, "classic", broker.host, broker.port, "mine"))
    with connect(broker) as connection:
        topics = connection.call(MetadataRequest(topics=None), MetadataResponse).topics
    assert {topic.name for topic in topics} == {"mine", "__consumer_offsets"}
    found = as_tool_result(result, scenario)
    assert found.records == 3 * 3
    assert found.records_per_s == pytest.approx(9 / (result.formed_s + result.restart_s))
    assert found.p99_ms == result.rebalance_p99_s * 1000


def test_a_member_that_is_refused_ends_the_run(broker: Odradek) -> None:
    broker.overrides["group.max.size"] = "2"
    broker.restart()
    with pytest.raises(MemberFailed, match="GROUP_MAX_SIZE_REACHED"):
        load(broker, "large", members=3, partitions=3)


def test_a_group_has_settled_when_all_have_heard_of_the_latest_generation_and_have_their_share() -> None:
    async def settle() -> list[bool]:
        group = Group("g", partitions=3)
        fleet = Fleet("", 0, "t", 1.0)
        group.members = [ClassicMember(fleet, group) for _ in range(2)]
        settled = group.rebalance()
        found = []

        def hear(member: int, generation: int, *partitions: int) -> None:
            heard = group.members[member]
            heard.generation, heard.assigned, heard.settled = generation, partitions, True
            group.review(heard)
            found.append(settled.done())

        hear(0, 1, 0)
        hear(1, 2, 1, 2)
        hear(0, 2)
        hear(1, 2, 0, 1, 2)
        hear(0, 2, 0)
        hear(1, 2, 1, 2)
        fleet.failure.cancel()
        return found

    assert asyncio.run(settle()) == [False, False, False, False, False, True]


def test_figures_are_compared_round_by_round() -> None:
    run_of: Figures = dict.fromkeys(FIGURES, 1.0)
    found = comparisons({SIDES[0].key: [run_of], SIDES[1].key: [{**run_of, "formed_s": 4.0, "answered_p50_s": None}]})
    assert found["formed_s"].ratio is not None
    assert found["formed_s"].ratio.median == 0.25
    assert found["answered_p50_s"].ratio is None
