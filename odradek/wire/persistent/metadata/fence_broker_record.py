"""FenceBrokerRecord (type 7) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, Message, field


class FenceBrokerRecord(Message, kind="metadata", api_key=7, versions="0", flexible="0+"):
    id: int = field(INT32, "0+")
    epoch: int = field(INT64, "0+")
