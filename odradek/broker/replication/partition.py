"""One partition as this broker holds it: who leads it, how far it is replicated, and what may be read of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from enum import IntEnum

from odradek.metadata.image import PartitionImage
from odradek.storage.log import Log
from odradek.storage.log_results import AppendInfo, AppendOrigin, LogSlice
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import BatchHeader

NO_LEADER = -1
NO_EPOCH = -1


class Isolation(IntEnum):
    """How far a read goes; the first two are Fetch's isolation levels."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1
    LOG_END = 2
    """For replicas, which copy what is not committed yet."""


class Partition:
    """A replica on this broker. `log` is None while its directory is offline."""

    def __init__(self, topic_partition: TopicPartition, topic_id: bytes, local_id: int) -> None:
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self.log: Log | None = None
        self.leader_id = NO_LEADER
        self.is_leader = False
        """Whether this broker leads the partition."""
        self.leader_epoch = NO_EPOCH
        self.partition_epoch = NO_EPOCH
        self.replicas: tuple[int, ...] = ()
        self.isr: tuple[int, ...] = ()
        self._local_id = local_id
        self.is_alone = False
        """It leads, and no other replica is in sync: whatever is appended is committed."""
        self._watermark_listeners: list[Callable[[Partition], None]] = []

    def apply(self, image: PartitionImage) -> bool:
        """Take over leadership and replicas from the metadata; returns whether the leader epoch is a new one."""
        is_new_epoch = image.leader_epoch != self.leader_epoch
        self.leader_id = image.leader
        self.is_leader = image.leader == self._local_id
        self.leader_epoch = image.leader_epoch
        self.partition_epoch = image.partition_epoch
        self.replicas = tuple(image.replicas)
        self.isr = tuple(image.isr)
        self.is_alone = self.is_leader and all(replica == self._local_id for replica in self.isr)
        if is_new_epoch and self.is_leader and self.log is not None:
            # A disk that fails here takes the log offline, which whoever uses it next is told.
            with contextlib.suppress(KafkaError):
                self.log.assign_epoch(self.leader_epoch, self.log.log_end_offset)
            self.advance_high_watermark()
        return is_new_epoch

    def leader_log(self, current_leader_epoch: int = NO_EPOCH) -> Log:
        """The log, if this broker leads and the client's leader epoch (if it sent one) is the current one.

        Raises KafkaError KAFKA_STORAGE_ERROR (whoever leads: that is what sent the leader away), FENCED_LEADER_EPOCH,
        UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER.
        """
        log = self.log if self.log is not None else self.local_log()
        if current_leader_epoch != NO_EPOCH:
            self.check_epoch(current_leader_epoch)
        if not self.is_leader:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return log

    def local_log(self) -> Log:
        """The log, whoever leads; raises KafkaError KAFKA_STORAGE_ERROR while it is offline."""
        if self.log is None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"the log directory of {self.topic_partition} is offline")
        return self.log

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Compare a client's idea of the leader epoch with ours (KIP-320); -1 is not compared."""
        if current_leader_epoch in (NO_EPOCH, self.leader_epoch):
            return
        if current_leader_epoch < self.leader_epoch:
            raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
        raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH)

    def append(
        self,
        batches: memoryview,
        headers: Sequence[BatchHeader] | None,
        *,
        all_replicas: bool,
        now_ms: int,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        transaction_version: int = 0,
    ) -> AppendInfo:
        """Append checked batches as the leader; `batches` is rewritten in place with offsets and leader epoch.

        `headers` are those of the batches, if the caller has parsed them; `transaction_version` is that of a marker.

        Raises KafkaError: those of `leader_log`, NOT_ENOUGH_REPLICAS, and those of `Log.append_as_leader`.
        """
        log = self.leader_log()
        if all_replicas and len(self.isr) < min(log.config.min_insync_replicas, len(self.replicas)):
            raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
        info = log.append_as_leader(
            batches,
            leader_epoch=self.leader_epoch,
            now_ms=now_ms,
            origin=origin,
            headers=headers,
            transaction_version=transaction_version,
        )
        self.advance_high_watermark()
        return info

    def advance_high_watermark(self) -> bool:
        """Move the high watermark to what every in-sync replica has; returns whether it moved."""
        log = self.log
        if log is None or not self.is_alone:
            return False
        before = log.high_watermark
        if before == log.log_end_offset or log.update_high_watermark(log.log_end_offset) == before:
            return False
        for listener in tuple(self._watermark_listeners):
            listener(self)
        return True

    def add_watermark_listener(self, listener: Callable[[Partition], None]) -> None:
        """Call `listener(partition)` whenever the high watermark moves."""
        self._watermark_listeners.append(listener)

    def remove_watermark_listener(self, listener: Callable[[Partition], None]) -> None:
        """Stop calling it; one that is not there is fine."""
        if listener in self._watermark_listeners:
            self._watermark_listeners.remove(listener)

    def readable_end(self, isolation: Isolation) -> int:
        """The first offset that a reader of this isolation may not see."""
        log = self.local_log()
        if isolation is Isolation.READ_COMMITTED:
            return log.last_stable_offset
        return log.high_watermark if isolation is Isolation.READ_UNCOMMITTED else log.log_end_offset

    def read(
        self,
        offset: int,
        *,
        max_bytes: int,
        isolation: Isolation,
        min_one_message: bool,
        current_leader_epoch: int = NO_EPOCH,
        waits: bool = True,
    ) -> LogSlice:
        """Whole batches from the one that contains `offset` on, up to the isolation's end.

        Raises KafkaError: those of `leader_log`, and OFFSET_OUT_OF_RANGE; ColdLookupError instead of waiting for a
        disk if not `waits`.
        """
        log = self.leader_log(current_leader_epoch)
        return log.read(
            offset,
            max_bytes=max_bytes,
            max_offset=self.readable_end(isolation),
            min_one_message=min_one_message,
            waits=waits,
        )
