"""SnapshotFooterRecord."""

from __future__ import annotations

from odradek.wire.schema import INT16, Message, field


class SnapshotFooterRecord(Message, kind="data", versions="0", flexible="0+"):
    version: int = field(INT16, "0+")
