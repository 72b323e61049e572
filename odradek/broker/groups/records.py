"""The records of `__consumer_offsets` for classic groups and offsets, in the versions that 4.4.0 writes.

Those of consumer groups are in `consumer.records`.
"""

from __future__ import annotations

from collections.abc import Mapping

from odradek.broker.coordinator.batches import RecordCodec
from odradek.broker.coordinator.result import CoordinatorRecord
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.committed_offset import CommittedOffset
from odradek.wire.persistent.group import KEYS, VALUES
from odradek.wire.persistent.group.group_metadata import GroupMetadataKey, GroupMetadataValue, MemberMetadata
from odradek.wire.persistent.group.offset_commit import OffsetCommitKey, OffsetCommitValue
from odradek.wire.uuids import ZERO_UUID

GROUP_METADATA_VERSION = 3
OFFSET_WITH_EXPIRY_VERSION = 1
"""The only version with an expiry timestamp of its own, which OffsetCommit had up to version 4."""
OFFSET_VERSION = 3
OFFSET_WITH_TOPIC_ID_VERSION = 4

LEGACY_OFFSET_KEY = 0
OFFSET_KEY = 1
GROUP_KEY = 2
CONSUMER_GROUP_KEYS = (3, 4, 5, 6, 7, 8, 16)


def group_record_codec() -> RecordCodec:
    """Reads and writes the records that the group coordinator knows."""
    return RecordCodec(KEYS, VALUES, (LEGACY_OFFSET_KEY, OFFSET_KEY, GROUP_KEY, *CONSUMER_GROUP_KEYS))


def group_record(group: ClassicGroup, assignments: Mapping[str, bytes]) -> CoordinatorRecord:
    """A group with its members and their assignments."""
    members = [
        MemberMetadata(
            member_id=member.member_id,
            group_instance_id=member.group_instance_id,
            client_id=member.client_id,
            client_host=member.client_host,
            rebalance_timeout=member.rebalance_timeout_ms,
            session_timeout=member.session_timeout_ms,
            subscription=member.metadata(group.protocol),
            assignment=assignments[member.member_id],
        )
        for member in group.members.values()
    ]
    return _group_record(
        group.group_id,
        GroupMetadataValue(
            protocol_type=group.protocol_type or "",
            generation=group.generation,
            protocol=group.protocol,
            leader=group.leader,
            current_state_timestamp=_timestamp(group),
            members=members,
        ),
    )


def new_group_record(group: ClassicGroup) -> CoordinatorRecord:
    """A group that nobody has joined yet."""
    value = GroupMetadataValue(
        protocol_type="", generation=0, protocol=None, leader=None, current_state_timestamp=_timestamp(group)
    )
    return _group_record(group.group_id, value)


def group_tombstone(group_id: str) -> CoordinatorRecord:
    """The group is gone."""
    return _group_record(group_id, None)


def offset_record(group_id: str, topic: str, partition: int, committed: CommittedOffset) -> CoordinatorRecord:
    """A committed offset."""
    key = OffsetCommitKey(group=group_id, topic=topic, partition=partition)
    value = OffsetCommitValue(
        offset=committed.offset,
        leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        commit_timestamp=committed.commit_timestamp_ms,
    )
    if committed.expire_timestamp_ms is not None:
        value.expire_timestamp = committed.expire_timestamp_ms
        return CoordinatorRecord(key, value, OFFSET_WITH_EXPIRY_VERSION)
    if committed.topic_id == ZERO_UUID:
        return CoordinatorRecord(key, value, OFFSET_VERSION)
    value.topic_id = committed.topic_id
    return CoordinatorRecord(key, value, OFFSET_WITH_TOPIC_ID_VERSION)


def offset_tombstone(group_id: str, topic: str, partition: int) -> CoordinatorRecord:
    """The committed offset is gone."""
    return CoordinatorRecord(OffsetCommitKey(group=group_id, topic=topic, partition=partition), None)


def _group_record(group_id: str, value: GroupMetadataValue | None) -> CoordinatorRecord:
    return CoordinatorRecord(GroupMetadataKey(group=group_id), value, GROUP_METADATA_VERSION)


def _timestamp(group: ClassicGroup) -> int:
    return -1 if group.state_timestamp_ms is None else group.state_timestamp_ms
