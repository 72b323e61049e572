"""InitProducerId (API key 22): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT16, INT32, INT64, STRING, Message, field


class InitProducerIdRequest(
    Message, kind="request", api_key=22, versions="0-6", flexible="2+", listeners=("broker",), latest_unstable=True
):
    transactional_id: str | None = field(STRING, "0+", nullable="0+")
    transaction_timeout_ms: int = field(INT32, "0+")
    producer_id: int = field(INT64, "3+", default=-1)
    producer_epoch: int = field(INT16, "3+", default=-1)
    enable2_pc: bool = field(BOOL, "6+", default=False)
    keep_prepared_txn: bool = field(BOOL, "6+", default=False)


class InitProducerIdResponse(Message, kind="response", api_key=22, versions="0-6", flexible="2+"):
    throttle_time_ms: int = field(INT32, "0+", ignorable=True)
    error_code: int = field(INT16, "0+")
    producer_id: int = field(INT64, "0+", default=-1)
    producer_epoch: int = field(INT16, "0+")
    ongoing_txn_producer_id: int = field(INT64, "6+", default=-1)
    ongoing_txn_producer_epoch: int = field(INT16, "6+", default=-1)
