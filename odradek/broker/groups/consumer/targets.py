"""A group's next target: what its assignor makes of members and topics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.broker.coordinator.result import CoordinatorRecord
from odradek.broker.groups.consumer.assignors import Assignor
from odradek.broker.groups.consumer.assignors.spec import AssignmentSpec, MemberSpec
from odradek.broker.groups.consumer.group import NEVER_ASSIGNED_MS, ConsumerGroup
from odradek.broker.groups.consumer.member import NO_TARGET, ConsumerMember, Target
from odradek.broker.groups.consumer.records import assignment_epoch_record, target_record
from odradek.metadata.image import TopicsImage
from odradek.wire.uuids import Uuid


class TargetOf(NamedTuple):
    """The target of one member, and its epoch."""

    epoch: int
    target: Target


def topic_ids(group: ConsumerGroup, member: ConsumerMember, topics: TopicsImage) -> dict[Uuid, int]:
    """The existing topics that a member reads, by name or by expression, with their numbers of partitions."""
    names = dict.fromkeys(member.topic_names)
    resolved = group.regexes.get(member.topic_regex) if member.topic_regex else None
    if resolved is not None:
        names.update(dict.fromkeys(resolved.topics))
    images = (topics.by_name.get(name) for name in names)
    return {image.id: len(image.partitions) for image in images if image is not None}


def is_due(group: ConsumerGroup, interval_ms: int, now_ms: int) -> bool:
    """Whether enough time has passed since the last target; also where that seems to be yet to come.

    It was noted by the clock of whichever node was coordinator, which may be ahead of ours, or have been set back.
    """
    last_ms = group.head.assignment_timestamp_ms
    return last_ms == NEVER_ASSIGNED_MS or not last_ms <= now_ms < last_ms + interval_ms


def next_targets(
    group: ConsumerGroup, updated: ConsumerMember, epoch: int, assign: Assignor, topics: TopicsImage, now_ms: int
) -> tuple[list[CoordinatorRecord], TargetOf]:
    """Records of the group's targets for `epoch`, in which `updated` is one of its members, and that one's own."""
    members, targets = _with_member(group, updated)
    partitions: dict[Uuid, int] = {}
    specs: dict[str, MemberSpec] = {}
    for member in members.values():
        reads = topic_ids(group, member, topics)
        partitions.update(reads)
        specs[member.member_id] = MemberSpec(
            member.instance_id, tuple(reads), targets.get(member.member_id) or NO_TARGET
        )
    assignment = assign(AssignmentSpec(specs, partitions))
    records = [
        target_record(group.group_id, member_id, assignment[member_id])
        for member_id in specs
        if targets.get(member_id) != assignment[member_id]
    ]
    records.append(assignment_epoch_record(group.group_id, epoch, now_ms))
    return records, TargetOf(epoch, assignment[updated.member_id])


def _with_member(
    group: ConsumerGroup, updated: ConsumerMember
) -> tuple[Mapping[str, ConsumerMember], Mapping[str, Target]]:
    """Members and targets once `updated` has taken its place, or that of whoever has its instance id."""
    members = dict(group.members.items())
    targets = dict(group.targets.items())
    replaced = group.static_member(updated.instance_id)
    if replaced is not None and replaced.member_id != updated.member_id:
        del members[replaced.member_id]
        target = targets.pop(replaced.member_id, None)
        if target is not None:
            targets[updated.member_id] = target
    members[updated.member_id] = updated
    return members, targets
