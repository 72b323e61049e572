"""What must hold before batches are written to a log."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odradek.ports.files import Buffer
from odradek.storage.batches import CorruptBatchError, check_crc, walk, whole_header
from odradek.storage.log_results import AppendOrigin, UnexpectedOffsetError
from odradek.storage.markers import parse_marker
from odradek.storage.producers import ProducerBatch
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import CONTROL_BIT, LENGTH_AT, LOG_OVERHEAD_BYTES, BatchHeader, parse_header

if TYPE_CHECKING:
    from odradek.storage.log_appends import LogAppends

_LENGTH = struct.Struct(">i")


def parse_headers(batches: Buffer) -> list[BatchHeader]:
    """The headers of one or more whole batches. Raises KafkaError CORRUPT_MESSAGE."""
    first = parse_header(batches)
    if first.size_bytes == len(batches):
        return [first]
    try:
        return [stored.header for stored, _ in walk(memoryview(batches))]
    except CorruptBatchError as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, str(error)) from error


def check_leader_append(
    log: LogAppends, batches: Buffer, headers: Sequence[BatchHeader], origin: AppendOrigin, transaction_version: int
) -> ProducerBatch | None:
    """Raise KafkaError unless the batches may be appended; the batch that a client's is a duplicate of."""
    config = log.config
    if len(batches) > config.segment_bytes:
        raise KafkaError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"{len(batches)} bytes at once are more than a segment's {config.segment_bytes}",
        )
    position = 0
    for header in headers:
        size = header.length + LOG_OVERHEAD_BYTES
        if size > config.max_message_bytes and origin is not AppendOrigin.RAFT:
            raise KafkaError(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"A batch of {size} bytes for {log.topic_partition} is over the limit of {config.max_message_bytes}",
            )
        if header.producer_id >= 0:
            duplicate = _check_producer(log, batches, position, header, origin, transaction_version)
            if duplicate is not None:
                return duplicate
        position += size
    return None


def check_replicated(view: memoryview, log_end_offset: int) -> tuple[memoryview, list[BatchHeader]]:
    """The whole batches of a fetch response, with their headers. Half a batch at the end is left out.

    Raises KafkaError CORRUPT_MESSAGE, UnexpectedOffsetError.
    """
    headers: list[BatchHeader] = []
    next_offset = log_end_offset
    at, there = 0, len(view)
    try:
        while there - at >= LOG_OVERHEAD_BYTES:
            (length,) = _LENGTH.unpack_from(view, at + LENGTH_AT)
            behind = at + LOG_OVERHEAD_BYTES + length
            if behind > there:
                break
            header = whole_header(view, at, at, there)
            check_crc(view[at:behind], header, at)
            base_offset = header.base_offset
            if base_offset < next_offset:
                raise UnexpectedOffsetError(base_offset, next_offset)
            next_offset = base_offset + header.last_offset_delta + 1
            headers.append(header)
            at = behind
    except CorruptBatchError as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, str(error)) from error
    return view[:at], headers


def _check_producer(
    log: LogAppends, batches: Buffer, position: int, header: BatchHeader, origin: AppendOrigin, transaction_version: int
) -> ProducerBatch | None:
    producers = log.producers
    if header.attributes & CONTROL_BIT:
        marker = parse_marker(memoryview(batches)[position : position + header.size_bytes])
        if marker is not None:
            producers.check_marker(
                header.producer_id, header.producer_epoch, marker.coordinator_epoch, log.log_end_offset,
                transaction_version,
            )  # fmt: skip
        return None
    producer_id, epoch, sequence = header.producer_id, header.producer_epoch, header.base_sequence
    is_client = origin is AppendOrigin.CLIENT
    if is_client:
        if producers.next_of(producer_id, epoch, sequence, is_transactional=header.is_transactional) is not None:
            return None
        duplicate = producers.find_duplicate(producer_id, epoch, sequence, header.last_offset_delta)
        if duplicate is not None:
            return duplicate
    producers.check_data(
        producer_id, epoch, sequence, log.log_end_offset,
        is_transactional=header.is_transactional, is_client=is_client,
    )  # fmt: skip
    return None


def whole_batches(view: memoryview) -> memoryview:
    """Without the half batch at the end, which a read of limited size may have."""
    end = 0
    while len(view) - end >= LOG_OVERHEAD_BYTES:
        length = int.from_bytes(view[end + LENGTH_AT : end + LOG_OVERHEAD_BYTES], "big", signed=True)
        if length < 0 or end + LOG_OVERHEAD_BYTES + length > len(view):
            break
        end += LOG_OVERHEAD_BYTES + length
    return view[:end]
