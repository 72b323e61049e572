"""ControlRecordTypeSchema."""

from __future__ import annotations

from odradek.wire.schema import INT16, Message, field


class ControlRecordTypeSchema(Message, kind="data", versions="0", flexible="none"):
    type: int = field(INT16, "0+")
