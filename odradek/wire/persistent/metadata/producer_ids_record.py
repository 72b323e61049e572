"""ProducerIdsRecord (type 15) of the cluster metadata log."""

from __future__ import annotations

from odradek.wire.schema import INT32, INT64, Message, field


class ProducerIdsRecord(Message, kind="metadata", api_key=15, versions="0", flexible="0+"):
    broker_id: int = field(INT32, "0+")
    broker_epoch: int = field(INT64, "0+", default=-1)
    next_producer_id: int = field(INT64, "0+")
