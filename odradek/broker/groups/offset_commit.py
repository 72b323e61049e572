"""OffsetCommit and OffsetDelete, and the offsets that go when topics and groups do."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult
from odradek.broker.groups.classic.group import ClassicGroup
from odradek.broker.groups.classic.rebalance import Rebalances
from odradek.broker.groups.classic.state import GroupState
from odradek.broker.groups.committed_offset import NO_TIMESTAMP, CommittedOffset
from odradek.broker.groups.member_check import Claim, PartitionCheck, check_commit
from odradek.broker.groups.offset_store import OffsetStore, TopicAndPartition
from odradek.broker.groups.records import offset_record, offset_tombstone
from odradek.broker.groups.table import Group, GroupTable
from odradek.ports import Slices
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from odradek.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestTopic,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)
from odradek.wire.uuids import ZERO_UUID, Uuid

FIRST_WITH_GROUP_ID_NOT_FOUND = 9
FIRST_IN_TRANSACTION_WITH_GROUP_ID_NOT_FOUND = 6
_LIVE = (GroupState.STABLE, GroupState.PREPARING_REBALANCE, GroupState.COMPLETING_REBALANCE)


class OffsetCommits:
    """Decides which offsets are written and removed."""

    def __init__(self, table: GroupTable, rebalances: Rebalances, store: OffsetStore) -> None:
        self._table = table
        self._rebalances = rebalances
        self._store = store

    async def commit(self, request: OffsetCommitRequest, version: int) -> CoordinatorResult[OffsetCommitResponse]:
        """Handle one OffsetCommit of existing partitions; every topic has its name, and its id where there is one.

        A commit without generation creates the group if there is none: a consumer that assigns its own partitions.
        Raises what `_check` raises, and what that returns.
        """
        check_partition = self._check(request, version)
        now_ms = self._table.now_ms()
        expire_ms = None if request.retention_time_ms == NO_TIMESTAMP else now_ms + request.retention_time_ms
        records: list[CoordinatorRecord] = []
        response = OffsetCommitResponse()
        slices = self._table.context.slices()
        for topic in request.topics:
            answer = OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id)
            response.topics.append(answer)
            async for partition in slices.each(topic.partitions):
                code = self._metadata_fault(partition)
                answer.partitions.append(
                    OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                )
                if code is ErrorCode.NONE:
                    if check_partition is not None:
                        check_partition(topic.name, topic.topic_id, partition.partition_index)
                    committed = _committed(partition, topic.topic_id, now_ms, expire_ms)
                    records.append(offset_record(request.group_id, topic.name, partition.partition_index, committed))
        return CoordinatorResult(records, response)

    async def commit_in_transaction(
        self, request: TxnOffsetCommitRequest, version: int
    ) -> CoordinatorResult[TxnOffsetCommitResponse]:
        """Handle one TxnOffsetCommit, like an OffsetCommit; its offsets count once the transaction is committed."""
        check_partition = self._check(request, version)
        now_ms = self._table.now_ms()
        records: list[CoordinatorRecord] = []
        response = TxnOffsetCommitResponse()
        slices = self._table.context.slices()
        for topic in request.topics:
            answer = TxnOffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id)
            response.topics.append(answer)
            async for partition in slices.each(topic.partitions):
                code = self._metadata_fault(partition)
                answer.partitions.append(
                    TxnOffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code)
                )
                if code is ErrorCode.NONE:
                    if check_partition is not None:
                        check_partition(topic.name, topic.topic_id, partition.partition_index)
                    committed = _committed(partition, topic.topic_id, now_ms, None)
                    records.append(offset_record(request.group_id, topic.name, partition.partition_index, committed))
        return CoordinatorResult(records, response)

    async def delete(self, request: OffsetDeleteRequest) -> CoordinatorResult[OffsetDeleteResponse]:
        """Handle one OffsetDelete; raises GROUP_ID_NOT_FOUND, or NON_EMPTY_GROUP for members of another kind."""
        group = self._table.existing(request.group_id)
        if isinstance(group, ClassicGroup) and group.state in _LIVE and not group.is_consumer_group:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)
        records: list[CoordinatorRecord] = []
        slices = self._table.context.slices()
        topics = [await self._delete_topic(group, topic, records, slices) for topic in request.topics]
        return CoordinatorResult(records, OffsetDeleteResponse(topics=topics))

    def delete_all(self, group_id: str) -> list[CoordinatorRecord]:
        """Tombstones for everything that a group has committed, in transactions or not."""
        keys = {key: None for key, _ in self._store.latest_items(group_id)}
        keys.update({key: None for _, key, _ in self._store.pending_keys(group_id)})
        return [offset_tombstone(group_id, topic, partition) for topic, partition in keys]

    async def topics_deleted(self, topics: Mapping[str, Uuid]) -> CoordinatorResult[None]:
        """Remove the offsets of topics that are gone (ids by name); offsets of a namesake with another id stay."""
        gone: dict[tuple[str, str, int], None] = {}
        slices = self._table.context.slices()
        for group_id in self._store.group_ids():
            async for key, committed in slices.each(self._store.latest_items(group_id)):
                if _is_of_deleted(topics, key, committed):
                    gone[group_id, *key] = None
        for group_id, key, committed in self._store.pending_keys():
            if _is_of_deleted(topics, key, committed):
                gone[group_id, *key] = None
        tombstones = [offset_tombstone(*key) async for key in slices.each(gone)]
        return CoordinatorResult(tombstones, None, atomic=False)

    def expire(self, group_id: str) -> tuple[list[CoordinatorRecord], bool]:
        """Tombstones for the group's expired offsets, and whether nothing is left that keeps the group.

        Offsets count from when the group became empty, or, in groups without members of their own or while
        consumers who do not read the topic are at work, from when they were committed.
        """
        group = self._table.existing(group_id)
        items = self._store.latest_items(group_id)
        if not items:
            return [], not self._store.has_pending(group_id)
        if not _may_expire(group):
            return [], False
        now_ms = self._table.now_ms()
        empty_since_ms = _empty_since_ms(group)
        tombstones = []
        for (topic, partition), committed in items:
            if (
                not group.is_subscribed_to(topic)
                and self._is_expired(committed, empty_since_ms, now_ms)
                and not self._store.is_pending(group_id, (topic, partition))
            ):
                tombstones.append(offset_tombstone(group_id, topic, partition))
        return tombstones, len(tombstones) == len(items) and not self._store.has_pending(group_id)

    def _check(self, request: OffsetCommitRequest | TxnOffsetCommitRequest, version: int) -> PartitionCheck | None:
        """What has to be asked of each partition that is committed; None for a group that is not there.

        Raises GROUP_ID_NOT_FOUND (ILLEGAL_GENERATION in versions that do not know it), and what `check_commit` raises.
        """
        group = self._table.groups.get(request.group_id)
        claim = Claim(request.member_id, request.group_instance_id, request.generation_id_or_member_epoch)
        is_in_transaction = isinstance(request, TxnOffsetCommitRequest)
        if group is not None:
            check_partition = check_commit(group, claim, version=version, is_transactional=is_in_transaction)
            if isinstance(group, ClassicGroup) and not is_in_transaction and claim.member_id in group.members:
                self._rebalances.schedule_session(group, group.members[claim.member_id])
            return check_partition
        if claim.epoch >= 0:
            first = FIRST_IN_TRANSACTION_WITH_GROUP_ID_NOT_FOUND if is_in_transaction else FIRST_WITH_GROUP_ID_NOT_FOUND
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND if version >= first else ErrorCode.ILLEGAL_GENERATION)
        # It is there from now on, whatever becomes of its offsets.
        self._table.create(request.group_id)
        return None

    def _metadata_fault(self, partition: OffsetCommitRequestPartition | TxnOffsetCommitRequestPartition) -> ErrorCode:
        """Java counts UTF-16 units, and so does the limit."""
        metadata = partition.committed_metadata
        if metadata is None or utf16_length(metadata) <= self._table.options.offset_metadata_max_bytes:
            return ErrorCode.NONE
        return ErrorCode.OFFSET_METADATA_TOO_LARGE

    async def _delete_topic(
        self, group: Group, topic: OffsetDeleteRequestTopic, records: list[CoordinatorRecord], slices: Slices
    ) -> OffsetDeleteResponseTopic:
        answer = OffsetDeleteResponseTopic(name=topic.name)
        code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if group.is_subscribed_to(topic.name) else ErrorCode.NONE
        async for index in slices.each([partition.partition_index for partition in topic.partitions]):
            answer.partitions.append(OffsetDeleteResponsePartition(partition_index=index, error_code=code))
            key = (topic.name, index)
            known = self._store.latest(group.group_id, key) or self._store.is_pending(group.group_id, key)
            if code is ErrorCode.NONE and known:
                records.append(offset_tombstone(group.group_id, topic.name, index))
        return answer

    def _is_expired(self, committed: CommittedOffset, empty_since_ms: int | None, now_ms: int) -> bool:
        if committed.expire_timestamp_ms is not None:
            return now_ms >= committed.expire_timestamp_ms
        since_ms = committed.commit_timestamp_ms if empty_since_ms is None else empty_since_ms
        return now_ms - since_ms >= self._table.options.offsets_retention_ms


def utf16_length(text: str) -> int:
    """The length that Java gives a string."""
    return len(text) if text.isascii() else len(text.encode("utf-16-be", "surrogatepass")) // 2


def _empty_since_ms(group: Group) -> int | None:
    """Since when a classic group that had members has none; None for any other."""
    if isinstance(group, ClassicGroup) and group.protocol_type is not None and group.is_empty:
        return group.state_timestamp_ms
    return None


def _may_expire(group: Group) -> bool:
    """Whether any offset of the group may expire: never those of members whose topics are not known."""
    if not isinstance(group, ClassicGroup):
        return True
    if group.protocol_type is None or group.is_empty:
        return True
    return group.is_consumer_group and group.subscribed_topics is not None and group.state is GroupState.STABLE


def _committed(
    partition: OffsetCommitRequestPartition | TxnOffsetCommitRequestPartition,
    topic_id: Uuid,
    now_ms: int,
    expire_ms: int | None,
) -> CommittedOffset:
    return CommittedOffset(
        offset=partition.committed_offset,
        leader_epoch=partition.committed_leader_epoch,
        metadata=partition.committed_metadata or "",
        commit_timestamp_ms=now_ms,
        expire_timestamp_ms=expire_ms,
        topic_id=topic_id,
    )


def _is_of_deleted(topics: Mapping[str, Uuid], key: TopicAndPartition, committed: CommittedOffset) -> bool:
    topic, _partition = key
    return topic in topics and committed.topic_id in (ZERO_UUID, topics[topic])
