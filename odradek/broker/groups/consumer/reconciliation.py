"""How a member gets from what it has to its target: it gives up first, and gets what nobody else still has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from odradek.broker.groups.consumer.member import NO_PARTITIONS, ConsumerMember, MemberState, Partitions, Target
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.uuids import Uuid

Owned = Mapping[Uuid, Sequence[int]]
"""The partitions that a member says it has."""


class Step(NamedTuple):
    """What decides on a member's next step."""

    target_epoch: int
    target: Target
    subscribed: Collection[Uuid]
    """The topics that the member reads: whatever the target says, it gets no others."""
    subscription_changed: bool
    owned: Owned | None
    """None where the member does not say, since nothing changed for it."""
    holding_epoch: Callable[[Uuid, int], int | None]
    """The epoch of whoever has a partition; None if it is free."""


def next_step(member: ConsumerMember, step: Step) -> ConsumerMember:
    """The member one step closer to its target, or as it is.

    Raises FENCED_MEMBER_EPOCH for a member in a state that a newer broker wrote, unless it has nothing.
    """
    match member.state:
        case MemberState.STABLE if member.epoch == step.target_epoch:
            return _after_subscription(member, step)
        case MemberState.UNREVOKED_PARTITIONS if _owns_any(step.owned, member.pending_revocation):
            return _after_subscription(member, step)
        case MemberState.UNKNOWN:
            if step.owned is None or step.owned:
                raise KafkaError(
                    ErrorCode.FENCED_MEMBER_EPOCH,
                    "The consumer group member is in a unknown state. The member must abandon all its partitions and "
                    "rejoin.",
                )
            return _towards_target(member, step, step.target_epoch)
        case _:
            return _towards_target(member, step, member.epoch)


def _towards_target(member: ConsumerMember, step: Step, epoch: int) -> ConsumerMember:
    """`epoch` is what the member stays in as long as it has something to give up."""
    kept: dict[Uuid, dict[int, int]] = {}
    leaving: dict[Uuid, dict[int, int]] = {}
    free: dict[Uuid, list[int]] = {}
    waits_for_others = False
    for topic_id in {**member.assigned, **step.target}:
        target = step.target.get(topic_id, ()) if topic_id in step.subscribed else ()
        wanted = dict.fromkeys(target)
        current = member.assigned.get(topic_id, {})
        _put(kept, topic_id, {index: current[index] for index in current if index in wanted})
        _put(leaving, topic_id, {index: current[index] for index in current if index not in wanted})
        for index in wanted:
            if index in current:
                continue
            if step.holding_epoch(topic_id, index) is None or index in member.pending_revocation.get(topic_id, {}):
                free.setdefault(topic_id, []).append(index)
            else:
                waits_for_others = True
    if leaving and _owns_any(step.owned, leaving):
        return member.in_epoch(epoch, MemberState.UNREVOKED_PARTITIONS, kept, leaving)
    for topic_id, indexes in free.items():
        kept.setdefault(topic_id, {}).update(dict.fromkeys(indexes, step.target_epoch))
    state = MemberState.UNRELEASED_PARTITIONS if waits_for_others else MemberState.STABLE
    return member.in_epoch(step.target_epoch, state, kept, NO_PARTITIONS)


def _after_subscription(member: ConsumerMember, step: Step) -> ConsumerMember:
    """Ahead of a new target, the member gives up topics that it no longer reads."""
    if not step.subscription_changed:
        return member
    gone = {topic_id: held for topic_id, held in member.assigned.items() if topic_id not in step.subscribed}
    if not gone:
        return member
    kept = {topic_id: held for topic_id, held in member.assigned.items() if topic_id in step.subscribed}
    leaving = {topic_id: dict(held) for topic_id, held in member.pending_revocation.items()}
    for topic_id, held in gone.items():
        leaving.setdefault(topic_id, {}).update(held)
    if _owns_any(step.owned, leaving):
        return member.in_epoch(member.epoch, MemberState.UNREVOKED_PARTITIONS, kept, leaving)
    return member.in_epoch(member.epoch, member.state, kept, member.pending_revocation)


def _owns_any(owned: Owned | None, partitions: Partitions) -> bool:
    """Whether the member still has one of `partitions`; one that does not say may have all of them."""
    if owned is None:
        return True
    return any(index in partitions.get(topic_id, {}) for topic_id, indexes in owned.items() for index in indexes)


def _put(into: dict[Uuid, dict[int, int]], topic_id: Uuid, partitions: dict[int, int]) -> None:
    if partitions:
        into[topic_id] = partitions
