"""AbortTransactionRecord (type 25) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import STRING, Message, field


class AbortTransactionRecord(Message, kind="metadata", api_key=25, versions="0", flexible="0+"):
    reason: str | None = field(STRING, "0+", nullable="0+", default=None, tag=0)
