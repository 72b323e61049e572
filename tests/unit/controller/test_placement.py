"""Where new partitions go (KIP-36, KIP-455's default placer)."""

from __future__ import annotations

import pytest

from odradek.controller.placement import place
from odradek.metadata.image import BrokerRegistration
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.fakes import FakeWorld

SEEDS = range(20)


def broker(
    broker_id: int, rack: str | None = None, *, fenced: bool = False, leaving: bool = False, cordoned: bool = False
) -> BrokerRegistration:
    directory = bytes([broker_id]) * 16
    return BrokerRegistration(
        id=broker_id,
        epoch=1,
        incarnation_id=bytes(16),
        endpoints={},
        features={},
        rack=rack,
        fenced=fenced,
        in_controlled_shutdown=leaving,
        directories=(directory,),
        cordoned_directories=(directory,) if cordoned else (),
    )


def counts(ids: list[int]) -> dict[int, int]:
    return {each: ids.count(each) for each in sorted(set(ids))}


@pytest.mark.parametrize("seed", SEEDS)
def test_as_many_partitions_as_brokers_are_led_and_held_by_each_alike(seed: int) -> None:
    brokers = [broker(broker_id) for broker_id in (1, 2, 3, 4)]
    placed = place(brokers, 4, 3, FakeWorld(seed))
    assert counts([replicas[0] for replicas in placed]) == dict.fromkeys((1, 2, 3, 4), 1)
    assert counts([each for replicas in placed for each in replicas]) == dict.fromkeys((1, 2, 3, 4), 3)
    ring = [1, 2, 3, 4, 1, 2, 3]
    assert all(ring[replicas[0] - 1 :][:3] == replicas for replicas in placed)


@pytest.mark.parametrize("seed", SEEDS)
def test_single_replicas_in_several_racks_are_spread_over_all_brokers(seed: int) -> None:
    brokers = [broker(1, "a"), broker(2, "a"), broker(3, "b"), broker(4, "b")]
    placed = place(brokers, 4, 1, FakeWorld(seed))
    assert counts([replicas[0] for replicas in placed]) == dict.fromkeys((1, 2, 3, 4), 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_rack_has_two_replicas_while_another_has_none(seed: int) -> None:
    racks = {1: None, 2: None, 3: "a", 4: "b", 5: "b", 6: "b"}
    brokers = [broker(broker_id, rack) for broker_id, rack in racks.items()]
    for replicas in place(brokers, 30, 3, FakeWorld(seed)):
        assert len({racks[each] for each in replicas}) == 3
    for replicas in place(brokers, 30, 5, FakeWorld(seed)):
        assert len(set(replicas)) == 5
        assert 3 in replicas


@pytest.mark.parametrize("seed", SEEDS)
def test_unfenced_brokers_come_first_and_fenced_ones_never_lead(seed: int) -> None:
    brokers = [
        broker(1),
        broker(2, fenced=True),
        broker(3),
        broker(4, fenced=True),
        broker(5, fenced=True, leaving=True),
    ]
    for replicas in place(brokers, 20, 3, FakeWorld(seed)):
        assert sorted(replicas[:2]) == [1, 3]
        assert replicas[2] in (2, 4, 5)


def test_brokers_that_are_leaving_or_cordoned_get_nothing() -> None:
    brokers = [broker(1), broker(2), broker(3, leaving=True), broker(4, cordoned=True)]
    assert {each for replicas in place(brokers, 9, 2, FakeWorld()) for each in replicas} == {1, 2}
    with pytest.raises(KafkaError) as refused:
        place(brokers, 1, 3, FakeWorld())
    assert refused.value.code is ErrorCode.INVALID_REPLICATION_FACTOR


@pytest.mark.parametrize(
    ("brokers", "replicas", "message"),
    [
        ([broker(1)], 0, "Invalid replication factor 0: the replication factor must be positive."),
        ([broker(1, fenced=True)], 1, "All brokers are currently fenced."),
        ([], 1, "All brokers are currently fenced."),
        (
            [broker(1)],
            2,
            "The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some "
            "brokers have all their log directories cordoned.",
        ),
    ],
)
def test_what_cannot_be_placed(brokers: list[BrokerRegistration], replicas: int, message: str) -> None:
    with pytest.raises(KafkaError) as refused:
        place(brokers, 1, replicas, FakeWorld())
    assert (refused.value.code, refused.value.message) == (ErrorCode.INVALID_REPLICATION_FACTOR, message)


def test_chance_decides_where_it_begins() -> None:
    brokers = [broker(broker_id) for broker_id in (1, 2, 3)]
    assert {place(brokers, 1, 1, FakeWorld(seed))[0][0] for seed in SEEDS} == {1, 2, 3}
