"""Where new partitions go: spread over racks and brokers, leaders in turn, unfenced brokers first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from odradek.metadata.image import BrokerRegistration
from odradek.ports import Random
from odradek.wire.errors import ErrorCode, KafkaError

T = TypeVar("T")


def place(brokers: Iterable[BrokerRegistration], partitions: int, replicas: int, random: Random) -> list[list[int]]:
    """The broker ids of each of `partitions` new partitions, the preferred leader first.

    Raises INVALID_REPLICATION_FACTOR if there are too few brokers, or none that is unfenced.
    """
    usable = [broker for broker in brokers if _is_usable(broker)]
    _check(usable, replicas)
    if len(usable) == 1:
        return [[usable[0].id] for _ in range(partitions)]
    racks = _Racks(usable, random)
    return [racks.next_assignment(replicas) for _ in range(partitions)]


def _is_usable(broker: BrokerRegistration) -> bool:
    """A broker that is about to go gets nothing; one that is gone, and fenced, may come back."""
    return broker.takes_replicas and (broker.fenced or not broker.in_controlled_shutdown)


def _check(usable: list[BrokerRegistration], replicas: int) -> None:
    if replicas <= 0:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Invalid replication factor {replicas}: the replication factor must be positive.",
        )
    if all(broker.fenced for broker in usable):
        raise KafkaError(ErrorCode.INVALID_REPLICATION_FACTOR, "All brokers are currently fenced.")
    if replicas > len(usable):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"The target replication factor of {replicas} cannot be reached because only "
            f"{len(usable)} broker(s) are registered or some brokers have all their log directories cordoned.",
        )


class _Racks:
    """Brokers by rack; each assignment begins with the next rack, and in each with the next broker."""

    def __init__(self, brokers: list[BrokerRegistration], random: Random) -> None:
        self._random = random
        by_rack: dict[str | None, list[BrokerRegistration]] = {}
        for broker in sorted(brokers, key=lambda each: (each.rack is not None, each.rack or "", each.id)):
            by_rack.setdefault(broker.rack, []).append(broker)
        self._racks = [_Rack(members, random) for members in by_rack.values()]
        self._unfenced = sum(not broker.fenced for broker in brokers)
        self._turn = random.below(len(self._racks))
        self._round = 0

    def next_assignment(self, replicas: int) -> list[int]:
        """One leader from the rack whose turn it is, then one replica from each rack, round and round."""
        if self._round == self._unfenced > 1:
            _shuffle(self._racks, self._random)
            for rack in self._racks:
                rack.shuffle(self._random)
            self._round = 0
        turned = self._racks[self._turn :] + self._racks[: self._turn]
        self._turn = (self._turn + 1) % len(self._racks)
        leaders = ((index, rack.unfenced.next(self._round)) for index, rack in enumerate(turned))
        skipped, leader = next((index, found) for index, found in leaders if found is not None)
        chosen = [leader]
        while len(chosen) < replicas:
            for index, rack in enumerate(turned):
                if index == skipped:
                    skipped = -1  # it has given the leader in this round
                elif len(chosen) < replicas:
                    found = rack.next(self._round)
                    if found is not None:
                        chosen.append(found)
        self._round += 1
        return chosen


class _Rack:
    def __init__(self, brokers: list[BrokerRegistration], random: Random) -> None:
        self.unfenced = _Brokers([broker.id for broker in brokers if not broker.fenced], random)
        self._fenced = _Brokers([broker.id for broker in brokers if broker.fenced], random)

    def shuffle(self, random: Random) -> None:
        self._fenced.shuffle(random)
        self.unfenced.shuffle(random)

    def next(self, assignment: int) -> int | None:
        """The next broker for an assignment, an unfenced one if there is one left; None if all are taken."""
        found = self.unfenced.next(assignment)
        return self._fenced.next(assignment) if found is None else found


class _Brokers:
    """Broker ids in turn; each assignment that asks begins one further than the last one that did."""

    def __init__(self, ids: list[int], random: Random) -> None:
        self._ids = ids
        self._start = random.below(len(ids)) if ids else 0
        self._taken = 0
        self._assignment = 0

    def shuffle(self, random: Random) -> None:
        _shuffle(self._ids, random)

    def next(self, assignment: int) -> int | None:
        if not self._ids:
            return None
        if assignment != self._assignment:
            self._assignment = assignment
            self._taken = 0
            self._start = (self._start + 1) % len(self._ids)
        if self._taken == len(self._ids):
            return None
        self._taken += 1
        return self._ids[(self._start + self._taken - 1) % len(self._ids)]


def _shuffle(items: list[T], random: Random) -> None:
    for last in range(len(items) - 1, 0, -1):
        other = random.below(last + 1)
        items[last], items[other] = items[other], items[last]
