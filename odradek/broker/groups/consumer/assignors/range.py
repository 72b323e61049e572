"""The range assignor: of each topic, every member gets one range, so that equal partitions of topics go together."""

from __future__ import annotations

from odradek.broker.groups.consumer.assignors.spec import Assignment, AssignmentSpec, MemberSpec
from odradek.wire.uuids import Uuid


def assign_ranges(spec: AssignmentSpec) -> Assignment:
    """Static members come first, by instance id, then the others, by member id: who stays keeps its ranges."""
    order = sorted(spec.members, key=lambda member_id: _place(member_id, spec.members[member_id]))
    subscribers: dict[Uuid, list[str]] = {}
    for member_id in order:
        for topic_id in spec.members[member_id].topics:
            subscribers.setdefault(topic_id, []).append(member_id)
    assignment: dict[str, dict[Uuid, tuple[int, ...]]] = {member_id: {} for member_id in order}
    for topic_id, member_ids in subscribers.items():
        share, larger = divmod(spec.partitions[topic_id], len(member_ids))
        begin = 0
        for place, member_id in enumerate(member_ids):
            end = begin + share + (place < larger)
            if end > begin:
                assignment[member_id][topic_id] = tuple(range(begin, end))
            begin = end
    return dict(assignment)


def _place(member_id: str, member: MemberSpec) -> tuple[bool, str]:
    return (member.instance_id is None, member_id if member.instance_id is None else member.instance_id)
