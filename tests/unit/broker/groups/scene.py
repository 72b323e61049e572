"""One group coordinator with one partition, and members that talk to it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from odradek.broker.groups.options import GROUP_METADATA_TOPIC, GroupOptions
from odradek.broker.groups.service import GroupCoordinator
from odradek.ports import Promise, Slices, Turns, spawn
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_groups import DescribedGroup
from odradek.wire.messages.heartbeat import HeartbeatRequest
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponsePartitions,
)
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse
from odradek.wire.uuids import ZERO_UUID
from tests.unit.broker.coordinator.fake_log import FakeLog
from tests.unit.fakes import FakeWorld

T = TypeVar("T")

GROUP = "readers"
TOPIC = "orders"
TOPIC_ID = b"0123456789abcdef"
SHARD = TopicPartition(GROUP_METADATA_TOPIC, 0)
LATEST_JOIN = 9
DELAY_MS = 3000
SESSION_MS = 10_000
REBALANCE_MS = 60_000


def subscription(*topics: str) -> bytes:
    """What a consumer says it wants to read."""
    names = b"".join(len(topic).to_bytes(2, "big") + topic.encode() for topic in topics)
    return b"\x00\x00" + len(topics).to_bytes(4, "big") + names + b"\xff\xff\xff\xff"


def protocols(*names: str, metadata: bytes | None = None) -> list[JoinGroupRequestProtocol]:
    """The protocols of a consumer that reads `TOPIC`."""
    content = subscription(TOPIC) if metadata is None else metadata
    return [JoinGroupRequestProtocol(name=name, metadata=content) for name in names]


class Groups:
    """The coordinator, its log, and the requests that tests send."""

    def __init__(
        self, options: GroupOptions | None = None, log: FakeLog | None = None, seed: int = 0, partitions: int = 1
    ) -> None:
        self.world = FakeWorld(seed=seed)
        self.log = log or FakeLog()
        self.options = (options or GroupOptions())._replace(topic_partitions=partitions)
        self.coordinator = self._coordinator()
        for partition in range(partitions):
            self.coordinator.elected(partition, 0)
        self.world.run_soon()

    def _coordinator(self) -> GroupCoordinator:
        return GroupCoordinator(
            writer=self.log, options=self.options, clock=self.world, scheduler=self.world, random=self.world
        )

    def restart(self) -> None:
        """Crash, and load everything again from the log."""
        self.coordinator = self._coordinator()
        self.coordinator.elected(0, 1)
        self.world.run_soon()

    def slices(self) -> Slices:
        return Slices(Turns(self.world, self.world))

    def worked_out(self, work: Coroutine[Promise[object], None, Promise[T]]) -> T:
        """What a request was answered whose shards are asked one after the other."""
        asked = spawn(work)
        return self.answer(self.answer(asked))

    def answer(self, promise: Promise[T]) -> T:
        """What a request was answered, which it must have been by now."""
        self.world.run_soon()
        assert promise.done, "the request is still parked"
        return promise.result()

    def join(
        self,
        member_id: str = "",
        *,
        group: str = GROUP,
        instance: str | None = None,
        offers: list[JoinGroupRequestProtocol] | None = None,
        protocol_type: str = "consumer",
        version: int = LATEST_JOIN,
        session_ms: int = SESSION_MS,
        rebalance_ms: int = REBALANCE_MS,
        client_id: str = "client",
    ) -> Promise[JoinGroupResponse]:
        """Send a JoinGroup."""
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocols=protocols("range") if offers is None else offers,
        )
        return self.coordinator.join(request, version, client_id, "/127.0.0.1")

    def new_id(self, group: str = GROUP) -> str:
        """Ask for a member id."""
        response = self.answer(self.join(group=group))
        assert response.error_code == ErrorCode.MEMBER_ID_REQUIRED
        return response.member_id

    def form(self, count: int, *, group: str = GROUP) -> list[JoinGroupResponse]:
        """Let `count` new members join an empty group; their answers, the leader's first."""
        ids = [self.new_id(group) for _ in range(count)]
        joins = [self.join(member_id, group=group) for member_id in ids]
        self.world.advance(DELAY_MS * 2)
        answers = [self.answer(join) for join in joins]
        return sorted(answers, key=lambda answer: answer.leader != answer.member_id)

    def stable(self, count: int = 1, *, group: str = GROUP) -> list[str]:
        """A stable group of `count` members; their ids, the leader's first."""
        answers = self.form(count, group=group)
        ids = [answer.member_id for answer in answers]
        self.sync_all(ids, answers[0].generation_id, group=group)
        return ids

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group: str = GROUP,
        instance: str | None = None,
        protocol: str | None = "range",
    ) -> Promise[SyncGroupResponse]:
        """Send a SyncGroup."""
        request = SyncGroupRequest(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type="consumer",
            protocol_name=protocol,
            assignments=[
                SyncGroupRequestAssignment(member_id=name, assignment=content)
                for name, content in (assignments or {}).items()
            ],
        )
        return self.coordinator.sync(request)

    def sync_all(self, ids: list[str], generation: int, *, group: str = GROUP) -> list[bytes]:
        """All members sync, the leader (first) last; what each was assigned."""
        assignments = {member_id: f"for {member_id}".encode() for member_id in ids}
        followers = [self.sync(member_id, generation, group=group) for member_id in ids[1:]]
        leader = self.sync(ids[0], generation, assignments, group=group)
        return [self.answer(sync).assignment for sync in (leader, *followers)]

    def heartbeat(
        self, member_id: str, generation: int, *, group: str = GROUP, instance: str | None = None
    ) -> ErrorCode:
        """Send a Heartbeat."""
        request = HeartbeatRequest(
            group_id=group, generation_id=generation, member_id=member_id, group_instance_id=instance
        )
        return ErrorCode(self.answer(self.coordinator.heartbeat(request)).error_code)

    def leave(self, *members: tuple[str, str | None], group: str = GROUP) -> LeaveGroupResponse:
        """Send a LeaveGroup for (member id, group instance id) pairs."""
        identities = [MemberIdentity(member_id=name, group_instance_id=instance) for name, instance in members]
        return self.answer(self.coordinator.leave(LeaveGroupRequest(group_id=group, members=identities)))

    def commit(
        self,
        offset: int,
        *,
        group: str = GROUP,
        partition: int = 0,
        topic: str = TOPIC,
        topic_id: bytes = TOPIC_ID,
        member_id: str = "",
        generation: int = -1,
        metadata: str | None = "",
        retention_ms: int = -1,
        instance: str | None = None,
        version: int = 9,
    ) -> ErrorCode:
        """Commit one offset."""
        return ErrorCode(self.answer(self.send_commit(
            offset, group=group, partition=partition, topic=topic, topic_id=topic_id, member_id=member_id,
            generation=generation, metadata=metadata, retention_ms=retention_ms, instance=instance, version=version,
        )))  # fmt: skip

    def send_commit(
        self,
        offset: int,
        *,
        group: str = GROUP,
        partition: int = 0,
        topic: str = TOPIC,
        topic_id: bytes = TOPIC_ID,
        member_id: str = "",
        generation: int = -1,
        metadata: str | None = "",
        retention_ms: int = -1,
        instance: str | None = None,
        version: int = 9,
    ) -> Promise[int]:
        """Commit one offset; the promise of its error code."""
        entry = OffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_metadata=metadata
        )
        request = OffsetCommitRequest(
            group_id=group,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            group_instance_id=instance,
            retention_time_ms=retention_ms,
            topics=[OffsetCommitRequestTopic(name=topic, topic_id=topic_id, partitions=[entry])],
        )
        sent = self.coordinator.commit_offsets(request, version)
        return sent.then(lambda response: response.topics[0].partitions[0].error_code)

    def fetch(
        self,
        *partitions: int,
        group: str = GROUP,
        topic: str = TOPIC,
        topic_id: bytes = ZERO_UUID,
        stable: bool = False,
    ) -> list[OffsetFetchResponsePartitions]:
        """Fetch offsets of one topic."""
        topics = [OffsetFetchRequestTopics(name=topic, topic_id=topic_id, partition_indexes=list(partitions))]
        request = OffsetFetchRequestGroup(group_id=group, topics=topics)
        answer = self.answer(self.coordinator.fetch_offsets(request, require_stable=stable))
        assert answer.error_code == ErrorCode.NONE
        return answer.topics[0].partitions

    def offset(self, partition: int = 0, *, group: str = GROUP, topic: str = TOPIC) -> int:
        """The committed offset of a partition, -1 for none."""
        return self.fetch(partition, group=group, topic=topic)[0].committed_offset

    def offsets(self, group: str = GROUP) -> dict[tuple[str, int], int]:
        """All committed offsets of a group."""
        request = OffsetFetchRequestGroup(group_id=group, topics=None)
        answer = self.answer(self.coordinator.fetch_offsets(request, require_stable=False))
        return {
            (topic.name, partition.partition_index): partition.committed_offset
            for topic in answer.topics
            for partition in topic.partitions
        }

    def describe(self, group: str = GROUP) -> DescribedGroup:
        """Describe one group."""
        return self.worked_out(self.coordinator.describe([group], 6, self.slices()))[0]

    def listed(self, *states: str, types: tuple[str, ...] = ()) -> list[str]:
        """The ids of listed groups."""
        return [group.group_id for group in self.answer(self.coordinator.list_groups(states, types))]

    def delete(self, *groups: str) -> list[ErrorCode]:
        """Delete groups; an error code for each."""
        deletion = self.coordinator.delete(groups, self.slices())
        return [ErrorCode(result.error_code) for result in self.worked_out(deletion)]
