"""OffsetFetch of one group."""

from __future__ import annotations

from odradek.broker.groups.committed_offset import NO_LEADER_EPOCH, NO_OFFSET, CommittedOffset
from odradek.broker.groups.member_check import check_fetch
from odradek.broker.groups.offset_store import OffsetStore
from odradek.broker.groups.table import GroupTable
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from odradek.wire.uuids import ZERO_UUID, Uuid


class OffsetFetches:
    """Reads committed offsets. `stable` reads see the newest ones and refuse those that a transaction may change."""

    def __init__(self, table: GroupTable, store: OffsetStore) -> None:
        self._table = table
        self._store = store

    def fetch(self, request: OffsetFetchRequestGroup, *, stable: bool) -> OffsetFetchResponseGroup:
        """The offsets of the topics asked for, or of all (None); unknown groups and partitions have offset -1.

        Raises what `check_fetch` raises.
        """
        group_id = request.group_id
        known = self._table.groups.get(group_id) if stable else self._table.groups.committed(group_id)
        if known is not None:
            check_fetch(known, request.member_id, request.member_epoch, latest=stable)
        if request.topics is not None:
            topics = [self._topic(group_id, topic, known is not None, stable) for topic in request.topics]
        else:
            topics = self._all(group_id, stable) if known is not None else []
        return OffsetFetchResponseGroup(group_id=group_id, topics=topics)

    def _topic(
        self, group_id: str, topic: OffsetFetchRequestTopics, known: bool, stable: bool
    ) -> OffsetFetchResponseTopics:
        answer = OffsetFetchResponseTopics(name=topic.name, topic_id=topic.topic_id)
        for index in topic.partition_indexes:
            key = (topic.name, index)
            if stable and known and self._store.is_pending(group_id, key):
                answer.partitions.append(unstable(index))
                continue
            committed = self._store.readable(group_id, key, latest=stable) if known else None
            answer.partitions.append(_answer(index, committed, topic.topic_id))
        return answer

    def _all(self, group_id: str, stable: bool) -> list[OffsetFetchResponseTopics]:
        topics: dict[str, OffsetFetchResponseTopics] = {}
        for (name, index), committed in self._store.readable_items(group_id, latest=stable):
            topic = topics.setdefault(name, OffsetFetchResponseTopics(name=name))
            if stable and self._store.is_pending(group_id, (name, index)):
                topic.partitions.append(unstable(index))
            else:
                topic.partitions.append(_answer(index, committed, ZERO_UUID))
        return list(topics.values())


def unstable(index: int) -> OffsetFetchResponsePartitions:
    """A partition whose offset a transaction is about to change."""
    return failed(index, ErrorCode.UNSTABLE_OFFSET_COMMIT)


def failed(index: int, code: ErrorCode) -> OffsetFetchResponsePartitions:
    """A partition without an offset."""
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=NO_OFFSET,
        committed_leader_epoch=NO_LEADER_EPOCH,
        metadata="",
        error_code=code,
    )


def _answer(index: int, committed: CommittedOffset | None, topic_id: Uuid) -> OffsetFetchResponsePartitions:
    if committed is None or not committed.is_of(topic_id):
        return failed(index, ErrorCode.NONE)
    return OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=committed.offset,
        committed_leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
    )
