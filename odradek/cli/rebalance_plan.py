"""Which replicas to move so that brokers hold alike many, and lead alike many: no more than it takes. Pure.

A reassignment costs a copy for each replica that a broker did not have; the order of replicas, of which the first is
the preferred leader, costs nothing. So replicas move first, one after the other from the fullest broker to the
emptiest, and then leadership is passed along within the replicas that there are.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple


class Assignment(NamedTuple):
    """A partition's replicas, the preferred leader first."""

    topic: str
    partition: int
    replicas: tuple[int, ...]


class Change(NamedTuple):
    """What is to become of a partition."""

    before: Assignment
    replicas: tuple[int, ...]

    @property
    def added(self) -> tuple[int, ...]:
        """The brokers that have to copy the partition."""
        return tuple(broker for broker in self.replicas if broker not in self.before.replicas)


def plan(
    assignments: Sequence[Assignment], racks: Mapping[int, str | None], drained: Collection[int] = ()
) -> list[Change]:
    """The partitions that change, in the order of topics; `racks` is of the brokers that take replicas.

    No partition gets another number of replicas, nor fewer racks than it has unless a broker is drained. Replicas on
    brokers that are not in `racks`, which may be down for a moment, stay where they are; those that are `drained`, be
    they there or not, keep none. Raises ValueError for a partition that needs more brokers than remain.
    """
    work = _Work(sorted(assignments), {broker: rack for broker, rack in racks.items() if broker not in drained})
    work.drain(drained)
    work.spread_over_racks()
    work.balance_replicas()
    work.balance_leaders()
    return [
        Change(before, tuple(replicas))
        for before, replicas in zip(work.assignments, work.replicas, strict=True)
        if before.replicas != tuple(replicas)
    ]


class Load(NamedTuple):
    """What a broker has."""

    replicas: int
    leaders: int


def loads(assignments: Sequence[Assignment], brokers: Iterator[int] | Sequence[int]) -> dict[int, Load]:
    """What each broker has, as preferred leaders go."""
    replicas = Counter(broker for each in assignments for broker in each.replicas)
    leaders = Counter(each.replicas[0] for each in assignments if each.replicas)
    return {broker: Load(replicas[broker], leaders[broker]) for broker in brokers}


