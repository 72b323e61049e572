"""AddOffsetsToTxn (API key 25): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, INT64, STRING, Message, field


class AddOffsetsToTxnRequest(Message, kind="request", api_key=25, versions="0-4", flexible="3+", listeners=("broker",)):
    transactional_id: str = field(STRING, "0+")
    producer_id: int = field(INT64, "0+")
    producer_epoch: int = field(INT16, "0+")
    group_id: str = field(STRING, "0+")


class AddOffsetsToTxnResponse(Message, kind="response", api_key=25, versions="0-4", flexible="3+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
