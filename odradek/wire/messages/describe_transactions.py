"""DescribeTransactions (API key 65): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, INT64, STRING, Message, Struct, array, field


class DescribeTransactionsRequest(
    Message, kind="request", api_key=65, versions="0", flexible="0+", listeners=("broker",)
):
    transactional_ids: list[str] = field(array(STRING), "0+")


class TopicData(Struct):
    topic: str = field(STRING, "0+", map_key=True)
    partitions: list[int] = field(array(INT32), "0+")


class TransactionState(Struct):
    error_code: int = field(INT16, "0+")
    transactional_id: str = field(STRING, "0+")
    transaction_state: str = field(STRING, "0+")
    transaction_timeout_ms: int = field(INT32, "0+")
    transaction_start_time_ms: int = field(INT64, "0+")
    producer_id: int = field(INT64, "0+")
    producer_epoch: int = field(INT16, "0+")
    topics: list[TopicData] = field(array(TopicData), "0+")


class DescribeTransactionsResponse(Message, kind="response", api_key=65, versions="0", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    transaction_states: list[TransactionState] = field(array(TransactionState), "0+")
