"""What a producer or a group of one consumer has to be told before it gets to work, as if by a broker; pure.

One node, one topic of one partition. Nothing is kept but the assignment that the group's only member makes for itself.
"""

from __future__ import annotations

from odradek.wire.api_table import ApiKey
from odradek.wire.messages.api_versions import ApiVersion, ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.find_coordinator import Coordinator, FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberResponse
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from odradek.wire.messages.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from odradek.wire.schema import Message

NODE_ID = 1
TOPIC_ID = bytes(15) + b"\x07"
PRODUCER_ID = 1000
MEMBER, GENERATION = "only", 1
EARLIEST = -2
NO_OFFSET = -1
OFFERED = {
    ApiKey.PRODUCE: (3, 12),
    ApiKey.FETCH: (4, 12),
    ApiKey.LIST_OFFSETS: (1, 8),
    ApiKey.METADATA: (0, 12),
    ApiKey.OFFSET_COMMIT: (2, 9),
    ApiKey.OFFSET_FETCH: (1, 9),
    ApiKey.FIND_COORDINATOR: (0, 4),
    ApiKey.JOIN_GROUP: (0, 9),
    ApiKey.HEARTBEAT: (0, 4),
    ApiKey.LEAVE_GROUP: (0, 5),
    ApiKey.SYNC_GROUP: (0, 5),
    ApiKey.API_VERSIONS: (0, 4),
    ApiKey.INIT_PRODUCER_ID: (0, 4),
}
"""Lowest and highest version; topics have names in all of them."""


class Canned:
    """Answers for clients of one address."""

    def __init__(self, host: str, port: int, topic: str, stored_records: int) -> None:
        self._host = host
        self._port = port
        self._topic = topic
        self._stored_records = stored_records
        self._assignment = b""

    def answer(self, request: Message, version: int) -> Message:
        """Raises ValueError for what no client asks that has been told the versions."""
        match request:
            case ApiVersionsRequest():
                keys = [
                    ApiVersion(api_key=key, min_version=low, max_version=high) for key, (low, high) in OFFERED.items()
                ]
                return ApiVersionsResponse(api_keys=keys)
            case MetadataRequest():
                return self._metadata()
            case InitProducerIdRequest():
                return InitProducerIdResponse(producer_id=PRODUCER_ID, producer_epoch=0)
            case FindCoordinatorRequest():
                return self._coordinator(request, version)
            case JoinGroupRequest():
                return _joined(request)
            case SyncGroupRequest():
                self._assignment = bytes(request.assignments[0].assignment)
                return SyncGroupResponse(
                    protocol_type=request.protocol_type,
                    protocol_name=request.protocol_name,
                    assignment=self._assignment,
                )
            case HeartbeatRequest():
                return HeartbeatResponse()
            case LeaveGroupRequest():
                left = [MemberResponse(member_id=each.member_id, group_instance_id=None) for each in request.members]
                return LeaveGroupResponse(members=left)
            case OffsetFetchRequest():
                return _no_offsets(request, version)
            case OffsetCommitRequest():
                return _committed(request)
            case ListOffsetsRequest():
                return self._offsets(request)
            case _:
                raise ValueError(f"{type(request).__name__} is not answered here")

    def _metadata(self) -> MetadataResponse:
        partition = MetadataResponsePartition(
            partition_index=0, leader_id=NODE_ID, leader_epoch=0, replica_nodes=[NODE_ID], isr_nodes=[NODE_ID]
        )
        return MetadataResponse(
            brokers=[MetadataResponseBroker(node_id=NODE_ID, host=self._host, port=self._port)],
            cluster_id="limit",
            controller_id=NODE_ID,
            topics=[MetadataResponseTopic(name=self._topic, topic_id=TOPIC_ID, partitions=[partition])],
        )

    def _coordinator(self, request: FindCoordinatorRequest, version: int) -> FindCoordinatorResponse:
        if version < 4:
            return FindCoordinatorResponse(node_id=NODE_ID, host=self._host, port=self._port)
        found = [
            Coordinator(key=key, node_id=NODE_ID, host=self._host, port=self._port) for key in request.coordinator_keys
        ]
        return FindCoordinatorResponse(coordinators=found)

    def _offsets(self, request: ListOffsetsRequest) -> ListOffsetsResponse:
        topics = []
        for topic in request.topics:
            partitions = [
                ListOffsetsPartitionResponse(
                    partition_index=each.partition_index,
                    offset=0 if each.timestamp == EARLIEST else self._stored_records,
                    leader_epoch=0,
                )
                for each in topic.partitions
            ]
            topics.append(ListOffsetsTopicResponse(name=topic.name, partitions=partitions))
        return ListOffsetsResponse(topics=topics)


def _joined(request: JoinGroupRequest) -> JoinGroupResponse:
    """Whoever joins is the leader of a group of one."""
    protocol = request.protocols[0]
    return JoinGroupResponse(
        generation_id=GENERATION,
        protocol_type=request.protocol_type,
        protocol_name=protocol.name,
        leader=MEMBER,
        member_id=MEMBER,
        members=[JoinGroupResponseMember(member_id=MEMBER, metadata=bytes(protocol.metadata))],
    )


def _no_offsets(request: OffsetFetchRequest, version: int) -> OffsetFetchResponse:
    if version < 8:
        topics = [
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(partition_index=index, committed_offset=NO_OFFSET, metadata="")
                    for index in topic.partition_indexes
                ],
            )
            for topic in request.topics or []
        ]
        return OffsetFetchResponse(topics=topics)
    groups = []
    for group in request.groups:
        found = [
            OffsetFetchResponseTopics(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartitions(partition_index=index, committed_offset=NO_OFFSET, metadata="")
                    for index in topic.partition_indexes
                ],
            )
            for topic in group.topics or []
        ]
        groups.append(OffsetFetchResponseGroup(group_id=group.group_id, topics=found))
    return OffsetFetchResponse(groups=groups)


def _committed(request: OffsetCommitRequest) -> OffsetCommitResponse:
    topics = [
        OffsetCommitResponseTopic(
            name=topic.name,
            partitions=[
                OffsetCommitResponsePartition(partition_index=each.partition_index) for each in topic.partitions
            ],
        )
        for topic in request.topics
    ]
    return OffsetCommitResponse(topics=topics)
