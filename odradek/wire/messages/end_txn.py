"""EndTxn (API key 26): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT16, INT32, INT64, STRING, Message, field


class EndTxnRequest(Message, kind="request", api_key=26, versions="0-5", flexible="3+", listeners=("broker",)):
    transactional_id: str = field(STRING, "0+")
    producer_id: int = field(INT64, "0+")
    producer_epoch: int = field(INT16, "0+")
    committed: bool = field(BOOL, "0+")


class EndTxnResponse(Message, kind="response", api_key=26, versions="0-5", flexible="3+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    producer_id: int = field(INT64, "5+", default=-1, ignorable=True)
    producer_epoch: int = field(INT16, "5+", default=-1, ignorable=True)
