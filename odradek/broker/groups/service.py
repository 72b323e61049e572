"""The group coordinator as the handlers see it: a request in, the promise of its response out."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from odradek.broker.coordinator.result import Producer
from odradek.broker.coordinator.runtime import CoordinatorRuntime
from odradek.broker.coordinator.shard import ShardContext
from odradek.broker.coordinator.writer import PartitionWriter
from odradek.broker.groups.classic.join import Join
from odradek.broker.groups.consumer.environment import Environment, TopicsChange, fixed_environment
from odradek.broker.groups.consumer.heartbeat import Beat, check_heartbeat
from odradek.broker.groups.descriptions import FIRST_WITH_GROUP_ID_NOT_FOUND
from odradek.broker.groups.options import GROUP_METADATA_TOPIC, GroupOptions
from odradek.broker.groups.partitions import partition_for
from odradek.broker.groups.records import group_record_codec
from odradek.broker.groups.shard import GroupShard
from odradek.ports import Clock, Promise, Random, Scheduler, Slices, Turns, flatten, gather, spawn
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.consumer_group_describe import DescribedGroup as DescribedConsumerGroup
from odradek.wire.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatResponse
from odradek.wire.messages.delete_groups import DeletableGroupResult
from odradek.wire.messages.describe_groups import DescribedGroup
from odradek.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberResponse
from odradek.wire.messages.list_groups import ListedGroup
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from odradek.wire.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from odradek.wire.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchResponseGroup
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

T = TypeVar("T")


class GroupCoordinator:
    """All groups whose partitions of `__consumer_offsets` this broker leads."""

    def __init__(
        self,
        *,
        writer: PartitionWriter,
        options: GroupOptions,
        clock: Clock,
        scheduler: Scheduler,
        random: Random,
        partition_count: Callable[[], int | None] = lambda: None,
        environment: Environment | None = None,
    ) -> None:
        """`partition_count` tells how many partitions `__consumer_offsets` has, None while it does not exist."""
        self._options = options
        self._turns = Turns(clock, scheduler)
        self._partition_count = partition_count

        def new_shard(context: ShardContext[GroupShard]) -> GroupShard:
            return GroupShard(context, options, random, environment or fixed_environment())

        self.runtime: CoordinatorRuntime[GroupShard] = CoordinatorRuntime(
            writer=writer,
            codec=group_record_codec(),
            factory=new_shard,
            clock=clock,
            scheduler=scheduler,
            write_timeout_ms=options.commit_timeout_ms,
            load_buffer_bytes=options.load_buffer_bytes,
            compression=options.compression,
        )

    def partition_for(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` whose leader coordinates the group."""
        return partition_for(group_id, self._partition_count() or self._options.topic_partitions)

    def elected(self, partition: int, leader_epoch: int) -> None:
        """This broker leads the partition from `leader_epoch` on."""
        self.runtime.load(TopicPartition(GROUP_METADATA_TOPIC, partition), leader_epoch)

    def resigned(self, partition: int, leader_epoch: int | None) -> None:
        """This broker leads the partition no longer; None where the partition is gone."""
        self.runtime.unload(TopicPartition(GROUP_METADATA_TOPIC, partition), leader_epoch)

    def topics_changed(self, change: TopicsChange) -> None:
        """Topics changed, came or went: groups that read them look at them with their next heartbeat."""
        for outcome in self.runtime.write_all(lambda shard: shard.consumers.topics_changed(change)):
            outcome.on_done(_ignore_outcome)

    def topics_deleted(self, topics: Mapping[str, Uuid]) -> None:
        """Topics (ids by name) are gone: so are the offsets committed for them."""
        if topics:
            spawn(self._forget_topics(topics))

    async def _forget_topics(self, topics: Mapping[str, Uuid]) -> None:
        """One shard after the other: together they could keep the thread for long."""
        for partition in self.runtime.partitions():
            outcome = self.runtime.write(partition, lambda shard: shard.commits.topics_deleted(topics))
            outcome.on_done(_log_cleanup)
            with contextlib.suppress(Exception):  # logged
                await outcome

    def close(self) -> None:
        """Give up all groups; parked requests are answered NOT_COORDINATOR."""
        self.runtime.close()

    def join(
        self, request: JoinGroupRequest, version: int, client_id: str, client_host: str
    ) -> Promise[JoinGroupResponse]:
        """Handle JoinGroup; settled when the next generation is formed."""
        if not request.group_id:
            return Promise.of(_refused_join(request, ErrorCode.INVALID_GROUP_ID))
        options = self._options
        if not options.min_session_timeout_ms <= request.session_timeout_ms <= options.max_session_timeout_ms:
            return Promise.of(_refused_join(request, ErrorCode.INVALID_SESSION_TIMEOUT))
        reply: Promise[JoinGroupResponse] = Promise()
        join = Join(request, version, client_id, client_host, reply)

        def failed(outcome: Promise[None]) -> None:
            if outcome.error is not None:
                reply.resolve(JoinGroupResponse(error_code=_code(outcome.error)))

        self.runtime.write(self._shard_of(request.group_id), lambda shard: shard.join(join)).on_done(failed)
        return reply

    def sync(self, request: SyncGroupRequest) -> Promise[SyncGroupResponse]:
        """Handle SyncGroup; settled when the leader's assignment is stored."""
        if not request.group_id:
            return Promise.of(SyncGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID))
        reply: Promise[SyncGroupResponse] = Promise()

        def failed(outcome: Promise[None]) -> None:
            if outcome.error is not None:
                reply.resolve(SyncGroupResponse(error_code=_code(outcome.error)))

        write = self.runtime.write(self._shard_of(request.group_id), lambda shard: shard.sync(request, reply))
        write.on_done(failed)
        return reply

    def heartbeat(self, request: HeartbeatRequest) -> Promise[HeartbeatResponse]:
        """Handle Heartbeat; while the group is being loaded, nobody's session is known to have ended."""
        if not request.group_id:
            return Promise.of(HeartbeatResponse(error_code=ErrorCode.INVALID_GROUP_ID))

        def failed(error: KafkaError) -> HeartbeatResponse:
            loading = error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
            return HeartbeatResponse(error_code=ErrorCode.NONE if loading else error.code)

        shard = self._shard_of(request.group_id)
        return _recover(self.runtime.write(shard, lambda shard: shard.heartbeat(request)), failed)

    def consumer_heartbeat(self, beat: Beat, version: int) -> Promise[ConsumerGroupHeartbeatResponse]:
        """Handle ConsumerGroupHeartbeat."""

        def failed(error: KafkaError) -> ConsumerGroupHeartbeatResponse:
            return ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=error_text(error))

        try:
            check_heartbeat(beat.request, version, self._options.consumer_assignors)
        except KafkaError as error:
            return Promise.of(failed(error))
        shard = self._shard_of(beat.request.group_id)
        return _recover(self.runtime.write(shard, lambda shard: shard.consumers.heartbeats.heartbeat(beat)), failed)

    async def describe_consumers(
        self, group_ids: Sequence[str], slices: Slices
    ) -> Promise[list[DescribedConsumerGroup]]:
        """Handle ConsumerGroupDescribe."""

        def describe(shard: TopicPartition, ids: list[str]) -> Promise[list[DescribedConsumerGroup]]:
            return _recover(
                self.runtime.read(shard, lambda shard: [shard.consumers.describe(group_id) for group_id in ids]),
                lambda error: [DescribedConsumerGroup(group_id=group_id, error_code=error.code) for group_id in ids],
            )

        nameless = [
            Promise.of([DescribedConsumerGroup(group_id="", error_code=ErrorCode.INVALID_GROUP_ID)])
            for group_id in group_ids
            if not group_id
        ]
        named = [group_id for group_id in group_ids if group_id]
        by_shard = await self._by_shard(named, slices)
        described = [describe(shard, ids) async for shard, ids in slices.each_long(by_shard)]
        return _concatenated([*nameless, *described])

    def leave(self, request: LeaveGroupRequest) -> Promise[LeaveGroupResponse]:
        """Handle LeaveGroup in the form with a list of members."""
        if not request.group_id:
            return Promise.of(LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID))

        def failed(error: KafkaError) -> LeaveGroupResponse:
            if error.code is not ErrorCode.UNKNOWN_MEMBER_ID:
                return LeaveGroupResponse(error_code=error.code)
            return LeaveGroupResponse(
                members=[
                    MemberResponse(
                        member_id=member.member_id,
                        group_instance_id=member.group_instance_id,
                        error_code=error.code,
                    )
                    for member in request.members
                ]
            )

        shard = self._shard_of(request.group_id)
        return _recover(self.runtime.write(shard, lambda shard: shard.leave(request)), failed)

    def commit_offsets(self, request: OffsetCommitRequest, version: int) -> Promise[OffsetCommitResponse]:
        """Handle OffsetCommit of partitions that exist, whose topics carry names and ids."""

        def failed(error: KafkaError) -> OffsetCommitResponse:
            return refused_commit(request, error.code)

        shard = self._shard_of(request.group_id)
        return _recover(self.runtime.write(shard, lambda shard: shard.commits.commit(request, version)), failed)

    def commit_offsets_in_transaction(
        self, request: TxnOffsetCommitRequest, version: int, producer: Producer
    ) -> Promise[TxnOffsetCommitResponse]:
        """Handle TxnOffsetCommit of partitions that exist, whose topics carry names and ids."""
        shard = self._shard_of(request.group_id)
        write = self.runtime.write(shard, lambda shard: shard.commits.commit_in_transaction(request, version), producer)
        return _recover(write, lambda error: refused_commit_in_transaction(request, error.code))

    def complete_transaction(
        self, partition: int, producer: Producer, coordinator_epoch: int, *, committed: bool, transaction_version: int
    ) -> Promise[None]:
        """Write the marker that ends a producer's transaction: its offsets count from here on, or are forgotten."""
        return self.runtime.complete_transaction(
            TopicPartition(GROUP_METADATA_TOPIC, partition),
            producer,
            coordinator_epoch,
            committed=committed,
            transaction_version=transaction_version,
        )

    def fetch_offsets(
        self, request: OffsetFetchRequestGroup, *, require_stable: bool
    ) -> Promise[OffsetFetchResponseGroup]:
        """Handle one group of an OffsetFetch, whose topics carry names and ids."""

        def failed(error: KafkaError) -> OffsetFetchResponseGroup:
            # COORDINATOR_NOT_AVAILABLE stands for a partition that is offline or lags: clients of before 3.9 retry
            # NOT_COORDINATOR only.
            lagging = error.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
            code = ErrorCode.NOT_COORDINATOR if lagging else error.code
            return OffsetFetchResponseGroup(group_id=request.group_id, error_code=code)

        shard = self._shard_of(request.group_id)
        if not require_stable:
            read = self.runtime.read(shard, lambda shard: shard.fetches.fetch(request, stable=False))
            return _recover(read, failed)
        return _recover(self.runtime.write(shard, lambda shard: shard.fetch_stable(request)), failed)

    def delete_offsets(self, request: OffsetDeleteRequest) -> Promise[OffsetDeleteResponse]:
        """Handle OffsetDelete of partitions that exist."""
        if not request.group_id:
            return Promise.of(OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID))
        shard = self._shard_of(request.group_id)
        return _recover(
            self.runtime.write(shard, lambda shard: shard.commits.delete(request)),
            lambda error: OffsetDeleteResponse(error_code=error.code),
        )

    async def describe(self, group_ids: Sequence[str], version: int, slices: Slices) -> Promise[list[DescribedGroup]]:
        """Handle DescribeGroups."""

        def describe(shard: TopicPartition, ids: list[str]) -> Promise[list[DescribedGroup]]:
            return _recover(
                self.runtime.read(shard, lambda shard: shard.descriptions.describe(ids, version)),
                lambda error: [_undescribed(group_id, version, error) for group_id in ids],
            )

        by_shard = await self._by_shard(group_ids, slices)
        return _concatenated([describe(shard, ids) async for shard, ids in slices.each_long(by_shard)])

    def list_groups(self, states: Sequence[str], types: Sequence[str]) -> Promise[list[ListedGroup]]:
        """Handle ListGroups; fails with COORDINATOR_LOAD_IN_PROGRESS while a shard is being loaded."""

        def no_groups(error: KafkaError) -> list[ListedGroup]:
            if error.code is ErrorCode.NOT_COORDINATOR:
                return []
            raise error

        def read(shard: TopicPartition) -> Promise[list[ListedGroup]]:
            listed = self.runtime.read(shard, lambda shard: shard.descriptions.list_groups(states, types))
            return _recover(listed, no_groups)

        async def read_all() -> Promise[list[ListedGroup]]:
            return _concatenated(
                [read(shard) async for shard in Slices(self._turns).each_long(self.runtime.partitions())]
            )

        return flatten(spawn(read_all()))

    async def delete(self, group_ids: Sequence[str], slices: Slices) -> Promise[list[DeletableGroupResult]]:
        """Handle DeleteGroups."""

        def delete(shard: TopicPartition, ids: list[str]) -> Promise[list[DeletableGroupResult]]:
            return _recover(
                self.runtime.write(shard, lambda shard: shard.delete_groups(ids)),
                lambda error: [DeletableGroupResult(group_id=group_id, error_code=error.code) for group_id in ids],
            )

        by_shard = await self._by_shard(group_ids, slices)
        return _concatenated([delete(shard, ids) async for shard, ids in slices.each_long(by_shard)])

    def _shard_of(self, group_id: str) -> TopicPartition:
        return TopicPartition(GROUP_METADATA_TOPIC, self.partition_for(group_id))

    async def _by_shard(self, group_ids: Sequence[str], slices: Slices) -> list[tuple[TopicPartition, list[str]]]:
        by_shard: dict[TopicPartition, list[str]] = {}
        async for group_id in slices.each(group_ids):
            by_shard.setdefault(self._shard_of(group_id), []).append(group_id)
        return list(by_shard.items())


