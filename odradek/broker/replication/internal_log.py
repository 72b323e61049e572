"""The partitions that this broker leads, as coordinators use them: append, read back, and watch for commits."""

from __future__ import annotations

from odradek.broker.coordinator.writer import CommitListener, LogOffsets
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Isolation, Partition
from odradek.ports import Promise
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError


class InternalLogs:
    """Implements the coordinators' `PartitionWriter` over the replica manager."""

    def __init__(self, replicas: ReplicaManager) -> None:
        self._replicas = replicas
        self._listeners: dict[tuple[TopicPartition, CommitListener], _Adapter] = {}

    def append(self, partition: TopicPartition, batch: bytearray, leader_epoch: int) -> int:
        """Append one batch as the leader of `leader_epoch`; the offset of its last record."""
        if self._replicas.partition(partition).leader_epoch != leader_epoch:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        info = self._replicas.append(partition, memoryview(batch), all_replicas=True, origin=AppendOrigin.COORDINATOR)
        return info.last_offset

    def read(self, partition: TopicPartition, offset: int, max_bytes: int) -> Promise[bytes]:
        """Batches up to the log's end; replay reads logs that were just recovered, so their pages are warm."""
        part = self._replicas.partition(partition).read(
            offset, max_bytes=max_bytes, isolation=Isolation.LOG_END, min_one_message=True
        )
        if isinstance(part.records, bytes):
            return Promise.of(part.records)
        try:
            return Promise.of(part.records.read(0, part.size))
        except OSError as error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        finally:
            part.records.release()

    def offsets(self, partition: TopicPartition) -> LogOffsets:
        """The log's offsets now."""
        log = self._replicas.partition(partition).leader_log()
        return LogOffsets(log.log_start_offset, log.high_watermark, log.log_end_offset)

    def max_batch_bytes(self, partition: TopicPartition) -> int:
        """The topic's `max.message.bytes`."""
        return self._replicas.partition(partition).leader_log().config.max_message_bytes

    def watch(self, partition: TopicPartition, listener: CommitListener) -> None:
        """Call `listener` with the high watermark whenever it moves."""
        adapter = _Adapter(listener)
        self._listeners[partition, listener] = adapter
        self._replicas.partition(partition).add_watermark_listener(adapter)

    def unwatch(self, partition: TopicPartition, listener: CommitListener) -> None:
        """Stop calling it; the partition may be gone already."""
        adapter = self._listeners.pop((partition, listener), None)
        found = self._replicas.partitions.get(partition)
        if adapter is not None and found is not None:
            found.remove_watermark_listener(adapter)


class _Adapter:
    def __init__(self, listener: CommitListener) -> None:
        self._listener = listener

    def __call__(self, partition: Partition) -> None:
        log = partition.log
        if log is not None:
            self._listener(log.high_watermark)
