"""What a leader checks of a batch that a client sent.

`check_batch` looks at the header and the checksum alone: the hot path. `must_open` says whether that is enough for a
topic, and `validate_records` opens the records and checks what Kafka checks of each.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import DEFAULT_RECORDS_LIMIT_BYTES, STEP_RECORDS, record_payload
from odradek.wire.records.compression import Codec
from odradek.wire.records.crc import Buffer, crc32c
from odradek.wire.records.header import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    CONTROL_BIT,
    HEADER_BYTES,
    LOG_APPEND_TIME_BIT,
    LOG_OVERHEAD_BYTES,
    MAGIC_AT,
    MAGIC_V2,
    NO_PRODUCER_ID,
    NO_TIMESTAMP,
    BatchHeader,
    TimestampType,
    next_batch_size,
    parse_header,
)
from odradek.wire.records.record import MAX_RECORD_BYTES, add_int64, scan_records

_ZSTD = int(Codec.ZSTD)
_LOG_APPEND_TIME = TimestampType.LOG_APPEND_TIME

MAX_INT64 = (1 << 63) - 1
DEFAULT_TIMESTAMP_AFTER_MAX_MS = 3_600_000

MAX_RECORD_ERRORS = 1000
"""Records of one batch that are listed as refused. Kafka lists all; a response must not outgrow its request."""


class RecordRules(NamedTuple):
    """What a topic asks of each record, named as its configurations."""

    compacted: bool = False
    timestamp_type: TimestampType = TimestampType.CREATE_TIME
    timestamp_before_max_ms: int = MAX_INT64
    timestamp_after_max_ms: int = DEFAULT_TIMESTAMP_AFTER_MAX_MS
    max_decompressed_record_bytes: int = MAX_RECORD_BYTES


class RecordError(NamedTuple):
    """Why the record at `batch_index`, counted from 0, was refused."""

    batch_index: int
    message: str


class RecordValidationError(KafkaError):
    """Some records of a batch were refused, and the batch with them. At most MAX_RECORD_ERRORS are listed."""

    def __init__(self, code: ErrorCode, message: str, errors: tuple[RecordError, ...]) -> None:
        super().__init__(code, message)
        self.errors = errors


class NotOneBatchError(KafkaError):
    """What came for a partition is not one whole batch of magic 2: refused before any log is looked at."""


class ValidatedRecords(NamedTuple):
    """What opening the records told.

    `max_timestamp_ms` is what the header must say (`set_max_timestamp`). Where `offsets_are_consecutive` is false,
    the batch must be rebuilt before it is appended (`rebuild_batch`).
    """

    max_timestamp_ms: int
    offsets_are_consecutive: bool
    payload_bytes: int


def _invalid(what: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, what)


def _corrupt(what: str) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, what)


def check_batch(records: Buffer, max_message_bytes: int, *, allow_zstd: bool = True) -> BatchHeader:
    """The header of the one batch that a client sent for a partition, if header and checksum hold.

    The batch is the first `size_bytes` of `records`; the start of another batch after it is cut off, as Kafka
    does. `allow_zstd` is false for Produce below version 7. The KafkaErrors, in Kafka's order of precedence:

    - INVALID_RECORD: not one whole batch of magic 2; base offset not 0; record count unlike the offset range;
      a control batch; a producer id without a sequence number.
    - CORRUPT_MESSAGE: length or magic that cannot be; wrong checksum.
    - UNSUPPORTED_COMPRESSION_TYPE: zstd where it is not allowed, or a codec that does not exist (Apache Kafka
      answers the latter with UNKNOWN_SERVER_ERROR).
    - MESSAGE_TOO_LARGE: more than `max_message_bytes`.
    """
    size_bytes = len(records)
    if size_bytes < HEADER_BYTES:
        size_bytes = _only_batch_size(records)
    header = parse_header(records)
    # Of every batch: taken apart at once, which costs a fraction of reading so many fields by name.
    base_offset, length, _, magic, crc, attributes, last_offset_delta, _, _, producer_id, _, sequence, count = header
    if length + LOG_OVERHEAD_BYTES != size_bytes or magic != MAGIC_V2:
        size_bytes = _only_batch_size(records)
    codec = attributes & CODEC_MASK
    if codec == _ZSTD and not allow_zstd:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce version 7")
    if base_offset:
        raise _invalid(f"Base offset must be 0 and is {base_offset}")
    if size_bytes > max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE, f"Batch of {size_bytes} bytes, of which {max_message_bytes} are allowed"
        )
    if crc32c(memoryview(records)[ATTRIBUTES_AT:size_bytes]) != crc:
        raise _corrupt("Checksum of the batch does not match")
    if codec > _ZSTD:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"Unknown compression type {codec}")
    if count <= 0 or last_offset_delta + 1 != count:
        raise _invalid(f"Batch with last offset delta {last_offset_delta} says it has {count} records")
    if attributes & CONTROL_BIT:
        raise _invalid("Clients may not write control records")
    if producer_id > NO_PRODUCER_ID and sequence < 0:
        raise _invalid(f"Producer {producer_id} sent sequence number {sequence}")
    return header


def check_form(records: Buffer) -> None:
    """Raise NotOneBatchError unless `records` is one whole batch of magic 2; nothing else of it is looked at."""
    _only_batch_size(records)


def _only_batch_size(records: Buffer) -> int:
    """The size of the first batch, which is whole, of magic 2 and the only whole one."""
    size_bytes = next_batch_size(records)
    if size_bytes is None or size_bytes > len(records):
        raise NotOneBatchError(ErrorCode.INVALID_RECORD, "No whole batch for the partition")
    if records[MAGIC_AT] != MAGIC_V2:
        text = f"Batch of magic {records[MAGIC_AT]} where only magic 2 is allowed"
        raise NotOneBatchError(ErrorCode.INVALID_RECORD, text)
    if size_bytes < len(records):
        next_bytes = next_batch_size(records, size_bytes)
        if next_bytes is not None and size_bytes + next_bytes <= len(records):
            raise NotOneBatchError(ErrorCode.INVALID_RECORD, "More than one batch for the partition")
    if size_bytes < HEADER_BYTES:
        raise _corrupt(f"Batch of {size_bytes} bytes")
    return size_bytes


def must_open(header: BatchHeader, rules: RecordRules, now_ms: int, target_codec: Codec | None = None) -> bool:
    """Whether a topic needs the records themselves looked at.

    True for a compacted topic, a codec other than the topic's (`target_codec`; None is the producer's), the flag
    that only brokers set, and timestamps that the header does not show to be in range.
    """
    _, _, _, _, _, attributes, _, base_timestamp_ms, latest_ms, _, _, _, _ = header
    compacted, timestamp_type, before_max_ms, after_max_ms, _ = rules
    if compacted or attributes & LOG_APPEND_TIME_BIT:
        return True
    if target_codec is not None and attributes & CODEC_MASK != target_codec:
        return True
    if timestamp_type is _LOG_APPEND_TIME:
        return False
    if latest_ms < base_timestamp_ms or latest_ms - now_ms > after_max_ms:
        return True
    # the earliest record is not in the header
    return before_max_ms < MAX_INT64


def validate_records(
    batch: Buffer,
    header: BatchHeader,
    rules: RecordRules,
    now_ms: int,
    limit_bytes: int = DEFAULT_RECORDS_LIMIT_BYTES,
) -> ValidatedRecords:
    """Open the records of a batch that `check_batch` let pass, and check each.

    `limit_bytes` bounds what they may take when decompressed. RecordValidationError (INVALID_TIMESTAMP if a
    timestamp was among the faults, else INVALID_RECORD) lists the refused records; errors of the structure and of
    decompression are those of `iter_records`, but for a record length that does not end, not compressed, which is
    CORRUPT_MESSAGE (Apache Kafka answers UNKNOWN_SERVER_ERROR).
    """
    steps = validation_steps(record_payload(batch, header, limit_bytes), header, rules, now_ms)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            validated: ValidatedRecords = end.value
            return validated


def validation_steps(
    payload: bytes, header: BatchHeader, rules: RecordRules, now_ms: int
) -> Generator[None, None, ValidatedRecords]:
    """What `validate_records` does with records that are decompressed, in steps of `STEP_RECORDS`."""
    max_record_bytes = MAX_RECORD_BYTES
    overlong_length = ErrorCode.CORRUPT_MESSAGE
    if header.attributes & CODEC_MASK:
        max_record_bytes = rules.max_decompressed_record_bytes
        overlong_length = ErrorCode.INVALID_RECORD
    append_time = bool(header.attributes & LOG_APPEND_TIME_BIT)
    checker = _RecordChecker(rules, now_ms, append_time)
    max_timestamp_ms = NO_TIMESTAMP
    consecutive = True
    for index, fields in enumerate(scan_records(payload, header.record_count, max_record_bytes, overlong_length)):
        timestamp_ms = header.max_timestamp_ms if append_time else add_int64(header.base_timestamp_ms, fields[0])
        if checker.accepts(index, timestamp_ms, fields[2] >= 0) and timestamp_ms > max_timestamp_ms:
            max_timestamp_ms = timestamp_ms
        if fields[1] != index:
            consecutive = False
        if not index % STEP_RECORDS:
            yield
    checker.raise_if_refused()
    if rules.timestamp_type is TimestampType.LOG_APPEND_TIME:
        max_timestamp_ms = now_ms
    return ValidatedRecords(max_timestamp_ms, consecutive, len(payload))


class _RecordChecker:
    """Collects the records that a topic's rules refuse."""

    __slots__ = ("_append_time", "_bad_timestamp", "_earliest_ms", "_errors", "_latest_ms", "_refused", "_rules")

    def __init__(self, rules: RecordRules, now_ms: int, append_time: bool) -> None:
        self._rules = rules
        self._append_time = append_time
        self._earliest_ms = now_ms - rules.timestamp_before_max_ms
        self._latest_ms = now_ms + rules.timestamp_after_max_ms
        self._errors: list[RecordError] = []
        self._refused = 0
        self._bad_timestamp = False

    def accepts(self, index: int, timestamp_ms: int, has_key: bool) -> bool:
        """Whether the rules allow the record; if not, it is noted."""
        if self._rules.compacted and not has_key:
            self._refuse(index, "A record without a key in a compacted topic")
            return False
        if self._rules.timestamp_type is TimestampType.CREATE_TIME and timestamp_ms != NO_TIMESTAMP:
            if self._earliest_ms <= timestamp_ms <= self._latest_ms:
                return True
            text = f"Timestamp {timestamp_ms} is not within [{self._earliest_ms}, {self._latest_ms}]"
        elif self._append_time:
            text = "A producer may not set the timestamp type LogAppendTime"
        else:
            return True
        self._bad_timestamp = True
        self._refuse(index, text)
        return False

    def _refuse(self, index: int, text: str) -> None:
        self._refused += 1
        if len(self._errors) < MAX_RECORD_ERRORS:
            self._errors.append(RecordError(index, text))

    def raise_if_refused(self) -> None:
        """RecordValidationError if any record was refused."""
        if not self._refused:
            return
        code = ErrorCode.INVALID_TIMESTAMP if self._bad_timestamp else ErrorCode.INVALID_RECORD
        raise RecordValidationError(code, f"{self._refused} records were refused", tuple(self._errors))
