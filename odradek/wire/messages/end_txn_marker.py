"""EndTxnMarker."""

from __future__ import annotations

from odradek.wire.schema import INT32, Message, field


class EndTxnMarker(Message, kind="data", versions="0", flexible="none"):
    coordinator_epoch: int = field(INT32, "0+")
