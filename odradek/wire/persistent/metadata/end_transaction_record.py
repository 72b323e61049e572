"""EndTransactionRecord (type 24) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import Message


class EndTransactionRecord(Message, kind="metadata", api_key=24, versions="0", flexible="0+"):
    pass
