"""Coordinator records as record batches, and back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from odradek.broker.coordinator.result import NO_PRODUCER_ID, CoordinatorRecord, Producer, StateMachine
from odradek.ports import Slices
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.persistent.framing import decode_versioned, encode_key, encode_versioned
from odradek.wire.persistent.registry import Registry
from odradek.wire.records.batch import BatchBuilder, iter_records
from odradek.wire.records.compression import Codec
from odradek.wire.records.control import ControlType, parse_end_txn_marker
from odradek.wire.records.header import BatchHeader

_log = logging.getLogger(__name__)

_KEY_TYPE_BYTES = 2


class RecordCodec:
    """Keys and values of one internal topic. `known` are the key types that the state machine replays."""

    def __init__(self, keys: Registry, values: Registry, known: Sequence[int]) -> None:
        self._keys = keys
        self._values = values
        self._known = frozenset(known)
        self._skipped: set[int] = set()

    def encode(self, record: CoordinatorRecord) -> tuple[bytes, bytes | None]:
        """A record's key and value in the log."""
        value = None if record.value is None else encode_versioned(record.value, record.value_version)
        return encode_key(record.key), value

    def decode(self, key: bytes | None, value: bytes | None) -> CoordinatorRecord | None:
        """The record, or None if its type is one that is skipped: it stays in the log for those who know it.

        Raises ProtocolError if it is malformed.
        """
        if key is None or len(key) < _KEY_TYPE_BYTES:
            raise ProtocolError("coordinator record without a key")
        key_type = int.from_bytes(key[:_KEY_TYPE_BYTES], "big", signed=True)
        if key_type not in self._known:
            if key_type not in self._skipped:
                self._skipped.add(key_type)
                _log.warning("skipping coordinator records of type %d, which is not served", key_type)
            return None
        decoded_key = self._keys.record_class(key_type).decode(key[_KEY_TYPE_BYTES:], 0)
        if value is None:
            return CoordinatorRecord(decoded_key, None)
        decoded_value, version = decode_versioned(self._values.record_class(key_type), value)
        return CoordinatorRecord(decoded_key, decoded_value, version)


async def build_batches(
    codec: RecordCodec,
    records: Sequence[CoordinatorRecord],
    slices: Slices,
    *,
    now_ms: int,
    compression: Codec,
    producer: Producer | None,
    max_batch_bytes: int,
    atomic: bool,
) -> list[tuple[bytearray, Sequence[CoordinatorRecord]]]:
    """Batches for the log, each with its records; just one if `atomic`. Gives way between records.

    Raises MESSAGE_TOO_LARGE for a batch above `max_batch_bytes`.
    """
    batches: list[tuple[bytearray, Sequence[CoordinatorRecord]]] = []
    builder = _builder(compression, producer)
    start = 0
    async for index, record in slices.each(enumerate(records)):
        key, value = codec.encode(record)
        if not atomic and builder.record_count and builder.size_bytes + _entry_bytes(key, value) > max_batch_bytes:
            batches.append((bytearray(builder.build()), records[start:index]))
            builder, start = _builder(compression, producer), index
        builder.append(now_ms, key, value)
    batches.append((bytearray(builder.build()), records[start:]))
    if any(len(batch) > max_batch_bytes for batch, _ in batches):
        raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE)
    return batches


_ENTRY_OVERHEAD_BYTES = 32
"""More than a record takes beside its key and value: lengths, deltas, attributes, no headers."""


def _entry_bytes(key: bytes, value: bytes | None) -> int:
    return len(key) + len(value or b"") + _ENTRY_OVERHEAD_BYTES


def _builder(compression: Codec, producer: Producer | None) -> BatchBuilder:
    if producer is None:
        return BatchBuilder(codec=compression)
    return BatchBuilder(
        codec=compression,
        producer_id=producer.producer_id,
        producer_epoch=producer.producer_epoch,
        is_transactional=True,
    )


def replay_batch(machine: StateMachine, codec: RecordCodec, batch: memoryview, header: BatchHeader) -> Iterator[None]:
    """Feed a batch of the log to a state machine, a record with each step of the iterator.

    Raises ProtocolError or KafkaError for bytes that make no sense.
    """
    if header.is_control:
        for record in iter_records(batch):
            marker = parse_end_txn_marker(record)
            machine.replay_end_of_transaction(header.producer_id, committed=marker.control_type is ControlType.COMMIT)
            yield
        return
    producer_id = header.producer_id if header.is_transactional else NO_PRODUCER_ID
    for record in iter_records(batch):
        decoded = codec.decode(record.key, record.value)
        if decoded is not None:
            machine.replay(record.offset, producer_id, decoded)
        yield
