"""The header of a record batch of magic 2: 61 bytes, parsed, packed and changed in place.

The checksum covers everything from the attributes on, so base offset and leader epoch can be rewritten without it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.compression import Codec
from odradek.wire.records.crc import Buffer, crc32c

BASE_OFFSET_AT = 0
LENGTH_AT = 8
LEADER_EPOCH_AT = 12
MAGIC_AT = 16
CRC_AT = 17
ATTRIBUTES_AT = 21
LAST_OFFSET_DELTA_AT = 23
BASE_TIMESTAMP_AT = 27
MAX_TIMESTAMP_AT = 35
PRODUCER_ID_AT = 43
PRODUCER_EPOCH_AT = 51
BASE_SEQUENCE_AT = 53
RECORD_COUNT_AT = 57
RECORDS_AT = 61

HEADER_BYTES = 61
LOG_OVERHEAD_BYTES = 12
"""Base offset and length: what the length field does not count."""
MAGIC_V2 = 2
MIN_LENGTH_V0_BYTES = 14
"""The smallest length of any batch or message: that of an empty message of magic 0."""

MAX_LENGTH_BYTES = 0x7FFF_FFFF - LOG_OVERHEAD_BYTES
"""With the largest length the whole batch has a size that fits an int32."""

CODEC_MASK = 0x07
LOG_APPEND_TIME_BIT = 0x08
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20
DELETE_HORIZON_BIT = 0x40

NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1
NO_TIMESTAMP = -1
NO_LEADER_EPOCH = -1
MAX_SEQUENCE = 0x7FFF_FFFF

_HEADER = struct.Struct(">qiibIhiqqqhii")
_PLACE = struct.Struct(">qii")
"""Base offset, length, leader epoch."""
_OFFSET = struct.Struct(">q")
_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")
_ATTRIBUTES = struct.Struct(">h")
_new_tuple = tuple.__new__


class TimestampType(IntEnum):
    """Who set a batch's timestamps: the producer, or the broker at append."""

    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class BatchHeader(NamedTuple):
    """The header's fields in their order. `length` does not count the first 12 bytes; `size_bytes` is all of it."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        """The whole batch, header included."""
        return self.length + LOG_OVERHEAD_BYTES

    @property
    def last_offset(self) -> int:
        """The offset of the last record, also if compaction removed it."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """The first offset after the batch."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def codec(self) -> Codec:
        """How the records are compressed; KafkaError UNSUPPORTED_COMPRESSION_TYPE for an unknown number."""
        return Codec.of(self.attributes & CODEC_MASK)

    @property
    def timestamp_type(self) -> TimestampType:
        """Whose timestamps the records have."""
        if self.attributes & LOG_APPEND_TIME_BIT:
            return TimestampType.LOG_APPEND_TIME
        return TimestampType.CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        """Whether the batch holds control records, which clients neither write nor see."""
        return bool(self.attributes & CONTROL_BIT)

    @property
    def delete_horizon_ms(self) -> int | None:
        """When the cleaner may drop the batch's tombstones or marker; it stands in place of the base timestamp."""
        return self.base_timestamp_ms if self.attributes & DELETE_HORIZON_BIT else None

    @property
    def has_producer_id(self) -> bool:
        """Whether an idempotent or transactional producer wrote the batch."""
        return self.producer_id > NO_PRODUCER_ID

    @property
    def last_sequence(self) -> int:
        """The sequence number of the last record, or NO_SEQUENCE."""
        if self.base_sequence == NO_SEQUENCE:
            return NO_SEQUENCE
        return increment_sequence(self.base_sequence, self.last_offset_delta)


def increment_sequence(sequence: int, by: int) -> int:
    """`sequence` + `by`; after 2^31 - 1 comes 0."""
    return (sequence + by) & MAX_SEQUENCE


def decrement_sequence(sequence: int, by: int) -> int:
    """`sequence` - `by`; before 0 comes 2^31 - 1."""
    return (sequence - by) & MAX_SEQUENCE


def parse_header(data: Buffer, position: int = 0) -> BatchHeader:
    """The fields at `position`, unchecked; KafkaError CORRUPT_MESSAGE if fewer than 61 bytes are left."""
    if position < 0 or len(data) - position < HEADER_BYTES:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "Batch ends in its header")
    return _new_tuple(BatchHeader, _HEADER.unpack_from(data, position))


def pack_header(header: BatchHeader) -> bytes:
    """The 61 bytes of a header, the checksum as it stands in it."""
    return _HEADER.pack(*header)


def seal_batch(header: BatchHeader, payload: Buffer) -> bytes:
    """A whole batch: `header` with its length and checksum made to fit, and the records as stored."""
    header = header._replace(length=HEADER_BYTES - LOG_OVERHEAD_BYTES + len(payload))
    packed = bytearray(_HEADER.pack(*header))
    packed += payload
    _UINT32.pack_into(packed, CRC_AT, crc32c(memoryview(packed)[ATTRIBUTES_AT:]))
    return bytes(packed)


