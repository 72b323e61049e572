"""AbortedTxn."""

from __future__ import annotations

from odradek.wire.schema import INT64, Message, field


class AbortedTxn(Message, kind="data", versions="0", flexible="none"):
    producer_id: int = field(INT64, "0+")
    first_offset: int = field(INT64, "0+")
    last_offset: int = field(INT64, "0+")
    last_stable_offset: int = field(INT64, "0+")
