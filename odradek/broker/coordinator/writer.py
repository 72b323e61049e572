"""What the runtime needs of the replicated log of an internal topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from odradek.broker.coordinator.result import Producer
from odradek.ports import Promise
from odradek.storage.topic_partition import TopicPartition

CommitListener = Callable[[int], None]
"""Called with a partition's high watermark whenever that moves."""


class LogOffsets(NamedTuple):
    """Where a partition's log begins, is committed up to, and ends."""

    log_start: int
    high_watermark: int
    log_end: int


class PartitionWriter(Protocol):
    """The partitions that this broker leads. Every method raises KafkaError where it does not."""

    def append(
        self,
        partition: TopicPartition,
        batch: bytearray,
        leader_epoch: int,
        *,
        producer: Producer | None = None,
        transaction_version: int = 0,
    ) -> int:
        """Append one batch and return the offset of its last record.

        `producer` is whose transaction its records belong to, `transaction_version` that of a marker. The batch is
        rewritten in place. Raises INVALID_TXN_STATE for a producer whose transaction is not going on,
        NOT_LEADER_OR_FOLLOWER also if the partition is led in another epoch than `leader_epoch`, NOT_ENOUGH_REPLICAS,
        MESSAGE_TOO_LARGE, or KAFKA_STORAGE_ERROR.
        """
        ...

    def read(self, partition: TopicPartition, offset: int, max_bytes: int) -> Promise[bytes]:
        """Batches up to the log's end, from the one on that contains `offset`; the last may be cut off.

        The first batch is returned whole even if it is larger than `max_bytes`; b"" at the log's end.
        """
        ...

    def offsets(self, partition: TopicPartition) -> LogOffsets:
        """The log's offsets now."""
        ...

    def max_batch_bytes(self, partition: TopicPartition) -> int:
        """The topic's `max.message.bytes`."""
        ...

    def watch(self, partition: TopicPartition, listener: CommitListener) -> None:
        """Call `listener` from now on."""
        ...

    def unwatch(self, partition: TopicPartition, listener: CommitListener) -> None:
        """Stop calling it; one that is not there is fine."""
        ...
