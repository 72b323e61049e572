"""What of a producer's bytes may go into a log: the checks that come before an append."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

from odradek.ports import Clock, Executor, Slices
from odradek.ports.files import Buffer
from odradek.storage.log_config import MAX_DECOMPRESSED_MESSAGE_BYTES, LogConfig
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.batch import rebuilding_steps, record_payload
from odradek.wire.records.compression import Codec
from odradek.wire.records.header import (
    HEADER_BYTES,
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
    validation_steps,
)

FIRST_WITH_ZSTD = 7
_PRODUCERS_CODEC = "producer"
_UNCOMPRESSED = "uncompressed"
LONG_BYTES = 16 * 1024
LONG_RECORDS = 256
"""Batches of as many bytes or records take long to be opened: from about a millisecond on."""


class TakesLongError(Exception):
    """The batch's records have to be opened, and they are many: that is for `Admission.open`."""


class Opened(NamedTuple):
    """What opening a batch for a topic of that configuration came to."""

    config: LogConfig
    batch: memoryview
    header: BatchHeader | None
    """None where the batch is refused."""
    error: KafkaError | None = None

    def admitted(self) -> tuple[memoryview, BatchHeader]:
        """As `Admission.admit`; raises what it would."""
        if self.error is not None or self.header is None:
            raise self.error or _no_batch()
        return self.batch, self.header


class _Needs(NamedTuple):
    """What a topic asks for."""

    rules: RecordRules
    codec: Codec | None
    level: int | None
    opens_compressed: bool


class Admission:
    """Checks batches by their headers; opens records where the topic needs it, or always if `check_every_record`."""

    def __init__(self, clock: Clock, *, check_every_record: bool, executor: Executor | None = None) -> None:
        """`executor` decompresses and compresses what takes long; without one, nothing is said to take long."""
        self._clock = clock
        self._check_every_record = check_every_record
        self._executor = executor
        self._config: LogConfig | None = None
        self._needs = _Needs(RecordRules(), None, None, opens_compressed=False)

    def admit(
        self, records: Buffer | None, config: LogConfig, produce_version: int, now_ms: int | None = None, *,
        at_once: bool = False,
    ) -> tuple[memoryview, BatchHeader]:  # fmt: skip
        """The one batch of a partition's records, ready for `Log.append_as_leader`, and its header.

        The batch is a writable view of `records` itself, unless it had to be compressed anew. `now_ms` is the time, if
        the caller has just looked. Raises KafkaError as `check_batch` does, and RecordValidationError for records that
        the topic refuses; TakesLongError for what would keep others waiting, unless that is to be done `at_once`.
        """
        if not records:
            raise _no_batch()
        header = check_batch(records, config.max_message_bytes, allow_zstd=produce_version >= FIRST_WITH_ZSTD)
        batch = memoryview(records)
        if len(batch) != header.length + LOG_OVERHEAD_BYTES:
            batch = batch[: header.length + LOG_OVERHEAD_BYTES]
        if config is not self._config:
            self._remember(config)
        needs = self._needs
        rules, codec, _, opens_compressed = needs
        if now_ms is None:
            now_ms = self._clock.now_ms()
        if not (
            self._check_every_record or must_open(header, rules, now_ms, codec) or (opens_compressed and header.codec)
        ):
            return batch, header
        if not at_once and self._executor is not None and _is_long(header):
            raise TakesLongError
        work = _opening(batch, header, config, needs, now_ms)
        outcome: object = None
        while True:
            try:
                step = work.send(outcome)
            except StopIteration as end:
                admitted: tuple[memoryview, BatchHeader] = end.value
                return admitted
            outcome = None if step is None else step()

    def may_stay_closed(self, header: BatchHeader, config: LogConfig) -> bool:
        """Whether no batch needs to be opened that says of itself what this one says, timestamps excepted.

        Those must be within `message_timestamp_after_max_ms` of the clock, and the latest not before the base.
        """
        return (
            not self._must_open(header._replace(base_timestamp_ms=0, max_timestamp_ms=0), config)
            and not config.uses_log_append_time
        )

    def takes_long(self, records: Buffer | None, config: LogConfig) -> bool:
        """Whether `admit` would say so, if nothing else is wrong with the batch."""
        if self._executor is None or not records or len(records) < HEADER_BYTES:
            return False
        header = parse_header(records)
        return _is_long(header) and self._must_open(header, config)

    async def open(self, records: Buffer | None, config: LogConfig, produce_version: int, slices: Slices) -> Opened:
        """What `admit` does with a batch that takes long, with turns for others in between.

        Its `records` may not change until that is done.
        """
        try:
            if not records:
                raise _no_batch()
            header = check_batch(records, config.max_message_bytes, allow_zstd=produce_version >= FIRST_WITH_ZSTD)
            self._remember(config)
            batch = memoryview(records)[: header.length + LOG_OVERHEAD_BYTES]
            work = _opening(batch, header, config, self._needs, self._clock.now_ms())
            outcome: object = None
            while True:
                try:
                    step = work.send(outcome)
                except StopIteration as end:
                    return Opened(config, *end.value)
                outcome = None
                if step is None:
                    await slices.pause()
                else:
                    outcome = step() if self._executor is None else await self._executor.submit(step)
        except KafkaError as error:
            return Opened(config, memoryview(b""), None, error)

    @staticmethod
    def check_form(records: Buffer | None) -> None:
        """Raise NotOneBatchError unless this is one batch, whatever is in it."""
        if not records:
            raise _no_batch()
        check_form(records)

    def _must_open(self, header: BatchHeader, config: LogConfig) -> bool:
        self._remember(config)
        needs = self._needs
        return bool(
            self._check_every_record
            or must_open(header, needs.rules, self._clock.now_ms(), needs.codec)
            or (needs.opens_compressed and header.codec)
        )

    def _remember(self, config: LogConfig) -> None:
        """Work out what a topic asks for once per run of requests for it, not per batch."""
        if config is self._config:
            return
        self._config = config
        codec = _codec(config)
        self._needs = _Needs(
            _rules(config),
            codec,
            _level(config, codec),
            config.max_decompressed_message_bytes < MAX_DECOMPRESSED_MESSAGE_BYTES,
        )


def _is_long(header: BatchHeader) -> bool:
    return header.size_bytes >= LONG_BYTES or header.record_count >= LONG_RECORDS


_Step = Callable[[], object]
_Opening = Generator[_Step | None, Any, tuple[memoryview, BatchHeader]]
"""Yields None between its steps, and what may be done by another thread, whose outcome it is sent."""


def _opening(batch: memoryview, header: BatchHeader, config: LogConfig, needs: _Needs, now_ms: int) -> _Opening:
    """Look at every record, and make another batch of them where the topic needs that."""
    payload: bytes = yield partial(record_payload, batch, header)
    validated = yield from validation_steps(payload, header, needs.rules, now_ms)
    if not validated.offsets_are_consecutive or (needs.codec is not None and needs.codec != header.codec):
        target = header.codec if needs.codec is None else needs.codec
        builder = yield from rebuilding_steps(payload, header, codec=target, level=needs.level)
        rebuilt: bytes = yield builder.build
        batch = memoryview(bytearray(rebuilt))
        return batch, parse_header(batch)
    if not config.uses_log_append_time:
        set_max_timestamp(batch, 0, TimestampType.CREATE_TIME, validated.max_timestamp_ms)
        header = parse_header(batch)
    return batch, header


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
