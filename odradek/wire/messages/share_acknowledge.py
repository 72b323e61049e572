"""ShareAcknowledge (API key 79): request and response."""

from __future__ import annotations

from odradek.wire.schema import BOOL, INT8, INT16, INT32, INT64, STRING, UUID, Message, Struct, array, field, nested
from odradek.wire.uuids import Uuid


class AcknowledgementBatch(Struct):
    first_offset: int = field(INT64, "0+")
    last_offset: int = field(INT64, "0+")
    acknowledge_types: list[int] = field(array(INT8), "0+")


class AcknowledgePartition(Struct):
    partition_index: int = field(INT32, "0+", map_key=True)
    acknowledgement_batches: list[AcknowledgementBatch] = field(array(AcknowledgementBatch), "0+")


class AcknowledgeTopic(Struct):
    topic_id: Uuid = field(UUID, "0+", map_key=True)
    partitions: list[AcknowledgePartition] = field(array(AcknowledgePartition), "0+")


class ShareAcknowledgeRequest(
    Message, kind="request", api_key=79, versions="1-2", flexible="0+", listeners=("broker",)
):
    group_id: str | None = field(STRING, "0+", nullable="0+", default=None)
    member_id: str | None = field(STRING, "0+", nullable="0+")
    share_session_epoch: int = field(INT32, "0+")
    is_renew_ack: bool = field(BOOL, "2+", default=False)
    topics: list[AcknowledgeTopic] = field(array(AcknowledgeTopic), "0+")


class LeaderIdAndEpoch(Struct):
    leader_id: int = field(INT32, "0+")
    leader_epoch: int = field(INT32, "0+")


class PartitionData(Struct):
    partition_index: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)
    current_leader: LeaderIdAndEpoch = field(nested(LeaderIdAndEpoch), "0+")


class ShareAcknowledgeTopicResponse(Struct):
    topic_id: Uuid = field(UUID, "0+", map_key=True)
    partitions: list[PartitionData] = field(array(PartitionData), "0+")


class NodeEndpoint(Struct):
    node_id: int = field(INT32, "0+", map_key=True)
    host: str = field(STRING, "0+")
    port: int = field(INT32, "0+")
    rack: str | None = field(STRING, "0+", nullable="0+", default=None)


class ShareAcknowledgeResponse(Message, kind="response", api_key=79, versions="1-2", flexible="0+"):
    throttle_time_ms: int = field(INT32, "0+")
    error_code: int = field(INT16, "0+")
    error_message: str | None = field(STRING, "0+", nullable="0+", default=None)
    acquisition_lock_timeout_ms: int = field(INT32, "2+", ignorable=True)
    responses: list[ShareAcknowledgeTopicResponse] = field(array(ShareAcknowledgeTopicResponse), "0+")
    node_endpoints: list[NodeEndpoint] = field(array(NodeEndpoint), "0+")
