"""ReadShareGroupState (API key 84): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT16, INT32, INT64, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class PartitionData(Struct):
    partition: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")


class ReadStateData(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[PartitionData] = field(array(PartitionData), "0+")


class ReadShareGroupStateRequest(
    Message, kind="request", api_key=84, versions="0", flexible="0+", listeners=("broker",)
):
    group_id: str = field(STRING, "0+")
    topics: list[ReadStateData] = field(array(ReadStateData), "0+")


class StateBatch(Struct):
    first_offset: int = field(INT64, "0+")
    last_offset: int = field(INT64, "0+")
    delivery_state: int = field(INT8, "0+")
    delivery_count: int = field(INT16, "0+")


class PartitionResult(Struct):
    partition: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)
    state_epoch: int = field(INT32, "0+")
    start_offset: int = field(INT64, "0+")
    state_batches: list[StateBatch] = field(array(StateBatch), "0+")


class ReadStateResult(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[PartitionResult] = field(array(PartitionResult), "0+")


class ReadShareGroupStateResponse(Message, kind="response", api_key=84, versions="0", flexible="0+"):
    results: list[ReadStateResult] = field(array(ReadStateResult), "0+")
