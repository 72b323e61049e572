"""InitProducerId with a transactional id: who may go on under it, and with which epoch (KIP-98, KIP-360)."""

from __future__ import annotations

from odradek.broker.coordinator.result import NO_PRODUCER_ID, Producer
from odradek.broker.transactions.ending import Transition
from odradek.broker.transactions.metadata import (
    LAST_CLIENT_EPOCH,
    NO_PRODUCER_EPOCH,
    NO_TIMESTAMP,
    TransactionMetadata,
)
from odradek.broker.transactions.state import TransactionState
from odradek.wire.errors import ErrorCode, KafkaError


def created(transactional_id: str, timeout_ms: int, producer_id: int, now_ms: int) -> Transition:
    """The first producer of a transactional id."""
    metadata = TransactionMetadata(
        transactional_id, producer_id, 0, timeout_ms, last_update_ms=now_ms, previous_producer_id=producer_id
    )
    return Transition(metadata, NO_PRODUCER_EPOCH)


def check_may_initialize(current: TransactionMetadata, expected: Producer | None) -> None:
    """Raise CONCURRENT_TRANSACTIONS while a transaction is being completed, PRODUCER_FENCED for another producer.

    `expected` is who the client says it was, None if it is new. The id that was in use before is good as long as its
    epochs had run out: the client may not have heard of the new one.
    """
    if current.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if expected is None or expected.producer_id == current.producer_id:
        return
    if expected.producer_id != current.previous_producer_id or expected.producer_epoch < LAST_CLIENT_EPOCH:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)


def initialize(
    current: TransactionMetadata,
    timeout_ms: int,
    expected: Producer | None,
    *,
    last_epoch: int,
    new_producer_id: int | None,
    now_ms: int,
) -> Transition | None:
    """Give out the next epoch, or the first of a new producer id; None if that is needed.

    `current` is at rest and passed `check_may_initialize`. A request that comes again, known by `last_epoch`, gets what
    it got before. Raises PRODUCER_FENCED for any other epoch.
    """
    producer_id, epoch, before = current.producer_id, current.producer_epoch + 1, NO_PRODUCER_EPOCH
    if expected is not None:
        if expected.producer_epoch == current.producer_epoch:
            before = current.producer_epoch
        elif expected.producer_epoch == last_epoch:
            epoch, before = current.producer_epoch, last_epoch
        else:
            raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if epoch > LAST_CLIENT_EPOCH:
        if new_producer_id is None:
            return None
        producer_id, epoch = new_producer_id, 0
    metadata = current._replace(
        producer_id=producer_id,
        producer_epoch=epoch,
        previous_producer_id=current.producer_id,
        next_producer_id=NO_PRODUCER_ID,
        timeout_ms=timeout_ms,
        state=TransactionState.EMPTY,
        partitions={},
        start_ms=NO_TIMESTAMP,
        last_update_ms=now_ms,
    )
    return Transition(metadata, before)
