"""Metadata records to batches of the log, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from odradek.quorum.log import Batch
from odradek.quorum.voters import VoterSet, VotersHistory
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.kraft_version_record import KRaftVersionRecord
from odradek.wire.messages.voters_record import VotersRecord
from odradek.wire.persistent.framing import decode_metadata_record, encode_metadata_record
from odradek.wire.records.batch import BatchBuilder, iter_records
from odradek.wire.records.control import ControlType, build_control_batch, parse_control_message
from odradek.wire.records.header import CONTROL_BIT, BatchHeader, crc_is_valid, iter_batches
from odradek.wire.schema import Message

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""The largest batch that a leader writes and a follower fetches."""


class Encoded(NamedTuple):
    """Batches as bytes, and as what listeners get once they are committed."""

    data: bytearray
    batches: list[Batch]


def encode_batches(
    records: Sequence[tuple[Message, int]], base_offset: int, epoch: int, timestamp_ms: int, *, atomic: bool
) -> Encoded:
    """Batches of (record, version) pairs from `base_offset` on.

    Atomic records share one batch, since only a whole batch is appended or lost; POLICY_VIOLATION if they do not fit.
    """
    encoded = Encoded(bytearray(), [])
    builder = BatchBuilder(base_offset, leader_epoch=epoch)
    messages: list[Message] = []
    for message, version in records:
        value = encode_metadata_record(message, version)
        if messages and builder.size_bytes + len(value) > MAX_BATCH_BYTES:
            if atomic:
                raise KafkaError(ErrorCode.POLICY_VIOLATION, "Unable to perform excessively large batch operation.")
            _finish(encoded, builder, messages, epoch, timestamp_ms)
            builder = BatchBuilder(builder.next_offset, leader_epoch=epoch)
            messages = []
        builder.append(timestamp_ms, None, value)
        messages.append(message)
    if messages:
        _finish(encoded, builder, messages, epoch, timestamp_ms)
    return encoded


def _finish(encoded: Encoded, builder: BatchBuilder, messages: list[Message], epoch: int, timestamp_ms: int) -> None:
    data = builder.build()
    encoded.data.extend(data)
    encoded.batches.append(
        Batch(builder.base_offset, builder.next_offset - 1, epoch, timestamp_ms, len(data), messages)
    )


def encode_control_batch(
    messages: Sequence[tuple[ControlType, Message]], base_offset: int, epoch: int, timestamp_ms: int
) -> Encoded:
    """One control batch of (type, message) pairs."""
    data = build_control_batch(messages, base_offset=base_offset, timestamp_ms=timestamp_ms, leader_epoch=epoch)
    batch = Batch(base_offset, base_offset + len(messages) - 1, epoch, timestamp_ms, len(data), ())
    return Encoded(bytearray(data), [batch])


def decode_batches(data: bytes, history: VotersHistory | None = None) -> Iterator[Batch]:
    """The batches in bytes of the log; control records about voters go into `history`.

    KafkaError CORRUPT_MESSAGE if a checksum is wrong, ProtocolError for a record that cannot be read.
    """
    view = memoryview(data)
    for position, header in iter_batches(data):
        if not crc_is_valid(data, position):
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Checksum of the batch at offset {header.base_offset}")
        batch = view[position : position + header.size_bytes]
        records: Sequence[Message] = ()
        if header.attributes & CONTROL_BIT:
            if history is not None:
                for offset, message in control_messages(batch):
                    note(history, offset, message)
        else:
            records = [decode_metadata_record(record.value or b"")[0] for record in iter_records(batch)]
        yield _batch(header, records)


def _batch(header: BatchHeader, records: Sequence[Message]) -> Batch:
    return Batch(
        header.base_offset,
        header.base_offset + header.last_offset_delta,
        header.leader_epoch,
        header.max_timestamp_ms,
        header.size_bytes,
        records,
    )


def control_messages(batch: memoryview) -> Iterator[tuple[int, Message]]:
    """(offset, message) of a control batch's records that are known."""
    for record in iter_records(batch):
        parsed = parse_control_message(record)
        if parsed is not None:
            yield record.offset, parsed[1]


def note_controls(history: VotersHistory, data: bytes) -> None:
    """Remember what the control batches in bytes of the log say about voters."""
    view = memoryview(data)
    for position, header in iter_batches(data):
        if header.attributes & CONTROL_BIT:
            for offset, message in control_messages(view[position : position + header.size_bytes]):
                note(history, offset, message)


def whole_batches(data: bytes | bytearray | memoryview) -> bytes:
    """The whole batches at the beginning of what a leader sent, which may end in a part of one."""
    end = 0
    for position, header in iter_batches(data):
        end = position + header.size_bytes
    return bytes(data[:end])


def note(history: VotersHistory, offset: int, message: Message) -> None:
    """Remember what a control record says about voters."""
    if isinstance(message, VotersRecord):
        history.set_voters(offset, VoterSet.from_record(message))
    elif isinstance(message, KRaftVersionRecord):
        history.set_kraft_version(offset, message.kraft_version)
