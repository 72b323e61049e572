"""The uniform assignor for members that read different topics."""

from __future__ import annotations

from heapq import heapify, heapreplace

from odradek.broker.groups.consumer.assignors.spec import Assignment, AssignmentSpec
from odradek.wire.uuids import Uuid

_MAX_ROUNDS = 16
"""How often all topics are gone through to even out; two are nearly always enough."""


def assign_heterogeneous(spec: AssignmentSpec) -> Assignment:
    """Everyone keeps what they read; the rest goes to the least loaded; then partitions move until loads are even."""
    balancer = _Balancer(spec)
    balancer.keep()
    balancer.assign_free()
    balancer.even_out()
    return balancer.result()


class _Balancer:
    def __init__(self, spec: AssignmentSpec) -> None:
        self._spec = spec
        self._loads = dict.fromkeys(spec.members, 0)
        subscribers: dict[Uuid, list[str]] = {}
        for member_id, member in spec.members.items():
            for topic_id in member.topics:
                subscribers.setdefault(topic_id, []).append(member_id)
        self._subscribers = {topic_id: subscribers[topic_id] for topic_id in self._hardest_first(subscribers)}
        self._owners: dict[Uuid, list[str | None]] = {
            topic_id: [None] * spec.partitions[topic_id] for topic_id in self._subscribers
        }

    def keep(self) -> None:
        """Everyone has what they had of topics that they still read."""
        for member_id, member in self._spec.members.items():
            for topic_id in member.topics:
                owners = self._owners[topic_id]
                for index in member.target.get(topic_id, ()):
                    if index < len(owners) and owners[index] is None:
                        self._give(topic_id, index, member_id)

    def assign_free(self) -> None:
        """What nobody has goes to the least loaded who read it."""
        for topic_id, members in self._subscribers.items():
            free = [index for index, owner in enumerate(self._owners[topic_id]) if owner is None]
            if not free:
                continue
            queue = [(self._loads[member_id], place) for place, member_id in enumerate(members)]
            heapify(queue)
            for index in free:
                load, place = queue[0]
                self._give(topic_id, index, members[place])
                heapreplace(queue, (load + 1, place))

    def even_out(self) -> None:
        """Move partitions from the most to the least loaded, topic by topic, until no topic gains by it."""
        for _ in range(_MAX_ROUNDS):
            moved = [self._even_out(topic_id) for topic_id, members in self._subscribers.items() if len(members) > 1]
            if not any(moved):
                return

    def result(self) -> Assignment:
        """What everyone has now."""
        assignment: dict[str, dict[Uuid, tuple[int, ...]]] = {member_id: {} for member_id in self._spec.members}
        for topic_id, owners in self._owners.items():
            held: dict[str, list[int]] = {}
            for index, owner in enumerate(owners):
                if owner is not None:
                    held.setdefault(owner, []).append(index)
            for member_id, indexes in held.items():
                assignment[member_id][topic_id] = tuple(indexes)
        return dict(assignment)

    def _even_out(self, topic_id: Uuid) -> bool:
        held: dict[str, list[int]] = {}
        for index, owner in enumerate(self._owners[topic_id]):
            if owner is not None:
                held.setdefault(owner, []).append(index)
        members = self._subscribers[topic_id]
        poorest = [(self._loads[member_id], place) for place, member_id in enumerate(members)]
        richest = [(-self._loads[member_id], place) for place, member_id in enumerate(members) if member_id in held]
        heapify(poorest)
        heapify(richest)
        moved = False
        while richest:
            most, giver_place = richest[0]
            giver, giver_load = members[giver_place], -most
            load, taker_place = poorest[0]
            if load != self._loads[members[taker_place]]:
                heapreplace(poorest, (self._loads[members[taker_place]], taker_place))
                continue
            if giver_load - load <= 1:
                break
            index = held[giver].pop()
            self._loads[giver] -= 1
            self._give(topic_id, index, members[taker_place])
            heapreplace(poorest, (load + 1, taker_place))
            if held[giver]:
                heapreplace(richest, (-(giver_load - 1), giver_place))
            else:
                richest = richest[1:]
                heapify(richest)
            moved = True
        return moved

    def _give(self, topic_id: Uuid, index: int, member_id: str) -> None:
        self._owners[topic_id][index] = member_id
        self._loads[member_id] += 1

    def _hardest_first(self, subscribers: dict[Uuid, list[str]]) -> list[Uuid]:
        """Topics with most partitions per subscriber, then with fewest subscribers, then by id."""

        def difficulty(topic_id: Uuid) -> tuple[float, int, Uuid]:
            count = len(subscribers[topic_id])
            return (-self._spec.partitions[topic_id] / count, count, topic_id)

        return sorted(subscribers, key=difficulty)
