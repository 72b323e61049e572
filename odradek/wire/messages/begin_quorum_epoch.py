"""BeginQuorumEpoch (API key 53): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UINT16, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class BeginQuorumEpochRequestPartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    voter_directory_id: Uuid = field(UUID, "1+", ignorable=True)
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")


class BeginQuorumEpochRequestTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[BeginQuorumEpochRequestPartitionData] = field(array(BeginQuorumEpochRequestPartitionData), "0+")


class LeaderEndpoint(Struct):
    name: str = field(STRING, "1+", map_key=True)
    host: str = field(STRING, "1+")
    port: int = field(UINT16, "1+")


class BeginQuorumEpochRequest(
    Message, kind="request", api_key=53, versions="0-1", flexible="1+", listeners=("controller",)
):
    cluster_id: str | None = field(STRING, "0+", nullable="0+", default=None)
    voter_id: int = field(INT32, "1+", default=-1, ignorable=True)
    topics: list[BeginQuorumEpochRequestTopicData] = field(array(BeginQuorumEpochRequestTopicData), "0+")
    leader_endpoints: list[LeaderEndpoint] = field(array(LeaderEndpoint), "1+", ignorable=True)


class BeginQuorumEpochResponsePartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")


class BeginQuorumEpochResponseTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[BeginQuorumEpochResponsePartitionData] = field(array(BeginQuorumEpochResponsePartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = field(INT32, "1+", map_key=True)
    host: str = field(STRING, "1+")
    port: int = field(UINT16, "1+")


class BeginQuorumEpochResponse(Message, kind="response", api_key=53, versions="0-1", flexible="1+"):
    error_code: int = field(INT16, "0+")
    topics: list[BeginQuorumEpochResponseTopicData] = field(array(BeginQuorumEpochResponseTopicData), "0+")
    node_endpoints: list[NodeEndpoint] = field(array(NodeEndpoint), "1+", tag=0)
