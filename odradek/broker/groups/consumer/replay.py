"""Records of consumer groups, applied to the groups."""

from __future__ import annotations

from odradek.broker.coordinator.result import CoordinatorRecord
from odradek.broker.groups.consumer.group import NEVER_ASSIGNED_MS, NO_EPOCH, ConsumerGroup, without_partitions
from odradek.broker.groups.consumer.member import ConsumerMember
from odradek.broker.groups.consumer.records import assignment_of_record, member_of_record, target_of_record
from odradek.broker.groups.consumer.subscriptions import ResolvedRegex
from odradek.wire.persistent.group.consumer_group_current_member_assignment import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
)
from odradek.wire.persistent.group.consumer_group_member_metadata import (
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
)
from odradek.wire.persistent.group.consumer_group_metadata import ConsumerGroupMetadataKey, ConsumerGroupMetadataValue
from odradek.wire.persistent.group.consumer_group_partition_metadata import ConsumerGroupPartitionMetadataKey
from odradek.wire.persistent.group.consumer_group_regular_expression import (
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
)
from odradek.wire.persistent.group.consumer_group_target_assignment_member import (
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
)
from odradek.wire.persistent.group.consumer_group_target_assignment_metadata import (
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
)
from odradek.wire.schema import Message

ConsumerGroupKey = (
    ConsumerGroupMetadataKey
    | ConsumerGroupPartitionMetadataKey
    | ConsumerGroupMemberMetadataKey
    | ConsumerGroupTargetAssignmentMetadataKey
    | ConsumerGroupTargetAssignmentMemberKey
    | ConsumerGroupCurrentMemberAssignmentKey
    | ConsumerGroupRegularExpressionKey
)
"""The keys that belong to consumer groups; all but the first and the second tell of a part of one."""


def is_group_tombstone(record: CoordinatorRecord) -> bool:
    """Whether the record removes its whole group."""
    return record.value is None and isinstance(record.key, ConsumerGroupMetadataKey)


def replay(group: ConsumerGroup, key: ConsumerGroupKey, value: Message | None) -> None:
    """Apply one record, other than the tombstone of a whole group, to its group."""
    match key:
        case ConsumerGroupMetadataKey():
            assert isinstance(value, ConsumerGroupMetadataValue)
            group.replay_epoch(value.epoch, value.metadata_hash)
        case ConsumerGroupPartitionMetadataKey():
            group.has_partition_metadata = value is not None
        case ConsumerGroupMemberMetadataKey():
            _replay_member(group, key.member_id, value)
        case ConsumerGroupTargetAssignmentMetadataKey():
            if isinstance(value, ConsumerGroupTargetAssignmentMetadataValue):
                group.replay_assignment_epoch(value.assignment_epoch, value.assignment_timestamp)
            else:
                group.replay_assignment_epoch(NO_EPOCH, NEVER_ASSIGNED_MS)
        case ConsumerGroupTargetAssignmentMemberKey():
            target = None
            if isinstance(value, ConsumerGroupTargetAssignmentMemberValue):
                target = target_of_record(value)
            group.replay_target(key.member_id, target)
        case ConsumerGroupCurrentMemberAssignmentKey():
            _replay_assignment(group, key.member_id, value)
        case ConsumerGroupRegularExpressionKey():
            resolved = None
            if isinstance(value, ConsumerGroupRegularExpressionValue):
                resolved = ResolvedRegex(tuple(sorted(value.topics)), value.version, value.timestamp)
            group.replay_regex(key.regular_expression, resolved)


def _replay_member(group: ConsumerGroup, member_id: str, value: Message | None) -> None:
    if isinstance(value, ConsumerGroupMemberMetadataValue):
        old = group.members.get(member_id) or ConsumerMember(member_id)
        group.replay_member(member_of_record(old, value))
    else:
        group.replay_member_gone(member_id)


def _replay_assignment(group: ConsumerGroup, member_id: str, value: Message | None) -> None:
    old = group.members.get(member_id)
    if isinstance(value, ConsumerGroupCurrentMemberAssignmentValue):
        group.replay_member(assignment_of_record(old or ConsumerMember(member_id), value))
    elif old is not None:
        group.replay_member(without_partitions(old))
