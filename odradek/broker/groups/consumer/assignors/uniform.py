"""The uniform assignor: as even as subscriptions allow, and everyone keeps what they can."""

from __future__ import annotations

from odradek.broker.groups.consumer.assignors.heterogeneous import assign_heterogeneous
from odradek.broker.groups.consumer.assignors.spec import Assignment, AssignmentSpec
from odradek.wire.uuids import Uuid


def assign_uniformly(spec: AssignmentSpec) -> Assignment:
    """Where all members read the same topics, nobody gets two partitions more than anyone else."""
    subscriptions = {frozenset(member.topics) for member in spec.members.values()}
    return _assign_homogeneous(spec) if len(subscriptions) <= 1 else assign_heterogeneous(spec)


def _assign_homogeneous(spec: AssignmentSpec) -> Assignment:
    if not spec.members:
        return {}
    kept, free = _valid_targets(spec)
    share, larger = divmod(sum(spec.partitions[topic_id] for topic_id in _topics(spec)), len(spec.members))
    # Those who have more than the smaller share already are the ones who may have the larger one.
    keepers = [member_id for member_id, held in kept.items() if len(held) > share][:larger]
    quotas = dict.fromkeys(spec.members, share)
    quotas.update(dict.fromkeys(keepers, share + 1))
    for member_id, held in kept.items():
        free += held[quotas[member_id] :]
        del held[quotas[member_id] :]
    others = [member_id for member_id in spec.members if quotas[member_id] == share]
    quotas.update(dict.fromkeys(others[: larger - len(keepers)], share + 1))
    position = 0
    for member_id, held in kept.items():
        missing = quotas[member_id] - len(held)
        held += free[position : position + missing]
        position += missing
    return {member_id: by_topic(held) for member_id, held in kept.items()}


def _topics(spec: AssignmentSpec) -> tuple[Uuid, ...]:
    return next(iter(spec.members.values())).topics


def _valid_targets(spec: AssignmentSpec) -> tuple[dict[str, list[tuple[Uuid, int]]], list[tuple[Uuid, int]]]:
    """What members have of the topics that they read, and what nobody has."""
    free = {(topic_id, index): None for topic_id in _topics(spec) for index in range(spec.partitions[topic_id])}
    kept: dict[str, list[tuple[Uuid, int]]] = {}
    for member_id, member in spec.members.items():
        held = kept[member_id] = []
        for topic_id, indexes in member.target.items():
            for index in indexes:
                if (topic_id, index) in free:
                    del free[topic_id, index]
                    held.append((topic_id, index))
    return kept, list(free)


def by_topic(partitions: list[tuple[Uuid, int]]) -> dict[Uuid, tuple[int, ...]]:
    """Partitions as targets have them: by topic, in order."""
    found: dict[Uuid, list[int]] = {}
    for topic_id, index in partitions:
        found.setdefault(topic_id, []).append(index)
    return {topic_id: tuple(sorted(indexes)) for topic_id, indexes in found.items()}
