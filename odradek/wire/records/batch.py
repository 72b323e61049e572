"""Batches of magic 2: reading their records lazily, and building them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.records.compression import Codec, OutputLimitError, compress, decompress
from odradek.wire.records.crc import Buffer
from odradek.wire.records.header import (
    CONTROL_BIT,
    DELETE_HORIZON_BIT,
    LOG_APPEND_TIME_BIT,
    MAGIC_V2,
    NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_SEQUENCE,
    NO_TIMESTAMP,
    RECORDS_AT,
    TRANSACTIONAL_BIT,
    BatchHeader,
    TimestampType,
    parse_header,
    seal_batch,
)
from odradek.wire.records.record import (
    NO_HEADERS,
    Headers,
    Record,
    add_int64,
    encode_headers,
    encode_record,
    make_record,
    scan_records,
)

DEFAULT_RECORDS_LIMIT_BYTES = 128 * 1024 * 1024
"""What the records of one batch may take when decompressed, unless the caller says otherwise."""

MAX_OFFSET_DELTA = 0x7FFF_FFFF

STEP_RECORDS = 64
"""Records that are gone through in one step of work on many of them, which takes some 150 microseconds."""


def record_payload(batch: Buffer, header: BatchHeader, limit_bytes: int = DEFAULT_RECORDS_LIMIT_BYTES) -> bytes:
    """A batch's records, decompressed.

    KafkaError CORRUPT_MESSAGE if they do not decompress or the batch is cut off, MESSAGE_TOO_LARGE above
    `limit_bytes`, UNSUPPORTED_COMPRESSION_TYPE for an unknown codec.
    """
    if not RECORDS_AT <= header.size_bytes <= len(batch):
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Batch of {header.size_bytes} bytes where {len(batch)} are left")
    codec = header.codec
    stored = memoryview(batch)[RECORDS_AT : header.size_bytes]
    try:
        return decompress(codec, stored, limit_bytes)
    except OutputLimitError as error:
        raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"Batch {error}") from error
    except ProtocolError as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Batch does not decompress: {error}") from error


def iter_records(batch: Buffer, limit_bytes: int = DEFAULT_RECORDS_LIMIT_BYTES) -> Iterator[Record]:
    """The records of the batch that `batch` starts with, parsed as they are asked for.

    The checksum is not looked at. Errors are those of `record_payload`, and INVALID_RECORD where a record's
    structure does not hold.
    """
    header = parse_header(batch)
    if header.magic != MAGIC_V2:
        raise KafkaError(ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"Batch of magic {header.magic}")
    if header.record_count < 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Batch says it has {header.record_count} records")
    if header.record_count == 0:
        return
    yield from records_of(record_payload(batch, header, limit_bytes), header)


def records_of(payload: bytes, header: BatchHeader) -> Iterator[Record]:
    """The records of a batch whose payload is decompressed; INVALID_RECORD where a record's structure does not hold."""
    append_time_ms = header.max_timestamp_ms if header.timestamp_type is TimestampType.LOG_APPEND_TIME else None
    for fields in scan_records(payload, header.record_count):
        timestamp_delta, offset_delta, key_start, key_end, value_start, value_end, headers, end = fields
        timestamp_ms = append_time_ms
        if timestamp_ms is None:
            timestamp_ms = add_int64(header.base_timestamp_ms, timestamp_delta)
        yield make_record(
            header.base_offset + offset_delta,
            timestamp_ms,
            None if key_start < 0 else payload[key_start:key_end],
            None if value_start < 0 else payload[value_start:value_end],
            NO_HEADERS if end - headers == 1 else payload[headers:end],
        )


