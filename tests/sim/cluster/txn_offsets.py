"""Offsets of a group that are committed in transactions: they come about with the transaction, or not at all."""

from __future__ import annotations

from collections.abc import Callable

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
)
from tests.sim.cluster.client import RETRY_MS, Client
from tests.sim.cluster.named import OFFSETS

_GROUP = 0
_PARTITION = 0
_NONE = -1
_TRIES = 20


class TransactionalOffsets:
    """One partition's offset in a group without members; each transaction that takes part commits a higher one."""

    def __init__(self, client: Client, group: str, on_violation: Callable[[str, str], None]) -> None:
        self._client = client
        self._group = group
        self._on_violation = on_violation
        self._coordinator = -1
        self._expected = [_NONE]
        """What may be committed: one offset, or more while nobody knows what came of transactions."""
        self._pending = _NONE
        self._next = 0

    async def commit(self, transactional_id: str, producer_id: int, epoch: int) -> bool:
        """Commit the next offset in the transaction that is open; False if that is not known to have been done."""
        self._next += 1
        self._pending = self._next
        partition = TxnOffsetCommitRequestPartition(
            partition_index=_PARTITION, committed_offset=self._pending, committed_metadata=""
        )
        topic = TxnOffsetCommitRequestTopic(topic_id=self._client.topic_id, partitions=[partition])
        request = TxnOffsetCommitRequest(
            transactional_id=transactional_id,
            group_id=self._group,
            producer_id=producer_id,
            producer_epoch=epoch,
            member_id="",
            topics=[topic],
        )
        for _ in range(_TRIES):
            if await self._has_coordinator():
                try:
                    response = await self._client.ask(self._coordinator, request, TxnOffsetCommitResponse)
                    code = ErrorCode(response.topics[0].partitions[0].error_code)
                except KafkaError as error:
                    code = error.code
                if code is ErrorCode.NONE:
                    return True
                if code in (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_TXN_STATE):
                    return False
                self._coordinator = -1
            await self._client.sleep(RETRY_MS)
        return False

    def ended(self, *, is_committed: bool | None) -> None:
        """The transaction is over; None if nobody knows how."""
        if self._pending != _NONE:
            if is_committed is None:
                self._expected.append(self._pending)
            elif is_committed:
                self._expected = [self._pending]
        self._pending = _NONE

    async def check(self) -> None:
        """Look at what is committed, if the coordinator can tell now."""
        topic = OffsetFetchRequestTopics(topic_id=self._client.topic_id, partition_indexes=[_PARTITION])
        group = OffsetFetchRequestGroup(group_id=self._group, topics=[topic])
        if not await self._has_coordinator():
            return
        try:
            response = await self._client.ask(
                self._coordinator, OffsetFetchRequest(groups=[group], require_stable=True), OffsetFetchResponse
            )
        except KafkaError:
            self._coordinator = -1
            return
        (answer,) = response.groups
        if answer.error_code:
            self._coordinator = -1
            return
        (found,) = answer.topics[0].partitions
        if found.error_code == ErrorCode.NONE:
            if found.committed_offset not in self._expected:
                self._on_violation(
                    OFFSETS,
                    f"group {self._group}: {found.committed_offset} is committed, should be one of {self._expected}",
                )
            self._expected = [found.committed_offset]

    async def _has_coordinator(self) -> bool:
        if self._coordinator < 0:
            request = FindCoordinatorRequest(key_type=_GROUP, coordinator_keys=[self._group])
            try:
                response = await self._client.ask(self._client.any_node(), request, FindCoordinatorResponse)
            except KafkaError:
                return False
            (found,) = response.coordinators
            if found.error_code == ErrorCode.NONE:
                self._coordinator = found.node_id
        return self._coordinator >= 0
