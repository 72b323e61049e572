"""EndQuorumEpoch (API key 54): request and response."""

from __future__ import annotations

from odradek.wire.schema import INT16, INT32, STRING, UINT16, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class ReplicaInfo(Struct):
    candidate_id: int = field(INT32, "1+")
    candidate_directory_id: Uuid = field(UUID, "1+")


class EndQuorumEpochRequestPartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")
    preferred_successors: list[int] = field(array(INT32), "0", ignorable=True)
    preferred_candidates: list[ReplicaInfo] = field(array(ReplicaInfo), "1+", ignorable=True)


class EndQuorumEpochRequestTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[EndQuorumEpochRequestPartitionData] = field(array(EndQuorumEpochRequestPartitionData), "0+")


class LeaderEndpoint(Struct):
    name: str = field(STRING, "1+", map_key=True)
    host: str = field(STRING, "1+")
    port: int = field(UINT16, "1+")


class EndQuorumEpochRequest(
    Message, kind="request", api_key=54, versions="0-1", flexible="1+", listeners=("controller",)
):
    cluster_id: str | None = field(STRING, "0+", nullable="0+", default=None)
    topics: list[EndQuorumEpochRequestTopicData] = field(array(EndQuorumEpochRequestTopicData), "0+")
    leader_endpoints: list[LeaderEndpoint] = field(array(LeaderEndpoint), "1+", ignorable=True)


class EndQuorumEpochResponsePartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")


class EndQuorumEpochResponseTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[EndQuorumEpochResponsePartitionData] = field(array(EndQuorumEpochResponsePartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = field(INT32, "1+", map_key=True)
    host: str = field(STRING, "1+")
    port: int = field(UINT16, "1+")


class EndQuorumEpochResponse(Message, kind="response", api_key=54, versions="0-1", flexible="1+"):
    error_code: int = field(INT16, "0+")
    topics: list[EndQuorumEpochResponseTopicData] = field(array(EndQuorumEpochResponseTopicData), "0+")
    node_endpoints: list[NodeEndpoint] = field(array(NodeEndpoint), "1+", tag=0)
