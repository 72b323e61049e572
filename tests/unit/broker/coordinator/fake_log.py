"""Partitions in memory that fail, or lag behind, when told."""

from __future__ import annotations

from odradek.broker.coordinator.result import Producer
from odradek.broker.coordinator.writer import CommitListener, LogOffsets
from odradek.ports import Promise
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import parse_header, rewrite_base_offset_and_epoch
from odradek.wire.records.record import Record


class FakeLog:
    """A `PartitionWriter` whose partitions all share these switches."""

    def __init__(self) -> None:
        self.batches: dict[TopicPartition, list[bytes]] = {}
        self.high_watermarks: dict[TopicPartition, int] = {}
        self.commits_at_once = True
        """Whether the high watermark follows every append by itself."""
        self.append_error: Exception | None = None
        self.largest_batch_bytes = 1_048_588
        self.reads = 0
        self._listeners: dict[TopicPartition, list[CommitListener]] = {}

    def append(
        self,
        partition: TopicPartition,
        batch: bytearray,
        leader_epoch: int,
        *,
        producer: Producer | None = None,
        transaction_version: int = 0,
    ) -> int:
        if self.append_error is not None:
            raise self.append_error
        base = self.end(partition)
        rewrite_base_offset_and_epoch(batch, 0, base, leader_epoch)
        self.batches.setdefault(partition, []).append(bytes(batch))
        if self.commits_at_once:
            self.commit(partition)
        return self.end(partition) - 1

    def read(self, partition: TopicPartition, offset: int, max_bytes: int) -> Promise[bytes]:
        self.reads += 1
        chunk = b""
        for batch in self.batches.get(partition, []):
            if parse_header(batch).last_offset >= offset and (not chunk or len(chunk) + len(batch) <= max_bytes):
                chunk += batch
        return Promise.of(chunk)

    def offsets(self, partition: TopicPartition) -> LogOffsets:
        return LogOffsets(0, self.high_watermarks.get(partition, 0), self.end(partition))

    def max_batch_bytes(self, partition: TopicPartition) -> int:
        return self.largest_batch_bytes

    def watch(self, partition: TopicPartition, listener: CommitListener) -> None:
        self._listeners.setdefault(partition, []).append(listener)

    def unwatch(self, partition: TopicPartition, listener: CommitListener) -> None:
        listeners = self._listeners.get(partition, [])
        if listener in listeners:
            listeners.remove(listener)

    def commit(self, partition: TopicPartition, end: int | None = None) -> None:
        """Let the high watermark reach `end`, or the log's end."""
        self.high_watermarks[partition] = self.end(partition) if end is None else end
        for listener in list(self._listeners.get(partition, [])):
            listener(self.high_watermarks[partition])

    def end(self, partition: TopicPartition) -> int:
        batches = self.batches.get(partition)
        return parse_header(batches[-1]).next_offset if batches else 0

    def records(self, partition: TopicPartition) -> list[Record]:
        """All records of a partition."""
        return [record for batch in self.batches.get(partition, []) for record in iter_records(batch)]

    def prefix(self, partition: TopicPartition, batch_count: int) -> FakeLog:
        """A log that holds the first `batch_count` batches only, all committed: what a crash left."""
        copy = FakeLog()
        copy.batches[partition] = self.batches.get(partition, [])[:batch_count]
        copy.commit(partition)
        return copy


NO_LEADER = KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
DISK_BROKEN = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
