"""InitializeShareGroupState (API key 83): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, INT64, STRING, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class PartitionData(Struct):
    partition: int = field(INT32, "0+")
    state_epoch: int = field(INT32, "0+")
    start_offset: int = field(INT64, "0+")


class InitializeStateData(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[PartitionData] = field(array(PartitionData), "0+")


class InitializeShareGroupStateRequest(
    Message, kind="request", api_key=83, versions="0", flexible="0+", listeners=("broker",)
):
    group_id: str = field(STRING, "0+")
    topics: list[InitializeStateData] = field(array(InitializeStateData), "0+")


class PartitionResult(Struct):
    partition: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)


class InitializeStateResult(Struct):
    topic_id: Uuid = field(UUID, "0+")
    partitions: list[PartitionResult] = field(array(PartitionResult), "0+")


class InitializeShareGroupStateResponse(Message, kind="response", api_key=83, versions="0", flexible="0+"):
    results: list[InitializeStateResult] = field(array(InitializeStateResult), "0+")
