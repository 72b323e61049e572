"""DescribeLogDirs (API key 35): what is stored where (KIP-113, KIP-827)."""

from __future__ import annotations

from odradek.broker.replication.manager import ReplicaManager
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import Handler
from odradek.storage.log import Log
from odradek.storage.manager import LogDirInfo
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_log_dirs import (
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)


class LogDirsApi:
    """Answers DescribeLogDirs."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas

    def handler(self) -> Handler[DescribeLogDirsRequest, DescribeLogDirsResponse]:
        """The declaration of this API."""
        return Handler(DescribeLogDirsRequest, self._handle, Operation.DESCRIBE, ResourceType.CLUSTER)

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
