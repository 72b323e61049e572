"""DeleteRecords (API key 21): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, INT64, STRING, Message, Struct, array, field


class DeleteRecordsPartition(Struct):
    partition_index: int = field(INT32, "0+")
    offset: int = field(INT64, "0+")


class DeleteRecordsTopic(Struct):
    name: str = field(STRING, "0+")
    partitions: list[DeleteRecordsPartition] = field(array(DeleteRecordsPartition), "0+")


class DeleteRecordsRequest(Message, kind="request", api_key=21, versions="0-2", flexible="2+", listeners=("broker",)):
    topics: list[DeleteRecordsTopic] = field(array(DeleteRecordsTopic), "0+")
    timeout_ms: int = field(INT32, "0+")


class DeleteRecordsPartitionResult(Struct):
    partition_index: int = field(INT32, "0+", map_key=True)
    low_watermark: int = field(INT64, "0+")
    error_code: int = field(INT16, "0+")


class DeleteRecordsTopicResult(Struct):
    name: str = field(STRING, "0+", map_key=True)
    partitions: list[DeleteRecordsPartitionResult] = field(array(DeleteRecordsPartitionResult), "0+")


class DeleteRecordsResponse(Message, kind="response", api_key=21, versions="0-2", flexible="2+"):
    throttle_time_ms: int = field(INT32, "0+")
    topics: list[DeleteRecordsTopicResult] = field(array(DeleteRecordsTopicResult), "0+")
