"""BeginTransactionRecord (type 23) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import STRING, Message, field


class BeginTransactionRecord(Message, kind="metadata", api_key=23, versions="0", flexible="0+"):
    name: str | None = field(STRING, "0+", nullable="0+", default=None, tag=0)
