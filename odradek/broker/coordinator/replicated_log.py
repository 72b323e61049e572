"""The broker's own replicas as the partitions that coordinators write to."""

from __future__ import annotations

from collections.abc import Callable

from odradek.broker.coordinator.result import Producer
from odradek.broker.coordinator.writer import CommitListener, LogOffsets
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.ports import Executor, Promise
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError


class ReplicatedLogs:
    """A `PartitionWriter` over the replica manager; reads that may wait for a disk go through the executor."""

    def __init__(
        self, replicas: ReplicaManager, executor: Executor, verifies_transactions: Callable[[], bool] = lambda: True
    ) -> None:
        """`verifies_transactions` is `transaction.partition.verification.enable`."""
        self._replicas = replicas
        self._verifies_transactions = verifies_transactions
        self._executor = executor
        self._watched: dict[tuple[TopicPartition, CommitListener], _Watch] = {}

    def append(
        self,
        partition: TopicPartition,
        batch: bytearray,
        leader_epoch: int,
        *,
        producer: Producer | None = None,
        transaction_version: int = 0,
    ) -> int:
        """Append as the leader of that epoch, for all in-sync replicas."""
        replica = self._replicas.partition(partition)
        if replica.leader_epoch != leader_epoch:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if producer is not None and self._verifies_transactions():
            replica.leader_log().producers.check_verified(*producer)
        info = self._replicas.append(
            replica,
            memoryview(batch),
            all_replicas=True,
            origin=AppendOrigin.COORDINATOR,
            transaction_version=transaction_version,
        )
        return info.last_offset

    def read(self, partition: TopicPartition, offset: int, max_bytes: int) -> Promise[bytes]:
        """Read up to the log's end."""
        log = self._replicas.partition(partition).leader_log()
        part = log.read(offset, max_bytes=max_bytes, max_offset=log.log_end_offset, min_one_message=True)
        records = part.records
        if isinstance(records, bytes):
            return Promise.of(records)
        content = self._executor.submit(lambda: records.read(0, records.size))
        content.on_done(lambda _: records.release())
        return content

    def offsets(self, partition: TopicPartition) -> LogOffsets:
        """The log's offsets now."""
        log = self._replicas.partition(partition).leader_log()
        return LogOffsets(log.log_start_offset, log.high_watermark, log.log_end_offset)

    def max_batch_bytes(self, partition: TopicPartition) -> int:
        """The topic's `max.message.bytes`."""
        return self._replicas.partition(partition).leader_log().config.max_message_bytes

    def watch(self, partition: TopicPartition, listener: CommitListener) -> None:
        """Listen to the high watermark of the replica that is there now."""
        self.unwatch(partition, listener)
        self._watched[partition, listener] = _Watch(self._replicas.partition(partition), listener)

    def unwatch(self, partition: TopicPartition, listener: CommitListener) -> None:
        """Stop to listen."""
        watch = self._watched.pop((partition, listener), None)
        if watch is not None:
            watch.stop()


class _Watch:
    def __init__(self, partition: Partition, listener: CommitListener) -> None:
        self._partition = partition
        self._listener = listener
        partition.add_watermark_listener(self._moved)

    def stop(self) -> None:
        self._partition.remove_watermark_listener(self._moved)

    def _moved(self, partition: Partition) -> None:
        self._listener(partition.local_log().high_watermark)
