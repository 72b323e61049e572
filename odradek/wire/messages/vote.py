"""Vote (API key 52): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT16, INT32, INT64, STRING, UINT16, UUID, Message, Struct, array, field
from odradek.wire.uuids import Uuid


class VoteRequestPartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    replica_epoch: int = field(INT32, "0+")
    replica_id: int = field(INT32, "0+")
    replica_directory_id: Uuid = field(UUID, "1+", ignorable=True)
    voter_directory_id: Uuid = field(UUID, "1+", ignorable=True)
    last_offset_epoch: int = field(INT32, "0+")
    last_offset: int = field(INT64, "0+")
    pre_vote: bool = field(BOOL, "2+")


class VoteRequestTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[VoteRequestPartitionData] = field(array(VoteRequestPartitionData), "0+")


class VoteRequest(Message, kind="request", api_key=52, versions="0-2", flexible="0+", listeners=("controller",)):
    cluster_id: str | None = field(STRING, "0+", nullable="0+", default=None)
    voter_id: int = field(INT32, "1+", default=-1, ignorable=True)
    topics: list[VoteRequestTopicData] = field(array(VoteRequestTopicData), "0+")


class VoteResponsePartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")
    vote_granted: bool = field(BOOL, "0+")


class VoteResponseTopicData(Struct):
    topic_name: str = field(STRING, "0+")
    partitions: list[VoteResponsePartitionData] = field(array(VoteResponsePartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = field(INT32, "1+", map_key=True)
    host: str = field(STRING, "1+")
    port: int = field(UINT16, "1+")


class VoteResponse(Message, kind="response", api_key=52, versions="0-2", flexible="0+"):
    error_code: int = field(INT16, "0+")
    topics: list[VoteResponseTopicData] = field(array(VoteResponseTopicData), "0+")
    node_endpoints: list[NodeEndpoint] = field(array(NodeEndpoint), "1+", tag=0)
