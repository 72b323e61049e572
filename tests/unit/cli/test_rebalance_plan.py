"""Which replicas move to where, so that brokers have alike many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odradek.cli.rebalance_plan import Assignment, Change, Load, loads, plan

NO_RACKS: dict[int, str | None] = {1: None, 2: None, 3: None}


def after(assignments: Sequence[Assignment], changes: Sequence[Change]) -> list[Assignment]:
    changed = {change.before: change.replicas for change in changes}
    return [each._replace(replicas=changed.get(each, each.replicas)) for each in assignments]


def moves(changes: Sequence[Change]) -> int:
    return sum(len(change.added) for change in changes)


def topic(name: str, *replicas: tuple[int, ...]) -> list[Assignment]:
    return [Assignment(name, index, each) for index, each in enumerate(replicas)]


def test_nothing_moves_where_all_have_alike_many() -> None:
    assert plan(topic("a", (1, 2), (2, 3), (3, 1)), NO_RACKS) == []
    assert plan([], NO_RACKS) == []


def test_a_new_broker_takes_its_share_and_no_more() -> None:
    assignments = topic("a", *[(1, 2), (2, 1)] * 6)
    changes = plan(assignments, NO_RACKS)
    assert moves(changes) == 8
    assert loads(after(assignments, changes), [1, 2, 3]) == {broker: Load(8, 4) for broker in (1, 2, 3)}


def test_a_drained_broker_keeps_nothing_and_the_others_share_it() -> None:
    assignments = topic("a", *[(1, 2, 3), (2, 3, 4), (3, 4, 1), (4, 1, 2)] * 3)
    changes = plan(assignments, {**NO_RACKS, 4: None}, drained=(4,))
    assert loads(after(assignments, changes), [1, 2, 3, 4]) == {**dict.fromkeys((1, 2, 3), Load(12, 4)), 4: Load(0, 0)}
    assert moves(changes) == 9


def test_a_broker_that_is_down_can_be_drained() -> None:
    changes = plan(topic("a", (1, 9), (2, 9)), NO_RACKS, drained=(9,))
    assert {9} & {broker for change in changes for broker in change.replicas} == set()
    assert moves(changes) == 2


def test_what_is_drained_goes_to_another_rack_where_that_can_be() -> None:
    racks = {1: "x", 2: "y", 3: "y", 4: "x"}
    (change,) = plan(topic("a", (1, 2)), racks, drained=(2,))
    assert change.replicas == (1, 3)
    (change,) = plan(topic("a", (1, 2)), {1: "x", 2: "y", 3: "x", 4: "y", 5: None}, drained=(2,))
    assert change.replicas == (1, 4)
    (change,) = plan(topic("a", (1, 2)), {1: "x", 2: "y", 4: "x"}, drained=(2,))
    assert change.replicas == (1, 4)


def test_too_few_brokers_remain() -> None:
    with pytest.raises(ValueError, match=r"^a-0 has 2 replicas, and 1 brokers remain$"):
        plan(topic("a", (1, 2)), {1: None, 2: None}, drained=(2,))


def test_every_topic_gives_some() -> None:
    assignments = [*topic("a", *[(1,)] * 4), *topic("b", *[(1,)] * 4)]
    changes = plan(assignments, {1: None, 2: None})
    assert Counter(change.before.topic for change in changes) == {"a": 2, "b": 2}


def test_leaders_change_without_a_copy() -> None:
    assignments = topic("a", (1, 2, 3), (1, 2, 3), (1, 3, 2))
    changes = plan(assignments, NO_RACKS)
    assert moves(changes) == 0
    assert {load.leaders for load in loads(after(assignments, changes), [1, 2, 3]).values()} == {1}


def test_leadership_is_passed_along_where_brokers_share_no_partition() -> None:
    racks: dict[int, str | None] = {1: None, 2: None, 3: None}
    assignments = topic("a", (1, 2), (1, 2), (1, 2), (2, 3), (2, 3), (3, 1))[:5]
    leaders = [load.leaders for load in loads(after(assignments, plan(assignments, racks)), [1, 2, 3]).values()]
    assert max(leaders) - min(leaders) <= 1


def test_racks_are_kept_and_missing_ones_added() -> None:
    racks: dict[int, str | None] = {1: "x", 2: "x", 3: "y"}
    (change,) = plan(topic("a", (1, 2)), racks)
    assert len(change.added) == 1
    assert 3 in change.replicas
    # Broker 3 has the most, and is the only one of its rack.
    kept = topic("a", (1, 3), (2, 3), (1, 3), (2, 3))
    assert moves(plan(kept, racks)) == 0


def test_a_replica_on_a_broker_that_is_away_stays() -> None:
    assignments = topic("a", (9, 1), (9, 1), (9, 1), (9, 1))
    changes = plan(assignments, {1: None, 2: None})
    assert all(9 in change.replicas for change in changes)
    assert loads(after(assignments, changes), [1, 2]) == {1: Load(2, 0), 2: Load(2, 0)}


@pytest.mark.parametrize("brokers", [1, 2, 5])
def test_a_cluster_that_all_partitions_crowd_is_emptied_evenly(brokers: int) -> None:
    racks: dict[int, str | None] = dict.fromkeys(range(1, brokers + 1))
    assignments = topic("a", *[(1,)] * 20)
    changes = plan(assignments, racks)
    assert moves(changes) == 20 - 20 // brokers
    assert set(loads(after(assignments, changes), list(racks)).values()) == {Load(20 // brokers, 20 // brokers)}


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[Assignment], Mapping[int, str | None]]:
    brokers = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
    has_racks = draw(st.booleans())
    racks = {broker: draw(st.sampled_from("xyz")) if has_racks else None for broker in brokers}
    away = [20, 21]
    replicas = st.lists(st.sampled_from([*brokers, *away]), min_size=1, max_size=4, unique=True)
    names = draw(st.lists(st.tuples(st.sampled_from("abc"), replicas), max_size=30))
    seen: Counter[str] = Counter()
    assignments = []
    for name, each in names:
        assignments.append(Assignment(name, seen[name], tuple(each)))
        seen[name] += 1
    return assignments, racks


@settings(max_examples=60)
@given(clusters())
def test_whatever_the_cluster_a_plan_keeps_what_it_must(
    cluster: tuple[list[Assignment], Mapping[int, str | None]],
) -> None:
    assignments, racks = cluster
    changes = plan(assignments, racks)
    final = after(assignments, changes)
    for before, now in zip(assignments, final, strict=True):
        assert len(now.replicas) == len(set(now.replicas)) == len(before.replicas)
        assert set(now.replicas) - set(before.replicas) <= set(racks)
        assert set(before.replicas) - set(racks) == set(now.replicas) - set(racks)
        assert rack_count(now, racks) >= rack_count(before, racks)
    # Planning again finds nothing to do.
    assert plan(final, racks) == []
    if all(rack is None for rack in racks.values()) and not any(set(each.replicas) - set(racks) for each in final):
        held = loads(final, list(racks))
        assert max(load.replicas for load in held.values()) - min(load.replicas for load in held.values()) <= 1
        if len({len(each.replicas) for each in final}) == 1:
            assert max(load.leaders for load in held.values()) - min(load.leaders for load in held.values()) <= 1


def rack_count(assignment: Assignment, racks: Mapping[int, str | None]) -> int:
    return len({racks.get(broker) for broker in assignment.replicas} - {None})
