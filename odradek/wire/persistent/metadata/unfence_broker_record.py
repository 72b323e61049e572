"""UnfenceBrokerRecord (type 8) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, Message, field


class UnfenceBrokerRecord(Message, kind="metadata", api_key=8, versions="0", flexible="0+"):
    id: int = field(INT32, "0+")
    epoch: int = field(INT64, "0+")
