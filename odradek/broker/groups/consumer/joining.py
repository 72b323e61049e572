"""What members of both protocols have in common when they join: room in the group, and the places of static members."""

from __future__ import annotations

import logging

from odradek.broker.coordinator.result import CoordinatorRecord
from odradek.broker.groups.consumer.group import ConsumerGroup
from odradek.broker.groups.consumer.member import ConsumerMember
from odradek.broker.groups.consumer.records import (
    assignment_record,
    member_record,
    member_tombstones,
    target_record,
)
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)


def check_room(group: ConsumerGroup, member_id: str, instance_id: str | None, max_size: int) -> None:
    """Raise GROUP_MAX_SIZE_REACHED for one who would be too many."""
    if instance_id in group.static_members or (member_id and member_id in group.members):
        return
    if len(group.members) >= max_size:
        raise KafkaError(
            ErrorCode.GROUP_MAX_SIZE_REACHED,
            f"The consumer group has reached its maximum capacity of {max_size} members.",
        )


def known_static(group: ConsumerGroup, instance_id: str) -> ConsumerMember:
    """The member with that instance id; raises UNKNOWN_MEMBER_ID."""
    member = group.static_member(instance_id)
    if member is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
    return member


def check_not_fenced(member: ConsumerMember, member_id: str, instance_id: str) -> None:
    """Raise FENCED_INSTANCE_ID for one whose place somebody else has taken."""
    if member.member_id != member_id:
        raise KafkaError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member {member.member_id}.",
        )


def replace_static(
    group: ConsumerGroup, present: ConsumerMember, member_id: str, records: list[CoordinatorRecord]
) -> ConsumerMember:
    """A member with the subscription, target and partitions of the one whose instance id it has."""
    group_id = group.group_id
    new = present._replace(member_id=member_id, epoch=0, previous_epoch=0)
    records += member_tombstones(group_id, present.member_id)
    records.append(member_record(group_id, new))
    records.append(target_record(group_id, member_id, group.target(present.member_id)))
    records.append(assignment_record(group_id, new))
    _log.info("group %s: static member %s takes the place of %s", group_id, member_id, present.member_id)
    return new
