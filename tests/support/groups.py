"""A classic group's member over a raw connection: every request of the protocol by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponsePartitions,
)
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from tests.support.requests import Address, code, connect
from tests.support.wire import Connection

JOIN_VERSION = 9
COMMIT_VERSION = 9
"""The last version of OffsetCommit that names topics."""
FETCH_VERSION = 9


class RawMember:
    """Has its own connection, because JoinGroup is answered late."""

    def __init__(
        self,
        target: Address,
        group: str,
        *,
        instance: str | None = None,
        protocols: Sequence[str] = ("range",),
        session_timeout_ms: int = 10_000,
        rebalance_timeout_ms: int = 10_000,
        protocol_type: str = "consumer",
    ) -> None:
        self.connection = connect(target)
        self.group = group
        self.instance = instance
        self.protocols = protocols
        self.session_timeout_ms = session_timeout_ms
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.protocol_type = protocol_type
        self.member_id = ""
        self.generation = -1
        self._joining = 0

    def close(self) -> None:
        self.connection.close()

    def start_join(self, version: int = JOIN_VERSION) -> None:
        """Send JoinGroup; the answer waits for the other members."""
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=self.session_timeout_ms,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type=self.protocol_type,
            protocols=[JoinGroupRequestProtocol(name=name, metadata=name.encode()) for name in self.protocols],
        )
        self._joining = self.connection.send(request, version)

    def finish_join(self, version: int = JOIN_VERSION) -> JoinGroupResponse:
        answer = self.connection.receive(JoinGroupResponse, version, self._joining)
        if code(answer.error_code) in ("NONE", "MEMBER_ID_REQUIRED"):
            self.member_id = answer.member_id
            self.generation = answer.generation_id
        return answer

    def get_member_id(self) -> None:
        """KIP-394: a new dynamic member is told its id first."""
        if self.instance is None:
            self.start_join()
            answer = self.finish_join()
            assert code(answer.error_code) == "MEMBER_ID_REQUIRED"

    def join(self) -> JoinGroupResponse:
        """Join a group whose other members are joining too, or that has none."""
        if not self.member_id:
            self.get_member_id()
        self.start_join()
        return self.finish_join()

    def sync(self, assignments: Mapping[str, bytes] | None = None) -> SyncGroupResponse:
        return self.connection.call(self.sync_request(assignments), SyncGroupResponse)

    def sync_request(self, assignments: Mapping[str, bytes] | None = None) -> SyncGroupRequest:
        return SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type=self.protocol_type,
            protocol_name=self.protocols[0],
            assignments=[
                SyncGroupRequestAssignment(member_id=member, assignment=assignment)
                for member, assignment in (assignments or {}).items()
            ],
        )

    def heartbeat(self) -> str:
        request = HeartbeatRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance,
        )
        return code(self.connection.call(request, HeartbeatResponse).error_code)

    def leave(self) -> str:
        identity = MemberIdentity(member_id=self.member_id, group_instance_id=self.instance)
        request = LeaveGroupRequest(group_id=self.group, members=[identity])
        answer = self.connection.call(request, LeaveGroupResponse)
        return code(answer.error_code or answer.members[0].error_code)

    def commit(self, topic: str, offset: int, *, partition: int = 0, metadata: str | None = "") -> str:
        return commit(
            self.connection,
            self.group,
            topic,
            offset,
            partition=partition,
            metadata=metadata,
            member_id=self.member_id,
            generation=self.generation,
            instance=self.instance,
        )


def commit(
    connection: Connection,
    group: str,
    topic: str,
    offset: int,
    *,
    partition: int = 0,
    metadata: str | None = "",
    member_id: str = "",
    generation: int = -1,
    instance: str | None = None,
    leader_epoch: int = -1,
    version: int = COMMIT_VERSION,
) -> str:
    """OffsetCommit of one partition; without a member id it is a simple consumer's. Returns the error's name."""
    wanted = OffsetCommitRequestPartition(
        partition_index=partition,
        committed_offset=offset,
        committed_metadata=metadata,
        committed_leader_epoch=leader_epoch,
    )
    request = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        group_instance_id=instance,
        topics=[OffsetCommitRequestTopic(name=topic, partitions=[wanted])],
    )
    return code(connection.call(request, OffsetCommitResponse, version).topics[0].partitions[0].error_code)


def committed(connection: Connection, group: str, topic: str, partition: int = 0) -> OffsetFetchResponsePartitions:
    wanted = OffsetFetchRequestTopics(name=topic, partition_indexes=[partition])
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=[wanted])])
    answer = connection.call(request, OffsetFetchResponse, FETCH_VERSION).groups[0]
    assert code(answer.error_code) == "NONE"
    return answer.topics[0].partitions[0]
