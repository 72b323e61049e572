"""All shards of one coordinator on this broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from odradek.broker.coordinator.batches import RecordCodec
from odradek.broker.coordinator.result import Operation, Producer, StateMachine
from odradek.broker.coordinator.shard import Shard, ShardContext, ShardOptions, ShardState
from odradek.broker.coordinator.writer import PartitionWriter
from odradek.ports import Clock, Promise, Scheduler
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.compression import Codec

S = TypeVar("S", bound=StateMachine)
R = TypeVar("R")


class CoordinatorRuntime(Generic[S]):
    """Shards come and go with the leadership of their partitions; requests are sent to them here.

    The promises fail with KafkaError as clients are to see it: COORDINATOR_LOAD_IN_PROGRESS while the shard's log
    is read, NOT_COORDINATOR without a shard, COORDINATOR_NOT_AVAILABLE where records are not committed in time.
    """

    def __init__(
        self,
        *,
        writer: PartitionWriter,
        codec: RecordCodec,
        factory: Callable[[ShardContext[S]], S],
        clock: Clock,
        scheduler: Scheduler,
        write_timeout_ms: float,
        load_buffer_bytes: int,
        compression: Codec = Codec.NONE,
    ) -> None:
        self._options = ShardOptions(
            writer=writer,
            codec=codec,
            factory=factory,
            clock=clock,
            scheduler=scheduler,
            compression=compression,
            write_timeout_ms=write_timeout_ms,
            load_buffer_bytes=load_buffer_bytes,
            on_broken=self._broken,
        )
        self._shards: dict[TopicPartition, Shard[S]] = {}

    def load(self, partition: TopicPartition, leader_epoch: int) -> None:
        """This broker leads `partition` from `leader_epoch` on: read its state, unless it is there already."""
        shard = self._shards.get(partition)
        if shard is not None:
            if leader_epoch <= shard.leader_epoch:
                return
            if shard.state is not ShardState.FAILED:
                shard.leader_epoch = leader_epoch
                return
            shard.close()
        shard = Shard(partition, leader_epoch, self._options)
        self._shards[partition] = shard
        shard.load()

    def unload(self, partition: TopicPartition, leader_epoch: int | None = None) -> None:
        """This broker no longer leads `partition`; an epoch that is older than the shard's is ignored."""
        shard = self._shards.get(partition)
        if shard is None or (leader_epoch is not None and leader_epoch < shard.leader_epoch):
            return
        del self._shards[partition]
        shard.close()

    def close(self) -> None:
        """Give up all shards."""
        for partition in list(self._shards):
            self.unload(partition)

    def partitions(self) -> list[TopicPartition]:
        """The partitions with a shard, in the order they came."""
        return list(self._shards)

    def state(self, partition: TopicPartition) -> ShardState | None:
        """Where the shard of `partition` is in its life; None if there is none."""
        shard = self._shards.get(partition)
        return None if shard is None else shard.state

    def write(
        self,
        partition: TopicPartition,
        operation: Operation[S, R],
        producer: Producer | None = None,
    ) -> Promise[R]:
        """The response of `operation`, once its records are committed."""
        shard = self._shards.get(partition)
        if shard is None:
            return Promise.failed(KafkaError(ErrorCode.NOT_COORDINATOR))
        return shard.write(operation, producer)

    def read(self, partition: TopicPartition, operation: Callable[[S], R]) -> Promise[R]:
        """What `operation` finds in the committed state."""
        shard = self._shards.get(partition)
        if shard is None:
            return Promise.failed(KafkaError(ErrorCode.NOT_COORDINATOR))
        return shard.read(operation)

    def write_all(self, operation: Operation[S, R]) -> list[Promise[R]]:
        """`write` for every shard."""
        return [shard.write(operation, None) for shard in list(self._shards.values())]

    def read_all(self, operation: Callable[[S], R]) -> list[Promise[R]]:
        """`read` for every shard."""
        return [shard.read(operation) for shard in list(self._shards.values())]

    def complete_transaction(
        self,
        partition: TopicPartition,
        producer: Producer,
        coordinator_epoch: int,
        *,
        committed: bool,
        transaction_version: int = 0,
    ) -> Promise[None]:
        """Write the marker that ends `producer`'s transaction, and apply it."""
        shard = self._shards.get(partition)
        if shard is None:
            return Promise.failed(KafkaError(ErrorCode.NOT_COORDINATOR))
        return shard.complete_transaction(
            producer, coordinator_epoch, committed=committed, transaction_version=transaction_version
        )

    def _broken(self, shard: Shard[S]) -> None:
        if self._shards.get(shard.partition) is shard:
            self.unload(shard.partition)
            self.load(shard.partition, shard.leader_epoch)
