"""Membership in a classic consumer group: join, be assigned, send heartbeats, commit, leave.

The protocol is Kafka's "consumer" with the range assignor, so members of other clients may be in the group too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from odradek.cli.session import check
from odradek.net.client import RETRIES, RETRY_MS, Client
from odradek.wire import ErrorCode, KafkaError
from odradek.wire.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse

SESSION_TIMEOUT_MS = 45_000
REBALANCE_TIMEOUT_MS = 60_000
HEARTBEAT_INTERVAL_MS = 3_000
PROTOCOL_TYPE = "consumer"
PROTOCOL = "range"
_CONSUMER_VERSION = 0
_LAST_VERSION_BY_NAME = 9
"""From the next version on, OffsetCommit and OffsetFetch name topics by id only."""
_JOIN_AGAIN = (
    ErrorCode.REBALANCE_IN_PROGRESS,
    ErrorCode.ILLEGAL_GENERATION,
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.MEMBER_ID_REQUIRED,
)


class Membership:
    """One member that subscribes to one topic."""

    def __init__(self, client: Client, group_id: str, topic: str) -> None:
        self.partitions: list[int] = []
        self.generation_id = -1
        self._client = client
        self._group_id = group_id
        self._topic = topic
        self._member_id = ""
        self._coordinator = -1
        self._heartbeat_at = 0.0

    async def join(self) -> None:
        """Join or join again, and wait for `partitions`. Raises KafkaError, ClientError."""
        for _ in range(RETRIES):
            self._coordinator = await self._client.group_coordinator(self._group_id)
            if await self._try_to_join():
                self._heartbeat_at = asyncio.get_running_loop().time()
                return
        raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, f"group {self._group_id} does not settle")

    async def keep_alive(self) -> bool:
        """Send a heartbeat when one is due; False: the group rebalances, `join` again."""
        now = asyncio.get_running_loop().time()
        if now - self._heartbeat_at < HEARTBEAT_INTERVAL_MS / 1000:
            return True
        self._heartbeat_at = now
        request = HeartbeatRequest(group_id=self._group_id, generation_id=self.generation_id, member_id=self._member_id)
        response = await self._client.send(request, HeartbeatResponse, node_id=self._coordinator)
        if response.error_code and not await self._may_join_again(response.error_code):
            check(response.error_code)
        return not response.error_code

    async def committed(self) -> dict[int, int]:
        """The committed offsets of `partitions`, those that have one."""
        for _ in range(RETRIES):
            code, offsets = await self._fetch_offsets()
            if not code.retriable:
                check(code)
                return offsets
            await asyncio.sleep(RETRY_MS / 1000)
        raise KafkaError(code)

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit the next offset to read of each partition. Those lost in a rebalance are left to their new owner."""
        if not offsets:
            return
        partitions = [
            OffsetCommitRequestPartition(partition_index=number, committed_offset=offset, committed_metadata="")
            for number, offset in offsets.items()
        ]
        request = OffsetCommitRequest(
            group_id=self._group_id,
            generation_id_or_member_epoch=self.generation_id,
            member_id=self._member_id,
            topics=[OffsetCommitRequestTopic(name=self._topic, partitions=partitions)],
        )
        connection = await self._client.node(self._coordinator)
        version = min(connection.version(OffsetCommitRequest), _LAST_VERSION_BY_NAME)
        response = await connection.send(request, OffsetCommitResponse, version=version)
        for result in response.topics[0].partitions:
            if result.error_code not in _JOIN_AGAIN:
                check(result.error_code)

    async def leave(self) -> None:
        """Leave, so that others take over at once."""
        if not self._member_id:
            return
        connection = await self._client.node(self._coordinator)
        request = LeaveGroupRequest(group_id=self._group_id)
        if connection.version(LeaveGroupRequest) >= 3:
            request.members = [MemberIdentity(member_id=self._member_id)]
        else:
            request.member_id = self._member_id
        await connection.send(request, LeaveGroupResponse)

    async def _try_to_join(self) -> bool:
        subscription = ConsumerProtocolSubscription(topics=[self._topic]).encode(_CONSUMER_VERSION)
        metadata = _CONSUMER_VERSION.to_bytes(2, "big") + subscription
        request = JoinGroupRequest(
            group_id=self._group_id,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            member_id=self._member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(name=PROTOCOL, metadata=metadata)],
        )
        connection = await self._client.node(self._coordinator)
        joined = await connection.send(request, JoinGroupResponse, timeout_ms=2 * REBALANCE_TIMEOUT_MS)
        if joined.error_code:
            if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                self._member_id = joined.member_id
            elif not await self._may_join_again(joined.error_code):
                check(joined.error_code)
            return False
        self._member_id, self.generation_id = joined.member_id, joined.generation_id
        sync = SyncGroupRequest(
            group_id=self._group_id,
            generation_id=self.generation_id,
            member_id=self._member_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=joined.protocol_name,
            assignments=await self._assign(joined) if joined.leader == self._member_id else [],
        )
        synced = await connection.send(sync, SyncGroupResponse, timeout_ms=2 * REBALANCE_TIMEOUT_MS)
        if synced.error_code:
            if not await self._may_join_again(synced.error_code):
                check(synced.error_code)
            return False
        self.partitions = self._read_assignment(synced.assignment)
        return True

    async def _may_join_again(self, code: int) -> bool:
        """Whether joining again may help; forgets an id that the group does not know, waits where time helps."""
        if code == ErrorCode.UNKNOWN_MEMBER_ID:
            self._member_id = ""
        if code in _JOIN_AGAIN:
            return True
        if ErrorCode(code).retriable:
            await asyncio.sleep(RETRY_MS / 1000)
            return True
        return False

    async def _assign(self, joined: JoinGroupResponse) -> list[SyncGroupRequestAssignment]:
        """As the group's leader: ranges of each topic's partitions to the members that subscribe to it."""
        subscribers: dict[str, list[str]] = {}
        for member in joined.members:
            version = min(int.from_bytes(member.metadata[:2], "big"), ConsumerProtocolSubscription.MAX_VERSION)
            subscription, _ = ConsumerProtocolSubscription.decode_prefix(member.metadata, version, 2)
            for topic in subscription.topics:
                subscribers.setdefault(topic, []).append(member.member_id)
        counts = {
            found.name or "": len(found.partitions)
            for found in (await self._client.metadata(sorted(subscribers))).topics
        }
        assigned: dict[str, list[ConsumerProtocolAssignmentTopicPartition]] = {
            member.member_id: [] for member in joined.members
        }
        for topic, members in sorted(subscribers.items()):
            for member_id, numbers in ranges(members, counts.get(topic, 0)).items():
                assigned[member_id].append(ConsumerProtocolAssignmentTopicPartition(topic=topic, partitions=numbers))
        prefix = _CONSUMER_VERSION.to_bytes(2, "big")
        return [
            SyncGroupRequestAssignment(
                member_id=member_id,
                assignment=prefix + ConsumerProtocolAssignment(assigned_partitions=topics).encode(_CONSUMER_VERSION),
            )
            for member_id, topics in assigned.items()
        ]

    def _read_assignment(self, data: bytes) -> list[int]:
        if not data:
            return []
        version = min(int.from_bytes(data[:2], "big"), ConsumerProtocolAssignment.MAX_VERSION)
        assignment, _ = ConsumerProtocolAssignment.decode_prefix(data, version, 2)
        return [
            number
            for topic in assignment.assigned_partitions
            if topic.topic == self._topic
            for number in topic.partitions
        ]

    async def _fetch_offsets(self) -> tuple[ErrorCode, dict[int, int]]:
        connection = await self._client.node(self._coordinator)
        version = min(connection.version(OffsetFetchRequest), _LAST_VERSION_BY_NAME)
        request = OffsetFetchRequest(require_stable=version >= 7)
        if version >= 8:
            by_group = [OffsetFetchRequestTopics(name=self._topic, partition_indexes=self.partitions)]
            request.groups = [OffsetFetchRequestGroup(group_id=self._group_id, topics=by_group)]
        else:
            request.group_id = self._group_id
            request.topics = [OffsetFetchRequestTopic(name=self._topic, partition_indexes=self.partitions)]
        response = await connection.send(request, OffsetFetchResponse, version=version)
        code = response.groups[0].error_code if version >= 8 else response.error_code
        offsets: dict[int, int] = {}
        for topic in response.groups[0].topics if version >= 8 else response.topics:
            for each in topic.partitions:
                code = code or each.error_code
                if each.committed_offset >= 0:
                    offsets[each.partition_index] = each.committed_offset
        return ErrorCode(code), offsets


def ranges(members: list[str], partitions: int) -> dict[str, list[int]]:
    """Kafka's range assignment: consecutive partitions, one more to the first members if it does not divide."""
    share, extra = divmod(partitions, len(members))
    assigned: dict[str, list[int]] = {}
    start = 0
    for index, member in enumerate(sorted(members)):
        end = start + share + (index < extra)
        assigned[member] = list(range(start, end))
        start = end
    return assigned
