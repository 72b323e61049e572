"""Assignors: every partition once, to one who reads the topic; even, and sticky where they promise it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.broker.groups.consumer.assignors import ASSIGNORS, assignor_name
from odradek.broker.groups.consumer.assignors.spec import Assignment, AssignmentSpec, MemberSpec
from odradek.broker.groups.consumer.member import Target
from odradek.wire.uuids import Uuid

NOTHING: Target = {}


def topic(index: int) -> Uuid:
    return index.to_bytes(16, "big")


def spec_of(
    partitions: list[int], subscriptions: list[list[int]], held: Assignment | None = None, static: int = 0
) -> AssignmentSpec:
    """Topics by number with their partitions; for each member the topics that it reads."""
    targets = held or {}
    members = {
        f"m{index:03}": MemberSpec(
            f"i{index:03}" if index < static else None,
            tuple(topic(number) for number in numbers),
            targets.get(f"m{index:03}", NOTHING),
        )
        for index, numbers in enumerate(subscriptions)
    }
    read = dict.fromkeys(number for numbers in subscriptions for number in numbers)
    return AssignmentSpec(members, {topic(number): partitions[number] for number in read})


@st.composite
def specs(draw: st.DrawFn, *, same_topics: bool | None = None) -> AssignmentSpec:
    """Any group, with any targets that it may have had: of other topics, and partitions that are gone."""
    partitions = draw(st.lists(st.integers(0, 12), min_size=1, max_size=5))
    count = draw(st.integers(1, 8))
    numbers = st.lists(st.integers(0, len(partitions) - 1), unique=True, min_size=1)
    if same_topics or (same_topics is None and draw(st.booleans())):
        subscriptions = [draw(numbers)] * count
    else:
        subscriptions = [draw(numbers) for _ in range(count)]
    owners = draw(st.lists(st.integers(-1, count + 1), min_size=14 * len(partitions), max_size=14 * len(partitions)))
    held: dict[str, dict[Uuid, tuple[int, ...]]] = {}
    for place, owner in enumerate(owners):
        if 0 <= owner < count:
            found = held.setdefault(f"m{owner:03}", {})
            found[topic(place // 14)] = (*found.get(topic(place // 14), ()), place % 14)
    return spec_of(partitions, subscriptions, dict(held), static=draw(st.integers(0, count)))


def loads(assignment: Assignment) -> dict[str, int]:
    return {member_id: sum(map(len, target.values())) for member_id, target in assignment.items()}


@pytest.mark.parametrize("name", ASSIGNORS)
@given(data=st.data())
def test_every_partition_goes_to_one_subscriber(name: str, data: st.DataObject) -> None:
    spec = data.draw(specs())
    assignment = ASSIGNORS[name](spec)
    assert set(assignment) == set(spec.members)
    given_out = [
        (topic_id, index)
        for member_id, target in assignment.items()
        for topic_id, indexes in target.items()
        for index in indexes
        if topic_id in spec.members[member_id].topics
    ]
    expected = [(topic_id, index) for topic_id, count in spec.partitions.items() for index in range(count)]
    assert sorted(given_out) == sorted(expected)
    assert all(
        indexes == tuple(sorted(indexes)) and indexes for target in assignment.values() for indexes in target.values()
    )


@given(specs(same_topics=True))
def test_uniform_is_even_and_moves_no_more_than_that_takes(spec: AssignmentSpec) -> None:
    assignment = ASSIGNORS["uniform"](spec)
    counts = loads(assignment)
    assert max(counts.values()) - min(counts.values()) <= 1
    # What is moved away from members is what they had above their shares.
    share, extra = divmod(sum(spec.partitions.values()), len(spec.members))
    lost, above = 0, []
    for member_id, member in spec.members.items():
        valid = {
            (topic_id, index)
            for topic_id, indexes in member.target.items()
            for index in indexes
            if index < spec.partitions.get(topic_id, 0)
        }
        kept = {(topic_id, index) for topic_id, indexes in assignment[member_id].items() for index in indexes} & valid
        lost += len(valid) - len(kept)
        above.append(max(0, len(valid) - share))
    assert lost == sum(above) - min(extra, sum(count > 0 for count in above))


@given(specs(), st.sampled_from(sorted(ASSIGNORS)))
def test_an_assignment_is_kept_once_it_is_there(spec: AssignmentSpec, name: str) -> None:
    once = ASSIGNORS[name](spec)
    members = {name_: member._replace(target=once[name_]) for name_, member in spec.members.items()}
    assert ASSIGNORS[name](spec._replace(members=members)) == once


@given(specs(same_topics=False))
def test_uniform_leaves_nobody_behind_who_could_take_over(spec: AssignmentSpec) -> None:
    """No partition could go to another subscriber of its topic and make loads more even."""
    assignment = ASSIGNORS["uniform"](spec)
    counts = loads(assignment)
    for member_id, target in assignment.items():
        for topic_id in target:
            least = min(counts[other] for other, member in spec.members.items() if topic_id in member.topics)
            assert counts[member_id] - least <= 1


def test_uniform_keeps_what_it_can_among_members_with_different_topics() -> None:
    held: Assignment = {"m000": {topic(0): (1, 3)}, "m001": {topic(0): (0, 2)}}
    spec = spec_of([4, 2], [[0], [0, 1], [1]], held)
    assignment = ASSIGNORS["uniform"](spec)
    assert assignment == {**held, "m002": {topic(1): (0, 1)}}


def test_range_goes_by_instance_id_and_then_by_member_id() -> None:
    spec = spec_of([5, 3], [[0, 1], [0, 1], [0]], static=0)
    members = {**spec.members, "zzz": MemberSpec("first", (topic(0), topic(1)), NOTHING)}
    assignment = ASSIGNORS["range"](spec._replace(members=members))
    assert assignment["zzz"] == {topic(0): (0, 1), topic(1): (0,)}
    assert assignment["m000"] == {topic(0): (2,), topic(1): (1,)}
    assert assignment["m001"] == {topic(0): (3,), topic(1): (2,)}
    assert assignment["m002"] == {topic(0): (4,)}


def test_a_topic_with_few_partitions_is_given_to_the_first_ones() -> None:
    assignment = ASSIGNORS["range"](spec_of([1], [[0], [0]]))
    assert assignment == {"m000": {topic(0): (0,)}, "m001": {}}


def test_assignors_have_the_names_of_kafkas_classes_too() -> None:
    assert assignor_name("org.apache.kafka.coordinator.group.assignor.RangeAssignor") == "range"
    assert assignor_name("uniform") == "uniform"
    assert assignor_name("mine") is None
