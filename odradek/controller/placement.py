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
    """Brokers by rack, in a random order that is turned by one for each assignment."""

    def __init__(self, brokers: list[BrokerRegistration], random: Random) -> None:
        self._random = random
        by_rack: dict[str, list[BrokerRegistration]] = {}
        for broker in sorted(brokers, key=lambda each: (each.rack or "", each.id)):
            by_rack.setdefault(broker.rack or "", []).append(broker)
        self._racks = [_Rack(members, random) for members in by_rack.values()]
        self._unfenced = sum(not broker.fenced for broker in brokers)
        self._turn = random.below(len(self._racks))
        self._since_shuffle = 0

    def next_assignment(self, replicas: int) -> list[int]:
        """One leader from the rack whose turn it is, then one replica from each rack, round and round."""
        if self._since_shuffle == self._unfenced > 1:
            _shuffle(self._racks, self._random)
            for rack in self._racks:
                rack.shuffle(self._random)
            self._since_shuffle = 0
        turned = self._racks[self._turn :] + self._racks[: self._turn]
        self._turn = (self._turn + 1) % len(self._racks)
        self._since_shuffle += 1
        left = [rack.turned() for rack in turned]
        first = next(index for index, (unfenced, _fenced) in enumerate(left) if unfenced)
        chosen = [left[first][0].pop(0)]
        skipped = first
        while len(chosen) < replicas:
            for index, (unfenced, fenced) in enumerate(left):
                if index == skipped:
                    skipped = -1  # it has given the leader in this round
                elif (unfenced or fenced) and len(chosen) < replicas:
                    chosen.append((unfenced or fenced).pop(0))
        return chosen


class _Rack:
    def __init__(self, brokers: list[BrokerRegistration], random: Random) -> None:
        self._unfenced = [broker.id for broker in brokers if not broker.fenced]
        self._fenced = [broker.id for broker in brokers if broker.fenced]
        self._turn = 0
        self.shuffle(random)

    def shuffle(self, random: Random) -> None:
        _shuffle(self._unfenced, random)
        _shuffle(self._fenced, random)

    def turned(self) -> tuple[list[int], list[int]]:
        """(unfenced, fenced) broker ids, each time beginning with the next one."""
        turn = self._turn
        self._turn += 1
        return _from(self._unfenced, turn), _from(self._fenced, turn)


def _from(items: list[int], turn: int) -> list[int]:
    start = turn % len(items) if items else 0
    return items[start:] + items[:start]


def _shuffle(items: list[T], random: Random) -> None:
    for last in range(len(items) - 1, 0, -1):
        other = random.below(last + 1)
        items[last], items[other] = items[other], items[last]
