"""SnapshotHeaderRecord."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT64, Message, field


class SnapshotHeaderRecord(Message, kind="data", versions="0", flexible="0+"):
    version: int = field(INT16, "0+")
    last_contained_log_timestamp: int = field(INT64, "0+")