class _Work:
    """The assignment as it changes, and what brokers have under it."""

    def __init__(self, assignments: Sequence[Assignment], racks: Mapping[int, str | None]) -> None:
        self.assignments = assignments
        self.replicas = [list(each.replicas) for each in assignments]
        self._racks = racks
        self._brokers = sorted(racks)
        self._count = Counter(dict.fromkeys(self._brokers, 0))
        self._of_topic: Counter[tuple[str, int]] = Counter()
        self._held: dict[int, dict[int, None]] = {broker: {} for broker in self._brokers}
        for index, each in enumerate(assignments):
            for broker in each.replicas:
                self._note(index, broker, 1)

    def _note(self, index: int, broker: int, change: int) -> None:
        if broker not in self._racks:
            return
        self._count[broker] += change
        self._of_topic[self.assignments[index].topic, broker] += change
        if change > 0:
            self._held[broker][index] = None
        else:
            del self._held[broker][index]

    def _move(self, index: int, source: int, target: int) -> None:
        replicas = self.replicas[index]
        replicas[replicas.index(source)] = target
        self._note(index, source, -1)
        self._note(index, target, 1)

    def drain(self, drained: Collection[int]) -> None:
        """Move what these brokers have, to other racks than the partition has already where that can be."""
        for index, replicas in enumerate(self.replicas):
            for source in [broker for broker in replicas if broker in drained]:
                topic, partition, _replicas = self.assignments[index]
                racks = {self._rack(broker) for broker in replicas if broker != source} - {None}
                others = [broker for broker in self._brokers if broker not in replicas]
                if not others:
                    raise ValueError(
                        f"{topic}-{partition} has {len(replicas)} replicas, and {len(self._brokers)} brokers remain"
                    )
                target = min(others, key=lambda each: (self._rack(each) in racks, self._count[each], each))
                self._move(index, source, target)

    # Racks

    def _rack(self, broker: int) -> str | None:
        return self._racks.get(broker)

    def _rack_count(self, replicas: Sequence[int]) -> int:
        return len({rack for rack in map(self._rack, replicas) if rack is not None})

    def spread_over_racks(self) -> None:
        """Where every broker has a rack: give each partition as many racks as it has replicas, or as there are."""
        if not self._racks or any(rack is None for rack in self._racks.values()):
            return
        racks = len(set(self._racks.values()))
        for index, replicas in enumerate(self.replicas):
            while self._rack_count(replicas) < min(len(replicas), racks):
                if not self._add_a_rack(index):
                    break

    def _add_a_rack(self, index: int) -> bool:
        """Move a replica out of a rack that has two; whether that could be."""
        replicas = self.replicas[index]
        per_rack = Counter(map(self._rack, replicas))
        crowded = [each for each in replicas if each in self._racks and per_rack[self._rack(each)] > 1]
        others = [broker for broker in self._brokers if per_rack[self._rack(broker)] == 0]
        if not crowded or not others:
            return False
        source = max(crowded, key=lambda broker: (self._count[broker], broker))
        target = min(others, key=lambda broker: (self._count[broker], broker))
        self._move(index, source, target)
        return True

    # Replicas

    def balance_replicas(self) -> None:
        """Until no replica can go to a broker that has at least two fewer."""
        while self._move_one():
            pass

    def _move_one(self) -> bool:
        fullest = sorted(self._brokers, key=lambda broker: (-self._count[broker], broker))
        for source in fullest:
            for target in reversed(fullest):
                if self._count[source] - self._count[target] < 2:
                    break
                index = self._choose(source, target)
                if index is not None:
                    self._move(index, source, target)
                    return True
        return False

    def _choose(self, source: int, target: int) -> int | None:
        """The partition of `source` whose move helps its topic most."""
        best: int | None = None
        best_gain = 0
        for index in self._held[source]:
            replicas = self.replicas[index]
            if target in replicas:
                continue
            moved = [target if broker == source else broker for broker in replicas]
            if self._rack_count(moved) < self._rack_count(replicas):
                continue
            topic = self.assignments[index].topic
            gain = self._of_topic[topic, source] - self._of_topic[topic, target]
            if best is None or gain > best_gain:
                best, best_gain = index, gain
        return best

    # Leaders

    def balance_leaders(self) -> None:
        """Pass leadership along, over several partitions where need be, until no broker leads two more than another."""
        led: dict[int, dict[int, None]] = {broker: {} for broker in self._brokers}
        for index, replicas in enumerate(self.replicas):
            if replicas and replicas[0] in led:
                led[replicas[0]][index] = None
        while True:
            path = self._path(led)
            if path is None:
                return
            for index, source, target in path:
                replicas = self.replicas[index]
                at = replicas.index(target)
                replicas[0], replicas[at] = replicas[at], replicas[0]
                del led[source][index]
                led[target][index] = None

    def _path(self, led: Mapping[int, Mapping[int, None]]) -> list[tuple[int, int, int]] | None:
        """(partition, from, to) of the shortest way from a broker that leads most to one that leads two fewer."""
        for source in sorted(self._brokers, key=lambda broker: (-len(led[broker]), broker)):
            came: dict[int, tuple[int, int]] = {}
            queue = deque([source])
            while queue:
                broker = queue.popleft()
                if len(led[source]) - len(led[broker]) >= 2:
                    return _steps(came, source, broker)
                for index in led[broker]:
                    for other in self.replicas[index][1:]:
                        if other in led and other != source and other not in came:
                            came[other] = (index, broker)
                            queue.append(other)
        return None


def _steps(came: Mapping[int, tuple[int, int]], source: int, target: int) -> list[tuple[int, int, int]]:
    steps = []
    while target != source:
        index, before = came[target]
        steps.append((index, before, target))
        target = before
    return steps
