"""UnregisterBrokerRecord (type 1) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, Message, field


class UnregisterBrokerRecord(Message, kind="metadata", api_key=1, versions="0", flexible="0+"):
    broker_id: int = field(INT32, "0+")
    broker_epoch: int = field(INT64, "0+")
