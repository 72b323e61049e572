"""DescribeLogDirs (35) and AlterReplicaLogDirs (34): what is stored where (KIP-113, KIP-827)."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.replication.manager import ReplicaManager
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.storage.log import Log
from odradek.storage.manager import LogDirInfo
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
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


class LogDirsApi:
    """Answers questions about log directories."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def handlers(self) -> list[AnyHandler]:
        """The declarations of these APIs; replicas are not moved, so that is offered where there is one directory."""
        handlers = [erase(Handler(DescribeLogDirsRequest, self._handle, Operation.DESCRIBE, ResourceType.CLUSTER))]
        if len(self._replicas.logs.log_dirs()) == 1:
            move = Handler(
                AlterReplicaLogDirsRequest,
                self._move,
                Operation.ALTER,
                ResourceType.CLUSTER,
                on_error=lambda request, _version, error: _outcomes(request, lambda _path, _name: error.code),
                differences=("Listed on a node with one log directory only, since replicas are not moved yet.",),
            )
            handlers.append(erase(move))
        return handlers

    def _move(self, _context: RequestContext, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
        online = {info.path: info.is_online for info in self._replicas.logs.log_dirs()}

        def move_to(path: str, name: TopicPartition) -> ErrorCode:
            """A replica may be asked to be where it is; no other directory is one of this node's."""
            if path not in online:
                return ErrorCode.LOG_DIR_NOT_FOUND
            if not online[path]:
                return ErrorCode.KAFKA_STORAGE_ERROR
            return ErrorCode.NONE if name in self._replicas.partitions else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

        return _outcomes(request, move_to)

    def _handle(self, _context: RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
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
            by_topic: dict[str, list[Log]] = {}
            for log in info.logs:
                name = log.topic_partition
                if wanted is None or name in wanted:
                    by_topic.setdefault(name.topic, []).append(log)
            results.append(_describe(info, by_topic))
        return DescribeLogDirsResponse(results=results)


def _describe(info: LogDirInfo, topics: dict[str, list[Log]]) -> DescribeLogDirsResult:
    return DescribeLogDirsResult(
        log_dir=info.path,
        total_bytes=info.total_bytes,
        usable_bytes=info.usable_bytes,
        topics=[
            DescribeLogDirsTopic(
                name=topic,
                partitions=[
                    DescribeLogDirsPartition(
                        partition_index=log.topic_partition.partition, partition_size=log.size_bytes
                    )
                    for log in logs
                ],
            )
            for topic, logs in topics.items()
        ],
    )


def _outcomes(
    request: AlterReplicaLogDirsRequest, outcome_of: Callable[[str, TopicPartition], ErrorCode]
) -> AlterReplicaLogDirsResponse:
    """What comes of each partition that is asked into a directory, grouped by topic."""
    outcomes: dict[str, list[AlterReplicaLogDirPartitionResult]] = {}
    for directory in request.dirs:
        for topic in directory.topics:
            outcomes.setdefault(topic.name, []).extend(
                AlterReplicaLogDirPartitionResult(
                    partition_index=index,
                    error_code=outcome_of(directory.path, TopicPartition(topic.name, index)),
                )
                for index in topic.partitions
            )
    return AlterReplicaLogDirsResponse(
        results=[
            AlterReplicaLogDirTopicResult(topic_name=name, partitions=partitions)
            for name, partitions in outcomes.items()
        ]
    )
