"""What of a producer's bytes may go into a log: the checks that come before an append."""

from __future__ import annotations

from odradek.ports import Clock
from odradek.ports.files import Buffer
from odradek.storage.log_config import MAX_DECOMPRESSED_MESSAGE_BYTES, LogConfig
from odradek.wire.errors import ErrorCode
from odradek.wire.records.batch import rebuild_batch
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import (
    LOG_OVERHEAD_BYTES,
    BatchHeader,
    TimestampType,
    parse_header,
    set_max_timestamp,
)
from odradek.wire.records.validation import (
    NotOneBatchError,
    RecordRules,
    check_batch,
    check_form,
    must_open,
    validate_records,
)

FIRST_WITH_ZSTD = 7
_PRODUCERS_CODEC = "producer"
_UNCOMPRESSED = "uncompressed"


class Admission:
    """Checks batches by their headers; opens records where the topic needs it, or always if `check_every_record`."""

    def __init__(self, clock: Clock, *, check_every_record: bool) -> None:
        self._clock = clock
        self._check_every_record = check_every_record
        self._config: LogConfig | None = None
        self._rules = RecordRules()
        self._codec: Codec | None = None
        self._level: int | None = None
        self._opens_compressed = False

    def admit(self, records: Buffer | None, config: LogConfig, produce_version: int) -> tuple[memoryview, BatchHeader]:
        """The one batch of a partition's records, ready for `Log.append_as_leader`, and its header.

        The batch is a writable view of `records` itself, unless it had to be compressed anew. Raises KafkaError as
        `check_batch` does, and RecordValidationError for records that the topic refuses.
        """
        if not records:
            raise _no_batch()
        header = check_batch(records, config.max_message_bytes, allow_zstd=produce_version >= FIRST_WITH_ZSTD)
        batch = memoryview(records)[: header.length + LOG_OVERHEAD_BYTES]
        if config is not self._config:
            self._remember(config)
        codec = self._codec
        now_ms = self._clock.now_ms()
        if not (
            self._check_every_record
            or must_open(header, self._rules, now_ms, codec)
            or (self._opens_compressed and header.codec)
        ):
            return batch, header
        validated = validate_records(batch, header, self._rules, now_ms)
        if not validated.offsets_are_consecutive or (codec is not None and codec != header.codec):
            target = header.codec if codec is None else codec
            batch = memoryview(bytearray(rebuild_batch(batch, codec=target, level=self._level)))
            return batch, parse_header(batch)
        if not config.uses_log_append_time:
            set_max_timestamp(batch, 0, TimestampType.CREATE_TIME, validated.max_timestamp_ms)
            header = parse_header(batch)
        return batch, header

    @staticmethod
    def check_form(records: Buffer | None) -> None:
        """Raise NotOneBatchError unless this is one batch, whatever is in it."""
        if not records:
            raise _no_batch()
        check_form(records)

    def _remember(self, config: LogConfig) -> None:
        """Work out what a topic asks for once per run of requests for it, not per batch."""
        self._config = config
        self._rules = _rules(config)
        self._codec = _codec(config)
        self._level = _level(config, self._codec)
        self._opens_compressed = config.max_decompressed_message_bytes < MAX_DECOMPRESSED_MESSAGE_BYTES


def _no_batch() -> NotOneBatchError:
    return NotOneBatchError(ErrorCode.INVALID_RECORD, "There is no record batch for the partition")


def _rules(config: LogConfig) -> RecordRules:
    return RecordRules(
        compacted=config.is_compacted,
        timestamp_type=TimestampType.LOG_APPEND_TIME if config.uses_log_append_time else TimestampType.CREATE_TIME,
        timestamp_before_max_ms=config.message_timestamp_before_max_ms,
        timestamp_after_max_ms=config.message_timestamp_after_max_ms,
        max_decompressed_record_bytes=config.max_decompressed_message_bytes,
    )


def _codec(config: LogConfig) -> Codec | None:
    """The codec that the topic wants; None for whatever the producer chose."""
    if config.compression_type == _PRODUCERS_CODEC:
        return None
    return Codec.NONE if config.compression_type == _UNCOMPRESSED else Codec[config.compression_type.upper()]


def _level(config: LogConfig, codec: Codec | None) -> int | None:
    """The level of the topic's own codec; the producer's codec has its default level, as in Kafka."""
    match codec:
        case Codec.GZIP:
            return config.compression_gzip_level
        case Codec.LZ4:
            return config.compression_lz4_level
        case Codec.ZSTD:
            return config.compression_zstd_level
    return None
