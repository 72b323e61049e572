"""The state machine of one partition of `__transaction_state`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from odradek.broker.coordinator.result import CoordinatorRecord, CoordinatorResult, Producer
from odradek.broker.coordinator.shard import ShardContext
from odradek.broker.coordinator.timeline import TimelineMap
from odradek.broker.transactions.ending import NO_PRODUCER, Transition, complete, end, fence
from odradek.broker.transactions.initialization import check_may_initialize, created, initialize
from odradek.broker.transactions.metadata import (
    NO_PRODUCER_EPOCH,
    TV_1,
    TransactionMetadata,
    from_record,
    tombstone,
)
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.state import TransactionState
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.persistent.transaction.transaction_log import TransactionLogKey, TransactionLogValue

_log = logging.getLogger(__name__)

_ABORT_TIMER = "abort-timed-out"
_EXPIRY_TIMER = "expire-transactional-ids"
MAX_ABORTS_AT_ONCE = 200
"""How many timed-out transactions are aborted in one go."""
_MORE_ABORTS_MS = 100
"""When the others follow; not at once, for the log may not take them now."""


class Outcome(NamedTuple):
    """What a client is told: the producer to go on as, or an error for which something had to be written first."""

    producer: Producer = NO_PRODUCER
    error_code: ErrorCode = ErrorCode.NONE


class Effects(Protocol):
    """What the state machine causes outside of itself."""

    def prepared(self, partition: TopicPartition, metadata: TransactionMetadata) -> None:
        """A transaction is decided, and the decision is in the log: its markers are to be written."""
        ...

    def timed_out(self, partition: TopicPartition, metadata: TransactionMetadata) -> None:
        """A transaction is going on for longer than its producer wanted: it is to be aborted."""
        ...


class TransactionShard:
    """Transactional ids; every operation is a write of the runtime, but for those that say otherwise.

    The epoch before a producer's present one is not in the log, as in Kafka: it lets a request come again, but not
    after a restart.
    """

    def __init__(self, context: ShardContext[TransactionShard], options: TransactionOptions, effects: Effects) -> None:
        self._context = context
        self._options = options
        self._effects = effects
        self._transactions: TimelineMap[str, TransactionMetadata] = TimelineMap(context.timeline)
        self._last_epochs: dict[str, tuple[Producer, int]] = {}
        """By transactional id: a producer, and the epoch from which it came to the one it has."""

    def replay(self, _offset: int, _producer_id: int, record: CoordinatorRecord) -> None:
        """Apply a record of the log."""
        key, value = record.key, record.value
        if not isinstance(key, TransactionLogKey):
            return
        if isinstance(value, TransactionLogValue):
            self._transactions.set(key.transactional_id, from_record(key.transactional_id, value))
        else:
            self._transactions.remove(key.transactional_id)
            self._last_epochs.pop(key.transactional_id, None)

    def replay_end_of_transaction(self, _producer_id: int, *, committed: bool) -> None:
        """Nobody writes to this topic in transactions."""

    def on_loaded(self) -> None:
        """Go on with what was decided, and start to look for what is overdue."""
        for metadata in self._transactions.values():
            if metadata.is_prepared:
                self._effects.prepared(self._context.partition, metadata)
        self._schedule_aborts(self._options.abort_check_interval_ms)
        self._schedule_expiry()

    def on_unloaded(self) -> None:
        """Nothing is parked here."""

    def init_producer_id(
        self,
        transactional_id: str,
        timeout_ms: int,
        expected: Producer | None,
        *,
        server_version: int,
        new_producer_id: int | None,
    ) -> CoordinatorResult[Outcome | None]:
        """Let a producer begin, or begin again, under a transactional id; None if a new producer id is needed.

        A transaction that is going on is aborted first, and the client comes again. Raises CONCURRENT_TRANSACTIONS,
        PRODUCER_FENCED.
        """
        now_ms = self._context.clock.now_ms()
        current = self._transactions.get(transactional_id)
        if current is None:
            if new_producer_id is None:
                return CoordinatorResult((), None)
            return self._begin(created(transactional_id, timeout_ms, new_producer_id, now_ms), server_version)
        check_may_initialize(current, expected)
        if current.state is TransactionState.ONGOING:
            transition = fence(
                current, server_version=server_version, new_producer_id=new_producer_id, now_ms=now_ms
            )  # fmt: skip
            outcome = Outcome(error_code=ErrorCode.CONCURRENT_TRANSACTIONS)
            return self._prepare(transition, server_version, outcome)
        return self._begin(
            initialize(
                current, timeout_ms, expected, last_epoch=self._last_epoch(current), new_producer_id=new_producer_id,
                now_ms=now_ms,
            ),
            server_version,
        )  # fmt: skip

    def add_partitions(
        self,
        transactional_id: str,
        producer: Producer,
        partitions: Iterable[TopicPartition],
        *,
        client_version: int,
        server_version: int,
    ) -> CoordinatorResult[None]:
        """Make partitions part of the producer's transaction, which begins with the first ones.

        Raises CONCURRENT_TRANSACTIONS, INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, UNSUPPORTED_VERSION.
        """
        _check_version(client_version, server_version)
        current = self._existing(self._transactions.get(transactional_id))
        if current.is_prepared:
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
        _check_producer(current, producer)
        added = dict.fromkeys(partitions)
        is_ongoing = current.state is TransactionState.ONGOING
        if is_ongoing and added.keys() <= current.partitions.keys():
            return CoordinatorResult((), None)
        now_ms = self._context.clock.now_ms()
        metadata = current._replace(
            state=TransactionState.ONGOING,
            partitions={**current.partitions, **added},
            start_ms=current.start_ms if is_ongoing else now_ms,
            last_update_ms=now_ms,
            previous_producer_id=current.producer_id,
            client_version=client_version,
        )
        return CoordinatorResult([metadata.record(server_version)], None)

    def verify_partitions(
        self, transactional_id: str, producer: Producer, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        """Which partitions are part of the producer's transaction, for those that get its records (a read).

        TRANSACTION_ABORTABLE stands for those that are not. Raises INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED,
        CONCURRENT_TRANSACTIONS.
        """
        current = self._existing(self._transactions.committed(transactional_id))
        _check_producer(current, producer)
        if current.is_prepared:
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
        return {
            name: ErrorCode.NONE if name in current.partitions else ErrorCode.TRANSACTION_ABORTABLE
            for name in partitions
        }

    def end_transaction(
        self,
        transactional_id: str,
        producer: Producer,
        *,
        is_commit: bool,
        client_version: int,
        server_version: int,
        new_producer_id: int | None,
    ) -> CoordinatorResult[Outcome | None]:
        """Decide that a transaction is committed or aborted; None if a new producer id is needed.

        The client is answered when the decision is in the log; markers come after that. Raises
        INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE, UNSUPPORTED_VERSION.
        """
        _check_version(client_version, server_version)
        current = self._existing(self._transactions.get(transactional_id))
        now_ms = self._context.clock.now_ms()
        ended = end(
            current, producer, is_commit=is_commit, client_version=client_version, last_epoch=self._last_epoch(current),
            new_producer_id=new_producer_id, now_ms=now_ms,
        )  # fmt: skip
        if isinstance(ended, Producer):
            return CoordinatorResult((), Outcome(ended))
        if ended is None:
            return CoordinatorResult((), None)
        completed = complete(ended.metadata, now_ms)
        has_new_epoch = completed.producer_epoch != current.producer_epoch
        producer = Producer(completed.producer_id, completed.producer_epoch) if has_new_epoch else NO_PRODUCER
        return self._prepare(ended, server_version, Outcome(producer))

    def abort_timed_out(
        self, seen: TransactionMetadata, *, server_version: int, new_producer_id: int | None
    ) -> CoordinatorResult[Outcome | None]:
        """Abort a transaction unless it went on since it was `seen`; None if a new producer id is needed."""
        current = self._transactions.get(seen.transactional_id)
        is_same = current is not None and current.producer == seen.producer and current.start_ms == seen.start_ms
        if current is None or current.state is not TransactionState.ONGOING or not is_same:
            return CoordinatorResult((), Outcome())
        transition = fence(
            current, server_version=server_version, new_producer_id=new_producer_id,
            now_ms=self._context.clock.now_ms(),
        )  # fmt: skip
        if transition is not None:
            _log.info("aborting the transaction of %s, which timed out", seen.transactional_id)
        return self._prepare(transition, server_version, Outcome())

    def complete_transaction(self, prepared: TransactionMetadata, *, server_version: int) -> CoordinatorResult[None]:
        """All markers of a prepared transaction are written; nothing happens if it is not as it was."""
        current = self._transactions.get(prepared.transactional_id)
        if current is None or not prepared.is_same_decision(current):
            return CoordinatorResult((), None)
        completed = complete(current, self._context.clock.now_ms())
        self._remember(Transition(completed, self._last_epoch(current)))
        return CoordinatorResult([completed.record(server_version)], None)

    def views(self, transactional_id: str) -> tuple[TransactionMetadata | None, TransactionMetadata | None]:
        """A transactional id as the log has it, and as it is with what is not committed yet (a read)."""
        return self._transactions.committed(transactional_id), self._transactions.get(transactional_id)

    def all_committed(self) -> list[TransactionMetadata]:
        """All transactional ids as the log has them (a read)."""
        return [metadata for _, metadata in self._transactions.committed_items()]

    def _begin(self, transition: Transition | None, server_version: int) -> CoordinatorResult[Outcome | None]:
        if transition is None:
            return CoordinatorResult((), None)
        self._remember(transition)
        metadata = transition.metadata
        _log.debug("%s is producer %d in epoch %d", *metadata[:3])
        return CoordinatorResult([metadata.record(server_version)], Outcome(metadata.producer))

    def _prepare(
        self, transition: Transition | None, server_version: int, outcome: Outcome
    ) -> CoordinatorResult[Outcome | None]:
        if transition is None:
            return CoordinatorResult((), None)
        self._remember(transition)
        metadata = transition.metadata

        def decided(error: KafkaError | None) -> None:
            # One that is not committed in time may be later.
            if error is None or error.code is ErrorCode.REQUEST_TIMED_OUT:
                self._effects.prepared(self._context.partition, metadata)

        return CoordinatorResult([metadata.record(server_version)], outcome, on_committed=decided)

    @staticmethod
    def _existing(metadata: TransactionMetadata | None) -> TransactionMetadata:
        if metadata is None:
            raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        return metadata

    def _remember(self, transition: Transition) -> None:
        """Note the epoch before. A note counts for one producer in one epoch only, so it needs not be taken back."""
        metadata, last_epoch = transition
        if last_epoch != NO_PRODUCER_EPOCH:
            self._last_epochs[metadata.transactional_id] = (metadata.producer, last_epoch)

    def _last_epoch(self, metadata: TransactionMetadata) -> int:
        producer, last_epoch = self._last_epochs.get(metadata.transactional_id, (NO_PRODUCER, NO_PRODUCER_EPOCH))
        return last_epoch if producer == metadata.producer else NO_PRODUCER_EPOCH

    def _abort_overdue(self) -> CoordinatorResult[None]:
        now_ms = self._context.clock.now_ms()
        overdue = [
            metadata
            for metadata in self._transactions.values()
            if metadata.state is TransactionState.ONGOING and metadata.start_ms + metadata.timeout_ms < now_ms
        ]
        for metadata in overdue[:MAX_ABORTS_AT_ONCE]:
            self._effects.timed_out(self._context.partition, metadata)
        self._schedule_aborts(
            _MORE_ABORTS_MS if len(overdue) > MAX_ABORTS_AT_ONCE else self._options.abort_check_interval_ms
        )
        return CoordinatorResult((), None)

    def _expire(self) -> CoordinatorResult[None]:
        self._schedule_expiry()
        oldest_ms = self._context.clock.now_ms() - self._options.expiration_ms
        expired = [
            metadata.transactional_id
            for metadata in self._transactions.values()
            if metadata.is_at_rest and metadata.last_update_ms <= oldest_ms
        ]
        if expired:
            _log.info("forgetting %d transactional ids, which expired", len(expired))
        return CoordinatorResult([tombstone(transactional_id) for transactional_id in expired], None, atomic=False)

    def _schedule_aborts(self, delay_ms: float) -> None:
        self._context.timers.schedule(_ABORT_TIMER, delay_ms, self._abort_overdue, recurring=True)

    def _schedule_expiry(self) -> None:
        interval_ms = self._options.expiration_check_interval_ms
        self._context.timers.schedule(_EXPIRY_TIMER, interval_ms, self._expire, recurring=True)


def _check_version(client_version: int, server_version: int) -> None:
    if client_version and server_version < TV_1:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)


def _check_producer(metadata: TransactionMetadata, producer: Producer) -> None:
    if producer.producer_id != metadata.producer_id:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if producer.producer_epoch != metadata.producer_epoch:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
