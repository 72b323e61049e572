"""The transaction coordinator as the handlers see it: a request in, the promise of its outcome out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from odradek.broker.broker_client import BrokerClient
from odradek.broker.coordinator.result import CoordinatorResult, Producer
from odradek.broker.coordinator.runtime import CoordinatorRuntime
from odradek.broker.coordinator.shard import ShardContext
from odradek.broker.coordinator.writer import PartitionWriter
from odradek.broker.groups.partitions import partition_for
from odradek.broker.transactions.markers import MarkerSender
from odradek.broker.transactions.metadata import TransactionMetadata, transaction_record_codec
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.shard import Outcome, TransactionShard
from odradek.metadata.features import TRANSACTION_VERSION
from odradek.metadata.image import MetadataImage
from odradek.metadata.topic_names import TRANSACTION_STATE_TOPIC
from odradek.ports import Clock, Promise, Scheduler, gather, spawn
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_MS = 100
"""How long what the log did not take in time waits for another look."""


class TransactionCoordinator:
    """All transactional ids whose partitions of `__transaction_state` this broker leads.

    The promises fail with KafkaError, as `CoordinatorRuntime` says, and with what the operations raise.
    """

    def __init__(
        self,
        *,
        writer: PartitionWriter,
        brokers: BrokerClient,
        new_producer_id: Callable[[], Promise[int]],
        image: Callable[[], MetadataImage],
        options: TransactionOptions,
        clock: Clock,
        scheduler: Scheduler,
    ) -> None:
        self._options = options
        self._image = image
        self._new_producer_id = new_producer_id
        self._scheduler = scheduler
        self._epochs: dict[int, int] = {}
        """The leader epochs of the partitions that are led: markers carry them."""
        self.markers = MarkerSender(brokers, image, scheduler, self._complete)

        def new_shard(context: ShardContext[TransactionShard]) -> TransactionShard:
            return TransactionShard(context, options, self)

        self.runtime: CoordinatorRuntime[TransactionShard] = CoordinatorRuntime(
            writer=writer,
            codec=transaction_record_codec(),
            factory=new_shard,
            clock=clock,
            scheduler=scheduler,
            write_timeout_ms=options.write_timeout_ms,
            load_buffer_bytes=options.load_buffer_bytes,
        )

    @property
    def server_version(self) -> int:
        """The `transaction.version` that the cluster has finalized."""
        return self._image().features.finalized.get(TRANSACTION_VERSION, 0)

    def partition_for(self, transactional_id: str) -> int:
        """The partition of `__transaction_state` whose leader coordinates the transactional id."""
        topic = self._image().topics.by_name.get(TRANSACTION_STATE_TOPIC)
        return partition_for(
            transactional_id, self._options.topic_partitions if topic is None else len(topic.partitions)
        )

    def elected(self, partition: int, leader_epoch: int) -> None:
        """This broker leads the partition from `leader_epoch` on."""
        self._epochs[partition] = leader_epoch
        self.runtime.load(TopicPartition(TRANSACTION_STATE_TOPIC, partition), leader_epoch)

    def resigned(self, partition: int, leader_epoch: int | None) -> None:
        """This broker leads the partition no longer; None where the partition is gone."""
        self.markers.drop(partition)
        self.runtime.unload(TopicPartition(TRANSACTION_STATE_TOPIC, partition), leader_epoch)

    def close(self) -> None:
        """Give up all transactional ids; what is decided is completed after the next start."""
        for partition in list(self._epochs):
            self.markers.drop(partition)
        self.runtime.close()

    def init_producer_id(self, transactional_id: str, timeout_ms: int, expected: Producer | None) -> Promise[Outcome]:
        """Give out a producer id and epoch. Fails with INVALID_TRANSACTION_TIMEOUT, and as the shard says."""
        if not 0 < timeout_ms <= self._options.max_timeout_ms:
            return Promise.failed(KafkaError(ErrorCode.INVALID_TRANSACTION_TIMEOUT))
        version = self.server_version
        return self._with_producer_id(
            self._shard_of(transactional_id),
            lambda shard, new_id: shard.init_producer_id(
                transactional_id, timeout_ms, expected, server_version=version, new_producer_id=new_id
            ),
        )

    def add_partitions(
        self, transactional_id: str, producer: Producer, partitions: Sequence[TopicPartition], client_version: int
    ) -> Promise[None]:
        """Make partitions part of the producer's transaction."""
        version = self.server_version
        return self.runtime.write(
            self._shard_of(transactional_id),
            lambda shard: shard.add_partitions(
                transactional_id, producer, partitions, client_version=client_version, server_version=version
            ),
        )

    def verify_partitions(
        self, transactional_id: str, producer: Producer, partitions: Sequence[TopicPartition]
    ) -> Promise[dict[TopicPartition, ErrorCode]]:
        """Which partitions are part of the producer's transaction."""
        return self.runtime.read(
            self._shard_of(transactional_id),
            lambda shard: shard.verify_partitions(transactional_id, producer, partitions),
        )

    def end_transaction(
        self, transactional_id: str, producer: Producer, *, is_commit: bool, client_version: int
    ) -> Promise[Outcome]:
        """Commit or abort; settled when the decision is in the log."""
        version = self.server_version
        return self._with_producer_id(
            self._shard_of(transactional_id),
            lambda shard, new_id: shard.end_transaction(
                transactional_id, producer, is_commit=is_commit, client_version=client_version, server_version=version,
                new_producer_id=new_id,
            ),
        )  # fmt: skip

    def describe(self, transactional_id: str) -> Promise[TransactionMetadata | None]:
        """A transactional id as the log has it, None if it is unknown."""
        return self.runtime.read(self._shard_of(transactional_id), lambda shard: shard.views(transactional_id)[0])

    def list_all(self) -> Promise[list[TransactionMetadata]]:
        """The transactional ids of this broker as the log has them.

        Fails with COORDINATOR_LOAD_IN_PROGRESS while a shard is being loaded.
        """
        reads = self.runtime.read_all(lambda shard: shard.all_committed())
        return gather([_unless_gone(read) for read in reads]).then(
            lambda parts: [metadata for part in parts for metadata in part]
        )

    def prepared(self, partition: TopicPartition, metadata: TransactionMetadata) -> None:
        """Write the markers of a transaction as soon as its decision is committed (`Effects`)."""

        def looked(found: Promise[tuple[TransactionMetadata | None, TransactionMetadata | None]]) -> None:
            if found.error is not None:
                return  # the shard is gone, or is loaded again, and then it will say so again
            committed, latest = found.result()
            if committed is not None and metadata.is_same_decision(committed):
                self.markers.begin(partition, self._epochs[partition.partition], committed)
            elif latest is not None and metadata.is_same_decision(latest):
                self._scheduler.call_later(RETRY_MS, lambda: self.prepared(partition, metadata))

        self.runtime.read(partition, lambda shard: shard.views(metadata.transactional_id)).on_done(looked)

    def timed_out(self, partition: TopicPartition, metadata: TransactionMetadata) -> None:
        """Abort a transaction that its producer has left alone (`Effects`)."""
        version = self.server_version
        aborted = self._with_producer_id(
            partition,
            lambda shard, new_id: shard.abort_timed_out(metadata, server_version=version, new_producer_id=new_id),
        )

        def settled(outcome: Promise[Outcome]) -> None:
            if outcome.error is not None:
                _log.warning("the transaction of %s is not aborted: %s", metadata.transactional_id, outcome.error)

        aborted.on_done(settled)

    def _complete(self, partition: TopicPartition, metadata: TransactionMetadata) -> None:
        """All markers are written: say so in the log."""
        version = self.server_version

        def settled(outcome: Promise[None]) -> None:
            error = outcome.error
            if isinstance(error, KafkaError) and error.code is ErrorCode.COORDINATOR_NOT_AVAILABLE:
                self._scheduler.call_later(RETRY_MS, lambda: self._complete(partition, metadata))
            elif error is not None:
                _log.info("the transaction of %s is completed later: %s", metadata.transactional_id, error)

        self.runtime.write(
            partition, lambda shard: shard.complete_transaction(metadata, server_version=version)
        ).on_done(settled)

    def _with_producer_id(
        self,
        partition: TopicPartition,
        operation: Callable[[TransactionShard, int | None], CoordinatorResult[Outcome | None]],
    ) -> Promise[Outcome]:
        """Run an operation that may turn out to need a new producer id, which has to be asked for."""

        async def run() -> Outcome:
            outcome = await self.runtime.write(partition, lambda shard: operation(shard, None))
            if outcome is None:
                new_id = await self._new_producer_id()
                outcome = await self.runtime.write(partition, lambda shard: operation(shard, new_id))
            assert outcome is not None, "a new producer id is all that an operation may need"
            return outcome

        return spawn(run())

    def _shard_of(self, transactional_id: str) -> TopicPartition:
        return TopicPartition(TRANSACTION_STATE_TOPIC, self.partition_for(transactional_id))


def _unless_gone(read: Promise[list[T]]) -> Promise[list[T]]:
    """Nothing in place of NOT_COORDINATOR: that shard is not there any more."""
    result: Promise[list[T]] = Promise()

    def settle(source: Promise[list[T]]) -> None:
        error = source.error
        if isinstance(error, KafkaError) and error.code is ErrorCode.NOT_COORDINATOR:
            result.resolve([])
        elif error is not None:
            result.reject(error)
        else:
            result.resolve(source.result())

    read.on_done(settle)
    return result
