"""How transactions end: EndTxn in both protocols, the abort of a fenced producer, and completion (KIP-98, KIP-890)."""

from __future__ import annotations

from typing import NamedTuple

from odradek.broker.coordinator.result import NO_PRODUCER_ID, Producer
from odradek.broker.transactions.metadata import (
    LAST_CLIENT_EPOCH,
    MAX_EPOCH,
    NO_PRODUCER_EPOCH,
    TV_0,
    TV_2,
    TransactionMetadata,
)
from odradek.broker.transactions.state import TransactionState
from odradek.wire.errors import ErrorCode, KafkaError

NO_PRODUCER = Producer(NO_PRODUCER_ID, NO_PRODUCER_EPOCH)


class Transition(NamedTuple):
    """A change to be written. `last_epoch` is the epoch before, with which the request may come again."""

    metadata: TransactionMetadata
    last_epoch: int


def end(
    current: TransactionMetadata,
    producer: Producer,
    *,
    is_commit: bool,
    client_version: int,
    last_epoch: int,
    new_producer_id: int | None,
    now_ms: int,
) -> Transition | Producer | None:
    """Decide an EndTxn: what to write, or whom to tell that it is done already; None if a new producer id is needed.

    Raises INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE.
    """
    if client_version < TV_2:
        return _end_by_state(current, producer, is_commit=is_commit, last_epoch=last_epoch, now_ms=now_ms)
    return _end_by_epoch(
        current, producer, is_commit=is_commit, client_version=client_version, new_producer_id=new_producer_id,
        now_ms=now_ms,
    )  # fmt: skip


def fence(
    current: TransactionMetadata, *, server_version: int, new_producer_id: int | None, now_ms: int
) -> Transition | None:
    """Abort the transaction that is going on, with an epoch that its producer does not have."""
    if server_version >= TV_2:
        return _prepare_with_new_epoch(
            current, TransactionState.PREPARE_ABORT, client_version=server_version, new_producer_id=new_producer_id,
            now_ms=now_ms,
        )  # fmt: skip
    prepared = _prepare(current, TransactionState.PREPARE_ABORT, now_ms)
    fenced = prepared._replace(producer_epoch=min(current.producer_epoch + 1, MAX_EPOCH))
    return Transition(fenced, NO_PRODUCER_EPOCH)


def complete(current: TransactionMetadata, now_ms: int) -> TransactionMetadata:
    """All markers are written; the producer goes on with its next id if it has one."""
    has_next = current.client_version >= TV_2 and current.next_producer_id != NO_PRODUCER_ID
    return current._replace(
        producer_id=current.next_producer_id if has_next else current.producer_id,
        producer_epoch=0 if has_next else current.producer_epoch,
        previous_producer_id=current.producer_id,
        next_producer_id=NO_PRODUCER_ID,
        state=TransactionState.COMPLETE_COMMIT if current.is_commit else TransactionState.COMPLETE_ABORT,
        partitions={},
        last_update_ms=now_ms,
    )


def _end_by_state(
    current: TransactionMetadata, producer: Producer, *, is_commit: bool, last_epoch: int, now_ms: int
) -> Transition | Producer:
    """Before KIP-890: the epoch stays, and a request that comes again is known by the state it asks for."""
    if producer.producer_id != current.producer_id:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if producer.producer_epoch != current.producer_epoch:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if current.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if current.state is TransactionState.ONGOING:
        return Transition(_prepare(current, _prepared_state(is_commit), now_ms), last_epoch)
    if current.state is (TransactionState.COMPLETE_COMMIT if is_commit else TransactionState.COMPLETE_ABORT):
        return NO_PRODUCER
    raise KafkaError(ErrorCode.INVALID_TXN_STATE)


def _end_by_epoch(
    current: TransactionMetadata,
    producer: Producer,
    *,
    is_commit: bool,
    client_version: int,
    new_producer_id: int | None,
    now_ms: int,
) -> Transition | Producer | None:
    """KIP-890: each end raises the epoch, so that one of an earlier epoch is known to be late.

    An abort is taken at any time, since the producer may not know whether its partitions were added.
    """
    if current.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    is_of_previous_id = (
        producer == Producer(current.previous_producer_id, LAST_CLIENT_EPOCH) and current.producer_epoch == 0
    )
    is_late = is_of_previous_id or producer.producer_epoch + 1 == current.producer_epoch
    if producer.producer_id != current.producer_id and not is_of_previous_id:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    is_complete = current.state in (TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)
    if producer.producer_epoch != current.producer_epoch and not (is_complete and is_late):
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if is_complete and is_late:
        if is_commit != current.is_commit:
            raise KafkaError(ErrorCode.INVALID_TXN_STATE)
        return Producer(current.producer_id, current.producer_epoch)
    if is_commit and current.state is not TransactionState.ONGOING:
        raise KafkaError(ErrorCode.INVALID_TXN_STATE)
    return _prepare_with_new_epoch(
        current, _prepared_state(is_commit), client_version=client_version, new_producer_id=new_producer_id,
        now_ms=now_ms,
    )  # fmt: skip


def _prepare_with_new_epoch(
    current: TransactionMetadata,
    state: TransactionState,
    *,
    client_version: int,
    new_producer_id: int | None,
    now_ms: int,
) -> Transition | None:
    next_producer_id = NO_PRODUCER_ID
    if current.is_epoch_exhausted:
        if new_producer_id is None:
            return None
        next_producer_id = new_producer_id
    prepared = _prepare(current, state, now_ms)._replace(
        producer_epoch=min(current.producer_epoch + 1, MAX_EPOCH),
        next_producer_id=next_producer_id,
        client_version=client_version,
        # Without partitions it has not begun, but an end without a beginning would be no transaction.
        start_ms=current.start_ms if current.state is TransactionState.ONGOING else now_ms,
    )
    return Transition(prepared, current.producer_epoch)


def _prepare(current: TransactionMetadata, state: TransactionState, now_ms: int) -> TransactionMetadata:
    return current._replace(
        state=state,
        previous_producer_id=current.producer_id,
        next_producer_id=NO_PRODUCER_ID,
        last_update_ms=now_ms,
        client_version=TV_0,
    )


def _prepared_state(is_commit: bool) -> TransactionState:
    return TransactionState.PREPARE_COMMIT if is_commit else TransactionState.PREPARE_ABORT
