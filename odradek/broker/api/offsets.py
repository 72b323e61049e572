"""ListOffsets (2) and OffsetForLeaderEpoch (23): where a partition begins, ends and forks."""

from __future__ import annotations

from collections import Counter

from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Isolation, Partition
from odradek.ports import Executor
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.storage.log import Log
from odradek.storage.log_results import TimestampOffset
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from odradek.wire.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)

FIRST_WITH_LEADER_EPOCH = 4
FIRST_WITH_OFFSET_NOT_AVAILABLE = 5
LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6
_SINCE_VERSION = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
_UNKNOWN = TimestampOffset(timestamp_ms=-1, offset=-1, leader_epoch=-1)
_CONSUMER = -1
_DEBUGGING_CONSUMER = -2
"""Kafka's ReplicaVerificationTool, which compares what the replicas have."""


class OffsetsApi:
    """Answers questions about offsets."""

    def __init__(self, replicas: ReplicaManager, executor: Executor | None = None) -> None:
        """`executor` has searches by timestamp prepared on another thread; without one, they may wait for a disk."""
        self._executor = executor
        self._replicas = replicas

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(
                Handler(ListOffsetsRequest, self._list_offsets, Operation.DESCRIBE, ResourceType.TOPIC, _list_failed)
            ),
            erase(
                Handler(
                    OffsetForLeaderEpochRequest,
                    self._offset_for_leader_epoch,
                    Operation.DESCRIBE,
                    ResourceType.TOPIC,
                    _epochs_failed,
                )
            ),
        ]

    async def _list_offsets(self, context: RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse:
        isolation = _isolation(request)
        mentions = Counter(
            TopicPartition(topic.name, partition.partition_index)
            for topic in request.topics
            for partition in topic.partitions
        )
        topics: dict[str, ListOffsetsTopicResponse] = {}
        slices = context.slices()
        for topic in request.topics:
            async for asked in slices.each(topic.partitions):
                name = TopicPartition(topic.name, asked.partition_index)
                times = mentions.pop(name, 0)
                if not times:
                    continue
                answer = ListOffsetsPartitionResponse(partition_index=asked.partition_index)
                try:
                    if times > 1:
                        raise KafkaError(ErrorCode.INVALID_REQUEST)
                    await self._prepare(name, asked)
                    only_leader = request.replica_id != _DEBUGGING_CONSUMER
                    found = self._find(name, asked, isolation, context.api_version, only_leader=only_leader)
                    answer.timestamp, answer.offset = found.timestamp_ms, found.offset
                    if context.api_version >= FIRST_WITH_LEADER_EPOCH:
                        answer.leader_epoch = found.leader_epoch
                except KafkaError as error:
                    answer.error_code = error.code
                topics.setdefault(topic.name, ListOffsetsTopicResponse(name=topic.name)).partitions.append(answer)
        return ListOffsetsResponse(topics=list(topics.values()))

    async def _prepare(self, name: TopicPartition, asked: ListOffsetsPartition) -> None:
        """Have what a search by timestamp needs brought into memory."""
        partition = self._replicas.partitions.get(name)
        if self._executor is None or partition is None or partition.log is None:
            return
        if asked.timestamp >= 0 or asked.timestamp == MAX_TIMESTAMP:
            wanted = None if asked.timestamp < 0 else asked.timestamp
            await self._executor.submit(partition.log.timestamp_rehearsal(wanted))

    def _find(
        self, name: TopicPartition, asked: ListOffsetsPartition, isolation: Isolation, version: int, *,
        only_leader: bool,
    ) -> TimestampOffset:  # fmt: skip
        timestamp = asked.timestamp
        if timestamp < 0 and version < _SINCE_VERSION.get(timestamp, version + 1):
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
        partition = self._replicas.partition(name)
        log = partition.readable_log(asked.current_leader_epoch, only_leader=only_leader)
        lags = isolation is not Isolation.LOG_END and log.high_watermark < partition.epoch_start_offset
        if timestamp == LATEST:
            if lags:
                raise _not_available(version)
            return TimestampOffset(-1, partition.readable_end(isolation), partition.leader_epoch)
        if timestamp in (EARLIEST, EARLIEST_LOCAL):
            start = log.log_start_offset if timestamp == EARLIEST else log.local_log_start_offset
            return TimestampOffset(-1, start, _epoch_at(log, partition, start))
        if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
            return _UNKNOWN
        found = log.offset_of_max_timestamp() if timestamp == MAX_TIMESTAMP else log.offset_for_timestamp(timestamp)
        if found is None or found.offset >= partition.readable_end(isolation):
            if lags:
                raise _not_available(version)
            return _UNKNOWN
        return found

    async def _offset_for_leader_epoch(
        self, context: RequestContext, request: OffsetForLeaderEpochRequest
    ) -> OffsetForLeaderEpochResponse:
        slices = context.slices()
        return OffsetForLeaderEpochResponse(
            topics=[
                OffsetForLeaderTopicResult(
                    topic=topic.topic,
                    partitions=[self._epoch_end(topic.topic, asked) async for asked in slices.each(topic.partitions)],
                )
                for topic in request.topics
            ]
        )

    def _epoch_end(self, topic: str, asked: OffsetForLeaderPartition) -> EpochEndOffset:
        answer = EpochEndOffset(partition=asked.partition)
        try:
            partition = self._replicas.partition(TopicPartition(topic, asked.partition))
            log = partition.leader_log(asked.current_leader_epoch)
            answer.leader_epoch, answer.end_offset = log.leader_epochs.end_offset_for(
                asked.leader_epoch, log.log_end_offset
            )
        except KafkaError as error:
            answer.error_code = error.code
        return answer


def _not_available(version: int) -> KafkaError:
    """A new leader's high watermark may be behind that of the one before, until it hears of its followers (KIP-207)."""
    return KafkaError(
        ErrorCode.OFFSET_NOT_AVAILABLE if version >= FIRST_WITH_OFFSET_NOT_AVAILABLE else ErrorCode.LEADER_NOT_AVAILABLE
    )


def _epoch_at(log: Log, partition: Partition, offset: int) -> int:
    epoch = log.leader_epochs.epoch_for(offset)
    return partition.leader_epoch if epoch < 0 and offset == log.log_end_offset else epoch


def _isolation(request: ListOffsetsRequest) -> Isolation:
    """Raises UNKNOWN_SERVER_ERROR for a level that there is not."""
    if request.replica_id != _CONSUMER:
        return Isolation.LOG_END
    if request.isolation_level not in (0, 1):
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"No isolation level {request.isolation_level}")
    return Isolation(request.isolation_level)


def _list_failed(request: ListOffsetsRequest, _version: int, error: KafkaError) -> ListOffsetsResponse:
    return ListOffsetsResponse(
        topics=[
            ListOffsetsTopicResponse(
                name=topic.name,
                partitions=[
                    ListOffsetsPartitionResponse(partition_index=partition.partition_index, error_code=error.code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _epochs_failed(
    request: OffsetForLeaderEpochRequest, _version: int, error: KafkaError
) -> OffsetForLeaderEpochResponse:
    return OffsetForLeaderEpochResponse(
        topics=[
            OffsetForLeaderTopicResult(
                topic=topic.topic,
                partitions=[
                    EpochEndOffset(partition=partition.partition, error_code=error.code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