def refused_commit(request: OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse:
    """An OffsetCommit that failed as a whole: every partition says so."""
    return OffsetCommitResponse(
        topics=[
            OffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def refused_commit_in_transaction(request: TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse:
    """A TxnOffsetCommit that failed as a whole: every partition says so."""
    return TxnOffsetCommitResponse(
        topics=[
            TxnOffsetCommitResponseTopic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    TxnOffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _undescribed(group_id: str, version: int, error: KafkaError) -> DescribedGroup:
    message = error.message if version >= FIRST_WITH_GROUP_ID_NOT_FOUND else None
    return DescribedGroup(group_id=group_id, error_code=error.code, error_message=message)


def _refused_join(request: JoinGroupRequest, code: ErrorCode) -> JoinGroupResponse:
    return JoinGroupResponse(member_id=request.member_id, error_code=code)


def _recover(promise: Promise[T], answer: Callable[[KafkaError], T]) -> Promise[T]:
    """`promise`, with `answer(error)` in the place of a KafkaError."""
    result: Promise[T] = Promise()

    def settle(source: Promise[T]) -> None:
        if source.error is None:
            result.resolve(source.result())
        elif not isinstance(source.error, KafkaError):
            result.reject(source.error)
        else:
            try:
                result.resolve(answer(source.error))
            except KafkaError as error:
                result.reject(error)

    promise.on_done(settle)
    return result


def _concatenated(parts: Sequence[Promise[list[T]]]) -> Promise[list[T]]:
    return gather(parts).then(lambda lists: [entry for part in lists for entry in part])


def _code(error: BaseException) -> ErrorCode:
    return error.code if isinstance(error, KafkaError) else ErrorCode.UNKNOWN_SERVER_ERROR


def error_text(error: KafkaError) -> str:
    """What a client is told in words."""
    return error.message or error.code.message


def _ignore_outcome(_outcome: Promise[None]) -> None:
    """A shard that is being loaded looks at all topics anyway."""


def _log_cleanup(outcome: Promise[None]) -> None:
    if outcome.error is not None:
        _log.warning("offsets of deleted topics remain for now: %s", outcome.error)
