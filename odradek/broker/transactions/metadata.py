"""What the coordinator knows of one transactional id, as the records of `__transaction_state` have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.broker.coordinator.batches import RecordCodec
from odradek.broker.coordinator.result import NO_PRODUCER_ID, CoordinatorRecord, Producer
from odradek.broker.transactions.state import AT_REST, PREPARED, WRITTEN, TransactionState
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ProtocolError
from odradek.wire.persistent.transaction import KEYS, VALUES
from odradek.wire.persistent.transaction.transaction_log import (
    PartitionsSchema,
    TransactionLogKey,
    TransactionLogValue,
)

NO_PRODUCER_EPOCH = -1
NO_TIMESTAMP = -1
MAX_EPOCH = 2**15 - 1
LAST_CLIENT_EPOCH = MAX_EPOCH - 1
"""The highest epoch that a client may have: one more must be left to fence it with."""

TV_0 = 0
"""The `transaction.version` of clients of before KIP-890, whatever the cluster's is."""
TV_1 = 1
"""The first that may write the new records."""
TV_2 = 2
"""The first with an epoch per transaction."""

_TRANSACTION_KEY = 0


class TransactionMetadata(NamedTuple):
    """One transactional id. Never changes: a record replaces it as a whole."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    partitions: Mapping[TopicPartition, None] = {}
    """What the transaction has written to, in the order in which it was added."""
    start_ms: int = NO_TIMESTAMP
    last_update_ms: int = NO_TIMESTAMP
    previous_producer_id: int = NO_PRODUCER_ID
    """The producer id before the latest change, which differs where the epochs of that one ran out."""
    next_producer_id: int = NO_PRODUCER_ID
    """The one to go on with when the transaction is complete, because the epochs of the present one ran out."""
    client_version: int = TV_0
    """The `transaction.version` that the producer works by."""

    @property
    def producer(self) -> Producer:
        """The producer id and epoch."""
        return Producer(self.producer_id, self.producer_epoch)

    @property
    def is_prepared(self) -> bool:
        """Whether it is decided, but its markers are not all written."""
        return self.state in PREPARED

    @property
    def is_at_rest(self) -> bool:
        """Whether no transaction is under way."""
        return self.state in AT_REST

    @property
    def is_commit(self) -> bool:
        """Whether the latest transaction is, or is being, committed."""
        return self.state in (TransactionState.PREPARE_COMMIT, TransactionState.COMPLETE_COMMIT)

    @property
    def is_epoch_exhausted(self) -> bool:
        """Whether the producer id has no epoch left for a client."""
        return self.producer_epoch >= LAST_CLIENT_EPOCH

    def is_same_decision(self, other: TransactionMetadata) -> bool:
        """Whether both are the same transaction, decided and not complete."""
        return self.is_prepared and self.state is other.state and self.producer == other.producer

    def record(self, server_version: int) -> CoordinatorRecord:
        """The record that makes this the state of its transactional id, as a cluster of `server_version` has it."""
        partitions: list[PartitionsSchema] | None = None
        if self.state is not TransactionState.EMPTY:
            by_topic: dict[str, list[int]] = {}
            for name in self.partitions:
                by_topic.setdefault(name.topic, []).append(name.partition)
            partitions = [PartitionsSchema(topic=topic, partition_ids=ids) for topic, ids in by_topic.items()]
        value = TransactionLogValue(
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            transaction_timeout_ms=self.timeout_ms,
            transaction_status=self.state,
            transaction_partitions=partitions,
            transaction_last_update_timestamp_ms=self.last_update_ms,
            transaction_start_timestamp_ms=self.start_ms,
        )
        version = 1 if server_version >= TV_1 else 0
        if version:
            value.previous_producer_id = self.previous_producer_id
            value.next_producer_id = self.next_producer_id
            value.client_transaction_version = self.client_version
        return CoordinatorRecord(TransactionLogKey(transactional_id=self.transactional_id), value, version)


def tombstone(transactional_id: str) -> CoordinatorRecord:
    """The record that forgets a transactional id."""
    return CoordinatorRecord(TransactionLogKey(transactional_id=transactional_id), None)


def from_record(transactional_id: str, value: TransactionLogValue) -> TransactionMetadata:
    """What a record says; raises ProtocolError for a state that nobody writes."""
    if value.transaction_status not in WRITTEN:
        raise ProtocolError(f"transactional id {transactional_id!r} is in the unknown state {value.transaction_status}")
    return TransactionMetadata(
        transactional_id=transactional_id,
        producer_id=value.producer_id,
        producer_epoch=value.producer_epoch,
        timeout_ms=value.transaction_timeout_ms,
        state=TransactionState(value.transaction_status),
        partitions={
            TopicPartition(topic.topic, index): None
            for topic in value.transaction_partitions or ()
            for index in topic.partition_ids
        },
        start_ms=value.transaction_start_timestamp_ms,
        last_update_ms=value.transaction_last_update_timestamp_ms,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        client_version=value.client_transaction_version,
    )


def transaction_record_codec() -> RecordCodec:
    """Reads and writes the records of `__transaction_state`."""
    return RecordCodec(KEYS, VALUES, (_TRANSACTION_KEY,))
