"""Keeping producer state in step with the batches of a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from odradek.ports.files import Buffer
from odradek.storage.producers import (
    WINDOW_BATCHES,
    CompletedTransaction,
    ProducerBatch,
    ProducerEntry,
    ProducerStateManager,
)
from odradek.storage.uniform_run import UniformRun
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import (
    CONTROL_BIT,
    MAX_SEQUENCE,
    NO_PRODUCER_ID,
    TRANSACTIONAL_BIT,
    BatchHeader,
    increment_sequence,
)

_new_tuple = tuple.__new__
_ABORT = 0
_COMMIT = 1
_MIN_KEY_BYTES = 4
_MIN_VALUE_BYTES = 6


class Marker(NamedTuple):
    """What an end transaction marker says (EndTxnMarker and the key of a control record)."""

    is_abort: bool
    coordinator_epoch: int
    timestamp_ms: int


def parse_marker(batch: Buffer) -> Marker | None:
    """The marker in a control batch; None if it holds another kind of control record, or none. Raises KafkaError."""
    record = next(iter_records(batch), None)
    if record is None or record.key is None or record.value is None:
        return None
    if len(record.key) < _MIN_KEY_BYTES or len(record.value) < _MIN_VALUE_BYTES:
        return None
    kind = int.from_bytes(record.key[2:4], "big", signed=True)
    if kind not in (_ABORT, _COMMIT):
        return None
    return Marker(kind == _ABORT, int.from_bytes(record.value[2:6], "big", signed=True), record.timestamp_ms)


def apply_batch(
    producers: ProducerStateManager, header: BatchHeader, base_offset: int, batch: Buffer
) -> CompletedTransaction | None:
    """A producer's batch was written at `base_offset`; what it ended, if it is a marker that ended a transaction.

    The caller enters the transaction into the index, if it was aborted, and completes it.
    """
    attributes = header.attributes
    if attributes & CONTROL_BIT:
        marker = parse_marker(batch)
        if marker is None:
            return None
        return producers.apply_marker(
            header.producer_id, header.producer_epoch, marker.coordinator_epoch, base_offset, marker.timestamp_ms,
            is_abort=marker.is_abort,
        )  # fmt: skip
    delta = header.last_offset_delta
    producers.apply_data(
        header.producer_id, header.producer_epoch,
        increment_sequence(header.base_sequence, delta) if header.base_sequence >= 0 else -1,
        base_offset + delta, delta, header.max_timestamp_ms,
        bool(attributes & TRANSACTIONAL_BIT),
    )  # fmt: skip
    return None


def sequences_of(headers: Sequence[BatchHeader]) -> list[range]:
    """Where in a run those batches are that lie behind each other and have the same producer id, for each such id."""
    found: list[range] = []
    begin, producer_id = 0, NO_PRODUCER_ID
    for index, header in enumerate(headers):
        if header.producer_id != producer_id:
            if producer_id >= 0:
                found.append(range(begin, index))
            begin, producer_id = index, header.producer_id
    if producer_id >= 0:
        found.append(range(begin, len(headers)))
    return found


def apply_sequence(
    producers: ProducerStateManager, headers: Sequence[BatchHeader], base_offsets: Sequence[int], which: range
) -> None:
    """Some batches of a run were written: data of one producer without a gap, outside of transactions."""
    batches = []
    for index in which[-WINDOW_BATCHES:]:
        _, _, _, _, _, _, delta, _, max_timestamp_ms, _, _, base_sequence, _ = headers[index]
        last_sequence, last_offset = (base_sequence + delta) & MAX_SEQUENCE, base_offsets[index] + delta
        batches.append(_new_tuple(ProducerBatch, (last_sequence, last_offset, delta, max_timestamp_ms)))
    first = headers[which.start]
    producers.apply_run(first.producer_id, first.producer_epoch, batches)


def apply_uniform(entries: Sequence[ProducerEntry], run: UniformRun, first_offset: int) -> None:
    """The batches of a run were written, the first one at `first_offset`; each of its sequences has its entry."""
    _, _, records, times_ms, sequences = run
    for entry, (_, _, base_sequence, begin, end) in zip(entries, sequences, strict=True):
        count = end - begin
        is_all = count == len(times_ms) and count <= WINDOW_BATCHES
        latest_ms = times_ms if is_all else times_ms[max(begin, end - WINDOW_BATCHES) : end]
        last_sequence = (base_sequence + count * records - 1) & MAX_SEQUENCE
        entry.append_run(last_sequence, first_offset + end * records - 1, records, latest_ms)
