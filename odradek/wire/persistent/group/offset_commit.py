"""OffsetCommit (type 1) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, STRING, UUID, Message, field
from odradek.wire.uuids import Uuid


class OffsetCommitKey(Message, kind="coordinator-key", api_key=1, versions="0", flexible="none"):
    group: str = field(STRING, "0")
    topic: str = field(STRING, "0")
    partition: int = field(INT32, "0")


class OffsetCommitValue(Message, kind="coordinator-value", api_key=1, versions="0-4", flexible="4+"):
    offset: int = field(INT64, "0+")
    leader_epoch: int = field(INT32, "3+", default=-1, ignorable=True)
    metadata: str = field(STRING, "0+")
    commit_timestamp: int = field(INT64, "0+")
    expire_timestamp: int = field(INT64, "1", default=-1, ignorable=True)
    topic_id: Uuid = field(UUID, "4+", tag=0, ignorable=True)
