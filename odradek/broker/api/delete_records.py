"""DeleteRecords (21): where a partition begins from now on (KIP-107)."""

from __future__ import annotations

from typing import NamedTuple

from odradek.broker.replication.manager import ReplicaManager
from odradek.metadata.topic_names import is_internal
from odradek.ports import Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.delete_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)

HIGH_WATERMARK = -1
"""Delete all that is committed."""
UNKNOWN_WATERMARK = -1


class _Deletion(NamedTuple):
    """A partition whose copy in another directory still has what was deleted."""

    partition: TopicPartition
    offset: int
    result: DeleteRecordsPartitionResult


class DeleteRecordsApi:
    """Moves partitions' beginnings; an answer waits for what is being moved to another log directory to follow."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def handler(self) -> AnyHandler:
        """The declaration of this API."""
        return erase(Handler(DeleteRecordsRequest, self._handle, Operation.DELETE, ResourceType.TOPIC, _failed))

    async def _handle(self, context: RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
        # Of a partition that is named twice the last mention counts, as in a map.
        offsets = {
            TopicPartition(topic.name, asked.partition_index): asked.offset
            for topic in request.topics
            for asked in topic.partitions
        }
        topics: dict[str, DeleteRecordsTopicResult] = {}
        pending: list[_Deletion] = []
        async for name in context.slices().each(offsets):
            result = DeleteRecordsPartitionResult(partition_index=name.partition, low_watermark=UNKNOWN_WATERMARK)
            try:
                offset = self._delete_before(name, offsets[name])
                result.low_watermark = self._low_watermark(name)
                if result.low_watermark < offset:
                    pending.append(_Deletion(name, offset, result))
            except KafkaError as error:
                result.error_code = error.code
            topics.setdefault(name.topic, DeleteRecordsTopicResult(name=name.topic)).partitions.append(result)
        if pending:
            await self._deleted(pending, request.timeout_ms)
        return DeleteRecordsResponse(topics=list(topics.values()))

    def _delete_before(self, name: TopicPartition, offset: int) -> int:
        """Move the partition's beginning up to `offset`; returns the offset that is meant."""
        if is_internal(name.topic):
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
        log = self._replicas.partition(name).leader_log()
        if log.config.is_compacted and "delete" not in log.config.cleanup_policy:
            raise KafkaError(ErrorCode.POLICY_VIOLATION)
        target = log.high_watermark if offset == HIGH_WATERMARK else offset
        if not 0 <= target <= log.high_watermark:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        log.delete_records_before(target)
        return target

    def _low_watermark(self, name: TopicPartition) -> int:
        """From where on the partition's records are kept anywhere; raises KafkaError as `leader_log` does."""
        low_watermark = self._replicas.low_watermark(self._replicas.partition(name))
        future = self._replicas.logs.future.get(name)
        return low_watermark if future is None else min(low_watermark, future.log_start_offset)

    def _deleted(self, pending: list[_Deletion], timeout_ms: int) -> Promise[None]:
        """Settles once nobody has the deleted records any more, or after the time-out, with the results filled in."""
        done: Promise[None] = Promise()
        waiting = list(pending)
        for deletion in waiting:
            deletion.result.error_code = ErrorCode.REQUEST_TIMED_OUT

        def is_ready() -> bool:
            waiting[:] = [deletion for deletion in waiting if not self._is_settled(deletion)]
            return not waiting

        self._replicas.waiting.park(
            [deletion.partition for deletion in waiting],
            is_ready=is_ready,
            finish=lambda: done.resolve(None),
            timeout_ms=timeout_ms,
        )
        return done

    def _is_settled(self, deletion: _Deletion) -> bool:
        result = deletion.result
        try:
            low_watermark = self._low_watermark(deletion.partition)
        except KafkaError as error:
            result.low_watermark = UNKNOWN_WATERMARK
            result.error_code = error.code
            return True
        if low_watermark < deletion.offset:
            return False
        result.low_watermark = low_watermark
        result.error_code = ErrorCode.NONE
        return True


def _failed(request: DeleteRecordsRequest, _version: int, error: KafkaError) -> DeleteRecordsResponse:
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(
                name=topic.name,
                partitions=[
                    DeleteRecordsPartitionResult(
                        partition_index=partition.partition_index,
                        low_watermark=UNKNOWN_WATERMARK,
                        error_code=error.code,
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
