"""Whatever producers do, the log says what the state is, and markers say what the log has decided."""

from __future__ import annotations

import random

import pytest

from odradek.broker.transactions.shard import Outcome
from odradek.broker.transactions.state import PREPARED, TransactionState
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.persistent.transaction.transaction_log import TransactionLogValue
from tests.unit.broker.transactions.scene import SHARD, TransactionScene

NAMES = ("a", "b", "c")
STEPS = 120


class Producers:
    """Producers of three transactional ids, and of zombies of them, that do what chance says."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.scene = TransactionScene(transaction_version=self.chance.choice((0, 1, 2)))
        self.known: dict[str, list[tuple[int, int]]] = {name: [] for name in NAMES}

    def step(self) -> None:
        act = self.chance.choice((self.init, self.add, self.add, self.end, self.end, self.disturb, self.wait))
        act(self.chance.choice(NAMES))
        if self.chance.random() < 0.8:
            self.scene.settle()

    def init(self, name: str) -> None:
        expected = self.chance.choice([None, *self.known[name][-3:]])
        self.learn(name, self.scene.init(expected, name=name, timeout_ms=30_000))

    def add(self, name: str) -> None:
        if self.known[name]:
            producer = self.chance.choice(self.known[name][-2:])
            self.scene.add(producer, self.chance.randrange(3), version=self.protocol(), name=name)

    def end(self, name: str) -> None:
        if self.known[name]:
            producer = self.chance.choice(self.known[name][-2:])
            commit = self.chance.random() < 0.5
            self.learn(name, self.scene.end(producer, commit=commit, version=self.protocol(), name=name))

    def disturb(self, _name: str) -> None:
        """Partitions and the network come and go."""
        code = self.chance.choice((ErrorCode.NONE, ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.REQUEST_TIMED_OUT))
        self.scene.brokers.codes[TopicPartition("t", self.chance.randrange(3))] = code
        self.scene.brokers.is_reachable = self.chance.random() < 0.8

    def wait(self, _name: str) -> None:
        self.scene.world.advance(self.chance.choice((10, 200, 15_000)))

    def protocol(self) -> int:
        return self.chance.choice((0, 2)) if self.scene.coordinator.server_version else 0

    def learn(self, name: str, outcome: Outcome | ErrorCode) -> None:
        if isinstance(outcome, Outcome) and outcome.producer.producer_id >= 0:
            self.known[name].append((outcome.producer.producer_id, outcome.producer.producer_epoch))


def decisions(values: list[TransactionLogValue]) -> dict[tuple[int, int], list[bool]]:
    """By producer and epoch of the markers: what the log has decided, in its order."""
    found: dict[tuple[int, int], list[bool]] = {}
    for value in values:
        if value.transaction_status in PREPARED:
            is_commit = value.transaction_status == TransactionState.PREPARE_COMMIT
            found.setdefault((value.producer_id, value.producer_epoch), []).append(is_commit)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_the_log_is_the_state(seed: int) -> None:
    producers = Producers(seed)
    scene = producers.scene
    for _ in range(STEPS):
        producers.step()
        assert {name: scene.state(name) for name in NAMES if scene.state(name)} == scene.replayed()
    assert scene.records()
    for count in range(0, len(scene.log.batches[SHARD]) + 1, 7):
        cut = TransactionScene(
            scene.log.prefix(SHARD, count), leader_epoch=1, transaction_version=scene.coordinator.server_version
        )
        replayed = cut.replayed()
        assert {name: cut.state(name) for name in NAMES if cut.state(name)} == replayed
        assert not any(metadata.is_prepared for metadata in replayed.values()), "what was decided is complete"


@pytest.mark.parametrize("seed", range(30))
def test_markers_say_what_was_decided(seed: int) -> None:
    producers = Producers(1000 + seed)
    for _ in range(STEPS):
        producers.step()
    scene = producers.scene
    scene.brokers.codes.clear()
    scene.brokers.is_reachable = True
    scene.world.advance(100_000)
    assert not any(metadata.state is TransactionState.ONGOING for metadata in scene.replayed().values())
    assert len(scene.coordinator.markers) == 0
    decided = decisions([value for _, value in scene.records() if value is not None])
    for marker, _ in scene.brokers.markers:
        assert marker.transaction_result in decided[marker.producer_id, marker.producer_epoch]
