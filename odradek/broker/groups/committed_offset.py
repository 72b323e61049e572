"""What a group committed for one partition."""

from __future__ import annotations

from typing import NamedTuple

from odradek.wire.persistent.group.offset_commit import OffsetCommitValue
from odradek.wire.uuids import ZERO_UUID, Uuid

NO_OFFSET = -1
NO_LEADER_EPOCH = -1
NO_TIMESTAMP = -1


class CommittedOffset(NamedTuple):
    """An offset with the client's metadata; `record_offset` is where it stands in the log, -1 before it does."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int | None
    """Set where the client asked for a retention of its own (OffsetCommit up to version 4)."""
    topic_id: Uuid
    record_offset: int = -1

    def is_of(self, topic_id: Uuid) -> bool:
        """Whether it was committed for this incarnation of the topic, as far as both sides know the id."""
        return ZERO_UUID in (topic_id, self.topic_id) or topic_id == self.topic_id


def from_record(value: OffsetCommitValue, record_offset: int) -> CommittedOffset:
    """The offset in a record of the log."""
    return CommittedOffset(
        offset=value.offset,
        leader_epoch=value.leader_epoch,
        metadata=value.metadata,
        commit_timestamp_ms=value.commit_timestamp,
        expire_timestamp_ms=None if value.expire_timestamp == NO_TIMESTAMP else value.expire_timestamp,
        topic_id=value.topic_id,
        record_offset=record_offset,
    )
