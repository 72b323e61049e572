"""ElectLeaders (API key 43): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT8, INT16, INT32, STRING, Message, Struct, array, field


class TopicPartitions(Struct):
    topic: str = field(STRING, "0+", map_key=True)
    partitions: list[int] = field(array(INT32), "0+")


class ElectLeadersRequest(
    Message, kind="request", api_key=43, versions="0-2", flexible="2+", listeners=("broker", "controller")
):
    election_type: int = field(INT8, "1+")
    topic_partitions: list[TopicPartitions] | None = field(array(TopicPartitions), "0+", nullable="0+")
    timeout_ms: int = field(INT32, "0+", default=60000)


class PartitionResult(Struct):
    partition_id: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+")


class ReplicaElectionResult(Struct):
    topic: str = field(STRING, "0+")
    partition_result: list[PartitionResult] = field(array(PartitionResult), "0+")


class ElectLeadersResponse(Message, kind="response", api_key=43, versions="0-2", flexible="2+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "1+")
    replica_election_results: list[ReplicaElectionResult] = field(array(ReplicaElectionResult), "0+")
