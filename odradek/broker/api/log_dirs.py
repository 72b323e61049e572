"""DescribeLogDirs (35) and AlterReplicaLogDirs (34): what is stored where (KIP-113, KIP-827, KIP-1066)."""

from __future__ import annotations

from collections.abc import Mapping

from odradek.broker.replication.log_dir_moves import LogDirMoves
from odradek.broker.replication.manager import ReplicaManager
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.storage.log import Log
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_replica_log_dirs import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
)
from odradek.wire.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

UNKNOWN_LAG = -1


class LogDirsApi:
    """Answers questions about log directories, and has replicas moved between them."""

    def __init__(self, replicas: ReplicaManager, moves: LogDirMoves) -> None:
        self._replicas = replicas
        self._moves = moves

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs."""
        return [
            erase(Handler(DescribeLogDirsRequest, self._describe, Operation.DESCRIBE, ResourceType.CLUSTER)),
            erase(
                Handler(
                    AlterReplicaLogDirsRequest,
                    self._move,
                    Operation.ALTER,
                    ResourceType.CLUSTER,
                    on_error=lambda request, _version, error: _outcomes(dict.fromkeys(_wanted(request), error.code)),
                    differences=(
                        "After a crash between the controller's consent to a move and the move's end, the copying goes "
                        "on where the copy lacks records; Kafka replaces the log by what has been copied.",
                        "Where a crash left both the moved log and the one that it replaced, the one that goes "
                        "further is taken, and the other set aside; Kafka does not start.",
                    ),
                )
            ),
        ]

    async def _move(self, context: RequestContext, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
        outcomes: dict[TopicPartition, ErrorCode] = {}
        async for name, path in context.slices().each(_wanted(request).items()):
            outcomes[name] = ErrorCode.NONE
            try:
                self._moves.alter(name, path)
            except KafkaError as error:
                outcomes[name] = error.code
        return _outcomes(outcomes)

    async def _describe(self, context: RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
        slices = context.slices()
        wanted: dict[TopicPartition, None] | None = None
        if request.topics is not None:
            wanted = {
                TopicPartition(topic.topic, index): None for topic in request.topics for index in topic.partitions
            }
        results = []
        for info in self._replicas.logs.log_dirs():
            if not info.is_online:
                results.append(DescribeLogDirsResult(error_code=ErrorCode.KAFKA_STORAGE_ERROR, log_dir=info.path))
                continue
            by_topic: dict[str, list[DescribeLogDirsPartition]] = {}
            async for log in slices.each(info.logs):
                name = log.topic_partition
                if wanted is None or name in wanted:
                    by_topic.setdefault(name.topic, []).append(self._describe_log(log))
            result = DescribeLogDirsResult(
                log_dir=info.path,
                total_bytes=info.total_bytes,
                usable_bytes=info.usable_bytes,
                is_cordoned=info.path in self._replicas.logs.choice.cordoned,
                topics=[DescribeLogDirsTopic(name=topic, partitions=logs) for topic, logs in by_topic.items()],
            )
            results.append(result)
        return DescribeLogDirsResponse(results=results)

    def _describe_log(self, log: Log) -> DescribeLogDirsPartition:
        """A future log lags behind the current one; of that, the high watermark may be behind its end for followers."""
        name = log.topic_partition
        current = self._replicas.partitions.get(name)
        is_future = self._replicas.logs.future.get(name) is log
        if current is None or current.log is None:
            lag = UNKNOWN_LAG
        elif is_future:
            lag = current.log.log_end_offset - log.log_end_offset
        else:
            lag = max(log.high_watermark - log.log_end_offset, 0)
        return DescribeLogDirsPartition(
            partition_index=name.partition, partition_size=log.size_bytes, offset_lag=lag, is_future_key=is_future
        )


def _wanted(request: AlterReplicaLogDirsRequest) -> dict[TopicPartition, str]:
    """Where each partition shall go; of one that is named twice, the last mention counts."""
    return {
        TopicPartition(topic.name, index): directory.path
        for directory in request.dirs
        for topic in directory.topics
        for index in topic.partitions
    }


def _outcomes(outcomes: Mapping[TopicPartition, ErrorCode]) -> AlterReplicaLogDirsResponse:
    by_topic: dict[str, list[AlterReplicaLogDirPartitionResult]] = {}
    for name, code in outcomes.items():
        result = AlterReplicaLogDirPartitionResult(partition_index=name.partition, error_code=code)
        by_topic.setdefault(name.topic, []).append(result)
    return AlterReplicaLogDirsResponse(
        results=[
            AlterReplicaLogDirTopicResult(topic_name=topic, partitions=partitions)
            for topic, partitions in by_topic.items()
        ]
    )
