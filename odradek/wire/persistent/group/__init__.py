"""Keys and values of __consumer_offsets, by their type."""

from __future__ import annotations

from odradek.wire.persistent.registry import Registry

KEYS: Registry = Registry(
    "odradek.wire.persistent.group",
    {
        0: ("legacy_offset_commit", "LegacyOffsetCommitKey"),
        1: ("offset_commit", "OffsetCommitKey"),
        2: ("group_metadata", "GroupMetadataKey"),
        3: ("consumer_group_metadata", "ConsumerGroupMetadataKey"),
        4: ("consumer_group_partition_metadata", "ConsumerGroupPartitionMetadataKey"),
        5: ("consumer_group_member_metadata", "ConsumerGroupMemberMetadataKey"),
        6: ("consumer_group_target_assignment_metadata", "ConsumerGroupTargetAssignmentMetadataKey"),
        7: ("consumer_group_target_assignment_member", "ConsumerGroupTargetAssignmentMemberKey"),
        8: ("consumer_group_current_member_assignment", "ConsumerGroupCurrentMemberAssignmentKey"),
        10: ("share_group_member_metadata", "ShareGroupMemberMetadataKey"),
        11: ("share_group_metadata", "ShareGroupMetadataKey"),
        12: ("share_group_target_assignment_metadata", "ShareGroupTargetAssignmentMetadataKey"),
        13: ("share_group_target_assignment_member", "ShareGroupTargetAssignmentMemberKey"),
        14: ("share_group_current_member_assignment", "ShareGroupCurrentMemberAssignmentKey"),
        15: ("share_group_state_partition_metadata", "ShareGroupStatePartitionMetadataKey"),
        16: ("consumer_group_regular_expression", "ConsumerGroupRegularExpressionKey"),
        17: ("streams_group_metadata", "StreamsGroupMetadataKey"),
        19: ("streams_group_member_metadata", "StreamsGroupMemberMetadataKey"),
        20: ("streams_group_target_assignment_metadata", "StreamsGroupTargetAssignmentMetadataKey"),
        21: ("streams_group_target_assignment_member", "StreamsGroupTargetAssignmentMemberKey"),
        22: ("streams_group_current_member_assignment", "StreamsGroupCurrentMemberAssignmentKey"),
        23: ("streams_group_topology", "StreamsGroupTopologyKey"),
    },
)
key_class = KEYS.record_class
VALUES: Registry = Registry(
    "odradek.wire.persistent.group",
    {
        0: ("legacy_offset_commit", "LegacyOffsetCommitValue"),
        1: ("offset_commit", "OffsetCommitValue"),
        2: ("group_metadata", "GroupMetadataValue"),
        3: ("consumer_group_metadata", "ConsumerGroupMetadataValue"),
        4: ("consumer_group_partition_metadata", "ConsumerGroupPartitionMetadataValue"),
        5: ("consumer_group_member_metadata", "ConsumerGroupMemberMetadataValue"),
        6: ("consumer_group_target_assignment_metadata", "ConsumerGroupTargetAssignmentMetadataValue"),
        7: ("consumer_group_target_assignment_member", "ConsumerGroupTargetAssignmentMemberValue"),
        8: ("consumer_group_current_member_assignment", "ConsumerGroupCurrentMemberAssignmentValue"),
        10: ("share_group_member_metadata", "ShareGroupMemberMetadataValue"),
        11: ("share_group_metadata", "ShareGroupMetadataValue"),
        12: ("share_group_target_assignment_metadata", "ShareGroupTargetAssignmentMetadataValue"),
        13: ("share_group_target_assignment_member", "ShareGroupTargetAssignmentMemberValue"),
        14: ("share_group_current_member_assignment", "ShareGroupCurrentMemberAssignmentValue"),
        15: ("share_group_state_partition_metadata", "ShareGroupStatePartitionMetadataValue"),
        16: ("consumer_group_regular_expression", "ConsumerGroupRegularExpressionValue"),
        17: ("streams_group_metadata", "StreamsGroupMetadataValue"),
        19: ("streams_group_member_metadata", "StreamsGroupMemberMetadataValue"),
        20: ("streams_group_target_assignment_metadata", "StreamsGroupTargetAssignmentMetadataValue"),
        21: ("streams_group_target_assignment_member", "StreamsGroupTargetAssignmentMemberValue"),
        22: ("streams_group_current_member_assignment", "StreamsGroupCurrentMemberAssignmentValue"),
        23: ("streams_group_topology", "StreamsGroupTopologyValue"),
    },
)
value_class = VALUES.record_class

__all__ = ["KEYS", "key_class", "VALUES", "value_class"]