def crc_is_valid(data: Buffer, position: int = 0) -> bool:
    """Whether the batch at `position` is whole and has the checksum that its header says."""
    header = parse_header(data, position)
    end = position + header.size_bytes
    if header.size_bytes < HEADER_BYTES or end > len(data):
        return False
    return crc32c(memoryview(data)[position + ATTRIBUTES_AT : end]) == header.crc


def next_batch_size(data: Buffer, position: int = 0) -> int | None:
    """The size in bytes of the batch or legacy message at `position`; None if its start is cut off.

    KafkaError CORRUPT_MESSAGE for a length or a magic that no batch has. The batch itself may go on past the end.
    """
    left = len(data) - position
    if left < LOG_OVERHEAD_BYTES:
        return None
    (length,) = _INT32.unpack_from(data, position + LENGTH_AT)
    if not MIN_LENGTH_V0_BYTES <= length <= MAX_LENGTH_BYTES:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Batch length {length} is out of range")
    if left <= MAGIC_AT:
        return None
    magic = data[position + MAGIC_AT]
    if magic > MAGIC_V2:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Unknown magic {magic}")
    if magic == MAGIC_V2 and length < HEADER_BYTES - LOG_OVERHEAD_BYTES:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Batch length {length} is too small")
    return int(length) + LOG_OVERHEAD_BYTES


def iter_batches(data: Buffer, position: int = 0) -> Iterator[tuple[int, BatchHeader]]:
    """(position, header) of each whole batch of magic 2; a batch that is cut off at the end is left out.

    Checksums are not looked at. KafkaError CORRUPT_MESSAGE for a length or magic that cannot be, and
    UNSUPPORTED_FOR_MESSAGE_FORMAT for messages of magic 0 or 1 (`legacy.iter_messages` reads those).
    """
    while True:
        size_bytes = next_batch_size(data, position)
        if size_bytes is None or position + size_bytes > len(data):
            return
        if data[position + MAGIC_AT] != MAGIC_V2:
            raise KafkaError(ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, "Message of magic 0 or 1")
        yield position, parse_header(data, position)
        position += size_bytes


def rewrite_base_offset_and_epoch(
    buffer: bytearray | memoryview, position: int, base_offset: int, leader_epoch: int
) -> None:
    """Give the batch at `position` its place in the log. The checksum does not cover these two fields."""
    _OFFSET.pack_into(buffer, position, base_offset)
    _INT32.pack_into(buffer, position + LEADER_EPOCH_AT, leader_epoch)


def place_batches(
    batches: Sequence[memoryview], headers: Sequence[BatchHeader], base_offsets: Sequence[int], leader_epoch: int
) -> None:
    """`rewrite_base_offset_and_epoch` for batches with a buffer each, whose headers these are."""
    pack_into = _PLACE.pack_into
    for batch, header, base_offset in zip(batches, headers, base_offsets, strict=True):
        pack_into(batch, BASE_OFFSET_AT, base_offset, header.length, leader_epoch)


def place_uniform(
    batches: Sequence[memoryview], batch_bytes: int, first_offset: int, records: int, leader_epoch: int
) -> None:
    """`place_batches` for batches of one size with as many records each, one behind the other from `first_offset`."""
    pack_into = _PLACE.pack_into
    length = batch_bytes - LOG_OVERHEAD_BYTES
    offset = first_offset
    for batch in batches:
        pack_into(batch, BASE_OFFSET_AT, offset, length, leader_epoch)
        offset += records


def set_max_timestamp(
    buffer: bytearray | memoryview, position: int, timestamp_type: TimestampType, max_timestamp_ms: int
) -> None:
    """Set the batch's timestamp type and largest timestamp, and its checksum if that changed anything."""
    header = parse_header(buffer, position)
    if header.timestamp_type == timestamp_type and header.max_timestamp_ms == max_timestamp_ms:
        return
    attributes = header.attributes & ~LOG_APPEND_TIME_BIT
    if timestamp_type is TimestampType.LOG_APPEND_TIME:
        attributes |= LOG_APPEND_TIME_BIT
    _ATTRIBUTES.pack_into(buffer, position + ATTRIBUTES_AT, attributes)
    _OFFSET.pack_into(buffer, position + MAX_TIMESTAMP_AT, max_timestamp_ms)
    view = memoryview(buffer)[position + ATTRIBUTES_AT : position + header.size_bytes]
    _UINT32.pack_into(buffer, position + CRC_AT, crc32c(view))


def set_log_append_time(buffer: bytearray | memoryview, position: int, timestamp_ms: int) -> None:
    """Say that the broker set the time: all records of the batch at `position` have `timestamp_ms`."""
    set_max_timestamp(buffer, position, TimestampType.LOG_APPEND_TIME, timestamp_ms)