class BatchBuilder:
    """Collects records and turns them into one batch.

    `size_bytes` is what the batch would take uncompressed. Offsets are those given to `append`, or follow one
    another from `base_offset`.
    """

    def __init__(
        self,
        base_offset: int = 0,
        *,
        codec: Codec = Codec.NONE,
        level: int | None = None,
        producer_id: int = NO_PRODUCER_ID,
        producer_epoch: int = NO_PRODUCER_EPOCH,
        base_sequence: int = NO_SEQUENCE,
        is_transactional: bool = False,
        is_control: bool = False,
        timestamp_type: TimestampType = TimestampType.CREATE_TIME,
        log_append_time_ms: int = NO_TIMESTAMP,
        delete_horizon_ms: int | None = None,
        leader_epoch: int = NO_LEADER_EPOCH,
    ) -> None:
        self.base_offset = base_offset
        self.codec = codec
        self.level = level
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.base_sequence = base_sequence
        self.is_transactional = is_transactional
        self.is_control = is_control
        self.timestamp_type = timestamp_type
        self.log_append_time_ms = log_append_time_ms
        self.delete_horizon_ms = delete_horizon_ms
        self.leader_epoch = leader_epoch
        self.record_count = 0
        self.next_offset = base_offset
        self.size_bytes = RECORDS_AT
        self._base_timestamp_ms: int | None = delete_horizon_ms
        self._max_timestamp_ms = NO_TIMESTAMP
        self._parts: list[bytes] = []

    def append(
        self,
        timestamp_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        *,
        offset: int | None = None,
    ) -> None:
        """Add a record; ValueError if `offset` does not come after the one before or is too far from the base."""
        header_bytes = encode_headers(headers) if headers else NO_HEADERS
        self._append(timestamp_ms, key, value, header_bytes, self.next_offset if offset is None else offset)

    def append_record(self, record: Record) -> None:
        """Add a record at its own offset."""
        self._append(record.timestamp_ms, record.key, record.value, record.header_bytes, record.offset)

    def _append(
        self, timestamp_ms: int, key: bytes | None, value: bytes | None, header_bytes: bytes, offset: int
    ) -> None:
        delta = offset - self.base_offset
        if offset < self.next_offset or delta > MAX_OFFSET_DELTA:
            raise ValueError(f"offset {offset} in a batch from {self.base_offset} after {self.next_offset - 1}")
        if self._base_timestamp_ms is None:
            self._base_timestamp_ms = timestamp_ms
        encoded = encode_record(delta, timestamp_ms - self._base_timestamp_ms, key, value, header_bytes)
        self._parts.append(encoded)
        self.size_bytes += len(encoded)
        self.record_count += 1
        self.next_offset = offset + 1
        self._max_timestamp_ms = max(self._max_timestamp_ms, timestamp_ms)

    def build(self, last_offset: int | None = None) -> bytes:
        """The batch. `last_offset` is for compaction, which keeps the last offset of what it rewrites."""
        if last_offset is None:
            last_offset = self.next_offset - 1
        max_timestamp_ms = self._max_timestamp_ms
        if self.timestamp_type is TimestampType.LOG_APPEND_TIME:
            max_timestamp_ms = self.log_append_time_ms
        header = BatchHeader(
            base_offset=self.base_offset,
            length=0,
            leader_epoch=self.leader_epoch,
            magic=MAGIC_V2,
            crc=0,
            attributes=self._attributes(),
            last_offset_delta=last_offset - self.base_offset,
            base_timestamp_ms=NO_TIMESTAMP if self._base_timestamp_ms is None else self._base_timestamp_ms,
            max_timestamp_ms=max_timestamp_ms,
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=self.base_sequence,
            record_count=self.record_count,
        )
        payload = b"".join(self._parts)
        if self._parts and self.codec is not Codec.NONE:
            payload = compress(self.codec, payload, self.level)
        return seal_batch(header, payload)

    def _attributes(self) -> int:
        attributes = int(self.codec)
        if self.timestamp_type is TimestampType.LOG_APPEND_TIME:
            attributes |= LOG_APPEND_TIME_BIT
        if self.is_transactional:
            attributes |= TRANSACTIONAL_BIT
        if self.is_control:
            attributes |= CONTROL_BIT
        if self.delete_horizon_ms is not None:
            attributes |= DELETE_HORIZON_BIT
        return attributes


def build_batch(
    records: Iterable[Record],
    base_offset: int = 0,
    *,
    codec: Codec = Codec.NONE,
    level: int | None = None,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = NO_PRODUCER_EPOCH,
    base_sequence: int = NO_SEQUENCE,
    is_transactional: bool = False,
    is_control: bool = False,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    log_append_time_ms: int = NO_TIMESTAMP,
    leader_epoch: int = NO_LEADER_EPOCH,
) -> bytes:
    """One batch of `records` at their own offsets, none of which may be below `base_offset`."""
    builder = BatchBuilder(
        base_offset,
        codec=codec,
        level=level,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        is_transactional=is_transactional,
        is_control=is_control,
        timestamp_type=timestamp_type,
        log_append_time_ms=log_append_time_ms,
        leader_epoch=leader_epoch,
    )
    for record in records:
        builder.append_record(record)
    return builder.build()


def build_empty_batch(header: BatchHeader) -> bytes:
    """What compaction leaves of a batch whose records are gone: offsets, producer and flags, no records."""
    attributes = header.attributes & (LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT)
    emptied = header._replace(attributes=attributes, base_timestamp_ms=NO_TIMESTAMP, record_count=0)
    return seal_batch(emptied, b"")


def rebuild_batch(
    batch: Buffer,
    *,
    codec: Codec,
    level: int | None = None,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    log_append_time_ms: int = NO_TIMESTAMP,
    limit_bytes: int = DEFAULT_RECORDS_LIMIT_BYTES,
) -> bytes:
    """The same records in another codec, at consecutive offsets from the batch's base offset.

    For topics whose `compression.type` is not the producer's, and batches whose offset deltas have gaps.
    """
    header = parse_header(batch)
    steps = rebuilding_steps(
        record_payload(batch, header, limit_bytes),
        header,
        codec=codec,
        level=level,
        timestamp_type=timestamp_type,
        log_append_time_ms=log_append_time_ms,
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            builder: BatchBuilder = end.value
            return builder.build()


def rebuilding_steps(
    payload: bytes,
    header: BatchHeader,
    *,
    codec: Codec,
    level: int | None = None,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    log_append_time_ms: int = NO_TIMESTAMP,
) -> Generator[None, None, BatchBuilder]:
    """What `rebuild_batch` does with decompressed records, in steps of `STEP_RECORDS`; the builder is not built yet."""
    builder = BatchBuilder(
        header.base_offset,
        codec=codec,
        level=level,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        is_transactional=header.is_transactional,
        is_control=header.is_control,
        timestamp_type=timestamp_type,
        log_append_time_ms=log_append_time_ms,
        leader_epoch=header.leader_epoch,
    )
    for index, record in enumerate(records_of(payload, header)):
        record.offset = header.base_offset + index
        builder.append_record(record)
        if not index % STEP_RECORDS:
            yield
    return builder
