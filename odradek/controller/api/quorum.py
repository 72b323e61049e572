"""DescribeQuorum (55): the state of the metadata quorum (KIP-595, KIP-836)."""

from __future__ import annotations

from odradek.controller.api.common import check_cluster
from odradek.metadata.topic_names import CLUSTER_METADATA_TOPIC
from odradek.ports import Clock
from odradek.quorum.leader import LeaderState, ReplicaProgress
from odradek.quorum.raft import RaftNode
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
    Listener,
    Node,
    ReplicaState,
)
from odradek.wire.uuids import ZERO_UUID

FIRST_WITH_DIRECTORIES = 2
FIRST_WITH_NODES = 2


class QuorumApi:
    """What the leader of the quorum knows of it."""

    def __init__(self, raft: RaftNode, clock: Clock) -> None:
        self._raft = raft
        self._clock = clock

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [erase(Handler(DescribeQuorumRequest, self._describe, Operation.DESCRIBE, ResourceType.CLUSTER))]

    def _describe(self, context: RequestContext, request: DescribeQuorumRequest) -> DescribeQuorumResponse:
        check_cluster(context, Operation.DESCRIBE)
        is_alone = [len(topic.partitions) for topic in request.topics] == [1]
        response = DescribeQuorumResponse(
            topics=[
                DescribeQuorumResponseTopicData(
                    topic_name=topic.topic_name,
                    partitions=[
                        self._partition(topic.topic_name if is_alone else "", each.partition_index, context.api_version)
                        for each in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )
        described = any(partition.error_code == 0 for topic in response.topics for partition in topic.partitions)
        if described and context.api_version >= FIRST_WITH_NODES:
            response.nodes = [
                Node(
                    node_id=voter.id,
                    listeners=[
                        Listener(name=point.listener, host=point.host, port=point.port) for point in voter.endpoints
                    ],
                )
                for voter in self._raft.voters.voters
            ]
        return response

    def _partition(self, topic: str, index: int, version: int) -> DescribeQuorumResponsePartitionData:
        if (topic, index) != (CLUSTER_METADATA_TOPIC, 0):
            return DescribeQuorumResponsePartitionData(
                partition_index=index,
                error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                error_message=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION.message,
            )
        leader = self._raft.leader
        if leader is None or not self._raft.is_leader:
            return DescribeQuorumResponsePartitionData(
                partition_index=index, error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER
            )
        leader.forget_stale_observers(self._clock.now_ms())
        return DescribeQuorumResponsePartitionData(
            partition_index=index,
            leader_id=leader.node_id,
            leader_epoch=leader.epoch,
            high_watermark=leader.high_watermark,
            current_voters=[self._state(leader, voter, version) for voter in leader.voters.values()],
            observers=[self._state(leader, observer, version) for observer in leader.observers.values()],
        )

    def _state(self, leader: LeaderState, voter: ReplicaProgress, version: int) -> ReplicaState:
        is_leader = voter.id == leader.node_id
        now_ms = self._clock.now_ms()
        return ReplicaState(
            replica_id=voter.id,
            replica_directory_id=voter.directory_id if version >= FIRST_WITH_DIRECTORIES else ZERO_UUID,
            log_end_offset=self._raft.end_offset if is_leader else voter.end_offset,
            last_fetch_timestamp=now_ms if is_leader else voter.last_fetch_ms,
            last_caught_up_timestamp=now_ms if is_leader else voter.last_caught_up_ms,
        )
