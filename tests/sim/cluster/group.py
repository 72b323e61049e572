"""Members of a consumer group (KIP-848) that read a topic among themselves, and commit how far they are."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
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
)
from odradek.wire.schema import Message
from tests.sim.cluster.client import RETRY_MS, Client
from tests.sim.cluster.consumer import Consumer
from tests.sim.cluster.named import OFFSETS
from tests.sim.cluster.recorder import Assign, Outcome, Recorder

Resp = TypeVar("Resp", bound=Message)

_GROUP = 0
HEARTBEAT_MS = 500.0
_REBALANCE_TIMEOUT_MS = 5000
_NEW_MEMBER_EPOCH = 0


class PendingCommit(NamedTuple):
    """Asked for by a member, and not answered."""

    who: str
    offset: int


class GroupWatch:
    """What a group has committed and read, whoever its members were."""

    def __init__(self, name: str, partitions: int, on_violation: Callable[[str, str], None]) -> None:
        self.name = name
        self.read_to = dict.fromkeys(range(partitions), 0)
        """Up to where all has been read by somebody."""
        self._committed = dict.fromkeys(range(partitions), 0)
        """The highest offset whose commit was acknowledged."""
        self.on_commit: Callable[[str, int, int], None] = lambda _host, _partition, _offset: None
        """Called when a member is about to ask for a commit: its host, the partition, the offset."""
        self._unknown: dict[int, list[PendingCommit]] = {partition: [] for partition in range(partitions)}
        """Commits that may have come about, or may yet."""
        self._on_violation = on_violation

    def committed(self, partition: int) -> int:
        """What a fetch that begins now may not fall behind."""
        return self._committed[partition]

    def read(self, partition: int, start: int, end: int) -> None:
        """A member has read this."""
        if start <= self.read_to[partition]:
            self.read_to[partition] = max(self.read_to[partition], end)

    def commits(self, partition: int, offset: int, who: str, host: str) -> None:
        """A member asks for a commit."""
        self._unknown[partition].append(PendingCommit(who, offset))
        self.on_commit(host, partition, offset)

    def commit_done(self, partition: int, offset: int, who: str) -> None:
        """It was answered that this is committed."""
        commit = PendingCommit(who, offset)
        if commit in self._unknown[partition]:
            self._unknown[partition].remove(commit)
        self._committed[partition] = max(self._committed[partition], offset)

    def fetched(self, partition: int, offset: int, at_least: int, who: str) -> None:
        """A new owner is told that this is committed; -1 for nothing.

        What others have asked for, and was not done when they lost the partition, must not be done any more.
        """
        offset = max(offset, 0)
        unknown = self._unknown[partition]
        self._unknown[partition] = [commit for commit in unknown if commit.who == who]
        if offset < at_least and not any(commit.offset == offset for commit in unknown):
            self._on_violation(
                OFFSETS, f"{who}: offset {offset} of partition {partition} is committed, after {at_least} was"
            )
        if offset > self.read_to[partition]:
            self._on_violation(
                OFFSETS,
                f"{who}: offset {offset} of partition {partition} is committed, and the group has read all up to "
                f"{self.read_to[partition]} only",
            )


class Fenced(Exception):
    """The member is no member any more."""


_REJOIN = (ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION)


class GroupMember:
    """Joins, reads what it is assigned, commits, and joins again when it is fenced."""

    def __init__(self, client: Client, watch: GroupWatch, consumer: Consumer, recorder: Recorder) -> None:
        self.client = client
        self.last_ok_ms = -1.0
        """When the last commit began that was acknowledged."""
        self._watch = watch
        self._consumer = consumer
        self._recorder = recorder
        self._positions = consumer.positions
        self._positions.clear()
        self._lives = itertools.count(1)
        self._coordinator = -1
        self._member_id = ""
        self._epoch = _NEW_MEMBER_EPOCH
        self._uncommitted: dict[int, int] = {}
        consumer.on_read = self._read

    async def run(self) -> None:
        """For ever."""
        await self.client.refresh()
        while True:
            self._begin()
            self._positions.clear()
            self._uncommitted.clear()
            self._consumer.name = f"{self.client.process.name}.{next(self._lives)}"
            try:
                await self._live()
            except Fenced:
                await self.client.sleep(RETRY_MS)

    def _begin(self) -> None:
        """Be somebody else, who has not joined yet."""
        self._member_id = str(uuid.UUID(bytes=self.client.random.randbytes(16), version=4))
        self._epoch = _NEW_MEMBER_EPOCH

    @property
    def _who(self) -> str:
        """Whose commits and assignments these are: what another one has asked for must not come about any more."""
        return self._consumer.name

    async def _live(self) -> None:
        client = self.client
        heartbeat_ms = client.process.kernel.now_ms
        while True:
            now_ms = client.process.kernel.now_ms
            if now_ms >= heartbeat_ms:
                heartbeat_ms = now_ms + HEARTBEAT_MS
                await self._heartbeat()
                await self._commit(list(self._uncommitted))
            if not self._positions or not await self._consumer.poll():
                await client.sleep(RETRY_MS)
                await client.refresh()
            else:
                await client.sleep(RETRY_MS * client.random.random())

    def _read(self, partition: int, start: int, end: int) -> None:
        self._watch.read(partition, start, end)
        self._uncommitted[partition] = end

    async def _heartbeat(self) -> None:
        owned = [
            ConsumerGroupHeartbeatRequestTopicPartitions(
                topic_id=self.client.topic_id, partitions=sorted(self._positions)
            )
        ]
        request = ConsumerGroupHeartbeatRequest(
            group_id=self._watch.name,
            member_id=self._member_id,
            member_epoch=self._epoch,
            rebalance_timeout_ms=_REBALANCE_TIMEOUT_MS,
            subscribed_topic_names=[self.client.topic],
            topic_partitions=owned if self._positions else [],
        )
        response = await self._coordinated(request, ConsumerGroupHeartbeatResponse)
        if response is None:
            return
        code = ErrorCode(response.error_code)
        if code in _REJOIN:
            raise Fenced
        if code is not ErrorCode.NONE:
            self._coordinator = -1
            return
        self._recorder.requests += 1
        self._epoch = response.member_epoch
        if response.assignment is not None:
            assigned = [
                partition
                for topic in response.assignment.topic_partitions
                if topic.topic_id == self.client.topic_id
                for partition in topic.partitions
            ]
            await self._take(assigned)

    async def _take(self, assigned: Sequence[int]) -> None:
        revoked = [partition for partition in self._positions if partition not in assigned]
        await self._commit(revoked)
        for partition in revoked:
            del self._positions[partition]
            self._uncommitted.pop(partition, None)
        gained = [partition for partition in assigned if partition not in self._positions]
        if gained:
            await self._fetch(gained)
        if gained or revoked:
            operation = self._recorder.invoke(self._consumer.name, "assign")
            self._recorder.end(operation, Outcome.OK, [Assign()])

    async def _fetch(self, partitions: list[int]) -> None:
        """Begin where the group has committed; what cannot be learnt now is asked for with the next assignment."""
        at_least = {partition: self._watch.committed(partition) for partition in partitions}
        topic = OffsetFetchRequestTopics(topic_id=self.client.topic_id, partition_indexes=partitions)
        request = OffsetFetchRequest(groups=[self._asking(topic)], require_stable=True)
        while True:
            response = await self._coordinated(request, OffsetFetchResponse)
            if response is not None:
                (answer,) = response.groups
                code = ErrorCode(answer.error_code)
                if code in _REJOIN or code is ErrorCode.STALE_MEMBER_EPOCH:
                    raise Fenced
                found = [each for each_topic in answer.topics for each in each_topic.partitions]
                if code is ErrorCode.NONE and all(each.error_code == ErrorCode.NONE for each in found):
                    break
                if code is not ErrorCode.NONE:
                    self._coordinator = -1
            await self.client.sleep(RETRY_MS)
        for each in found:
            partition = each.partition_index
            self._watch.fetched(partition, each.committed_offset, at_least[partition], self._who)
            self._positions[partition] = max(each.committed_offset, 0)
            # Else it might ask one that led before, which does not have what others have read since.
            self.client.heard_of(partition, each.committed_leader_epoch)

    def _asking(self, topic: OffsetFetchRequestTopics) -> OffsetFetchRequestGroup:
        return OffsetFetchRequestGroup(
            group_id=self._watch.name, member_id=self._member_id, member_epoch=self._epoch, topics=[topic]
        )

    async def _commit(self, partitions: Sequence[int]) -> None:
        offsets = {
            partition: self._uncommitted[partition] for partition in partitions if partition in self._uncommitted
        }
        if not offsets:
            return
        client, who = self.client, self._who
        began_ms = client.process.kernel.now_ms
        topic = OffsetCommitRequestTopic(
            topic_id=client.topic_id,
            partitions=[
                OffsetCommitRequestPartition(
                    partition_index=partition,
                    committed_offset=offset,
                    committed_leader_epoch=self._consumer.read_epochs[partition],
                    committed_metadata="",
                )
                for partition, offset in offsets.items()
            ],
        )
        request = OffsetCommitRequest(
            group_id=self._watch.name,
            generation_id_or_member_epoch=self._epoch,
            member_id=self._member_id,
            topics=[topic],
        )
        for partition, offset in offsets.items():
            self._watch.commits(partition, offset, who, client.process.host)
        response = await self._coordinated(request, OffsetCommitResponse)
        if response is None:
            return
        for answer in response.topics[0].partitions:
            partition, code = answer.partition_index, ErrorCode(answer.error_code)
            if code is ErrorCode.NONE:
                self._watch.commit_done(partition, offsets[partition], who)
                self._recorder.requests += 1
                self.last_ok_ms = began_ms
                if self._uncommitted.get(partition) == offsets[partition]:
                    del self._uncommitted[partition]
            elif code in _REJOIN:
                raise Fenced
            else:
                self._coordinator = -1

    async def _coordinated(self, request: Message, response: type[Resp]) -> Resp | None:
        """What the coordinator answers; None if it does not."""
        client = self.client
        if self._coordinator < 0:
            await self._find_coordinator()
        if self._coordinator < 0:
            await client.sleep(RETRY_MS)
            return None
        try:
            return await client.ask(self._coordinator, request, response)
        except KafkaError:
            self._coordinator = -1
            return None

    async def _find_coordinator(self) -> None:
        request = FindCoordinatorRequest(key_type=_GROUP, coordinator_keys=[self._watch.name])
        try:
            response = await self.client.ask(self.client.any_node(), request, FindCoordinatorResponse)
        except KafkaError:
            return
        (found,) = response.coordinators
        if found.error_code == ErrorCode.NONE:
            self._coordinator = found.node_id
