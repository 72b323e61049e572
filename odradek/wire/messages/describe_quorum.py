"""DescribeQuorum (API key 55): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, INT64, STRING, UINT16, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class DescribeQuorumRequestPartitionData(Struct):
    partition_index: int = field(INT32, "0+")


class DescribeQuorumRequestTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[DescribeQuorumRequestPartitionData] = field(array(DescribeQuorumRequestPartitionData), "0+")


class DescribeQuorumRequest(
    Message, kind="request", api_key=55, versions="0-2", flexible="0+", listeners=("broker", "controller")
):
    topics: list[DescribeQuorumRequestTopicData] = field(array(DescribeQuorumRequestTopicData), "0+")


class ReplicaState(Struct):
    replica_id: int = field(INT32, "0+")
    replica_directory_id: Uuid = field(UUID, "2+")
    log_end_offset: int = field(INT64, "0+")
    last_fetch_timestamp: int = field(INT64, "1+", default=-1, ignorable=True)
    last_caught_up_timestamp: int = field(INT64, "1+", default=-1, ignorable=True)


class DescribeQuorumResponsePartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "2+", nullable="2+", ignorable=True)
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")
    high_watermark: int = field(INT64, "0+")
    current_voters: list[ReplicaState] = field(array(ReplicaState), "0+")
    observers: list[ReplicaState] = field(array(ReplicaState), "0+")


class DescribeQuorumResponseTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[DescribeQuorumResponsePartitionData] = field(array(DescribeQuorumResponsePartitionData), "0+")


class Listener(Struct):
    name: str = field(STRING, "2+", map_key=True)
    host: str = field(STRING, "2+")
    port: int = field(UINT16, "2+")


class Node(Struct):
    node_id: int = field(INT32, "2+", map_key=True)
    listeners: list[Listener] = field(array(Listener), "2+")


class DescribeQuorumResponse(Message, kind="response", api_key=55, versions="0-2", flexible="0+"):
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "2+", nullable="2+", ignorable=True)
    topics: list[DescribeQuorumResponseTopicData] = field(array(DescribeQuorumResponseTopicData), "0+")
    nodes: list[Node] = field(array(Node), "2+")
