"""LegacyOffsetCommit (type 0) in __consumer_offsets: key and value."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, STRING, Message, field


class LegacyOffsetCommitKey(Message, kind="coordinator-key", api_key=0, versions="0", flexible="none"):
    group: str = field(STRING, "0")
    topic: str = field(STRING, "0")
    partition: int = field(INT32, "0")


class LegacyOffsetCommitValue(Message, kind="coordinator-value", api_key=0, versions="0", flexible="none"):
    offset: int = field(INT64, "0")
    metadata: str = field(STRING, "0")
    commit_timestamp: int = field(INT64, "0")
