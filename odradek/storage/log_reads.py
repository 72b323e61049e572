"""What the readers of a log ask: batches by offset, records by timestamp, and which transactions were aborted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from odradek.storage import log_lookup
from odradek.storage.batches import CorruptBatchError
from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.environment import LogEnvironment
from odradek.storage.log_results import LogSlice, TimestampOffset
from odradek.storage.producers import ProducerStateManager
from odradek.storage.segments import Segments
from odradek.storage.topic_partition import TopicPartition
from odradek.storage.txn_index import AbortedTransaction
from odradek.wire.errors import ErrorCode, KafkaError

_DISK_ERRORS = OSError, CorruptBatchError, CorruptFileError


class LogReads:
    """The reading half of `Log`, which changes what is here."""

    def __init__(
        self, env: LogEnvironment, directory: str, topic_partition: TopicPartition, segments: Segments,
        producers: ProducerStateManager, log_start_offset: int, log_end_offset: int,
    ) -> None:  # fmt: skip
        self._env = env
        self.directory = directory
        """The directory of this log, which is in `log_dir`."""
        self.topic_partition = topic_partition
        self.segments = segments
        self.producers = producers
        self.log_start_offset = log_start_offset
        self.log_end_offset = log_end_offset
        self.high_watermark = 0
        self.is_offline = False
        """The disk failed: appends and reads are refused."""

    @property
    def log_dir(self) -> str:
        """The entry of `log.dirs` that the log is in."""
        return self.directory.rpartition("/")[0]

    @property
    def local_log_start_offset(self) -> int:
        """The first offset that is on this disk: the log start offset, while there is no remote tier."""
        return self.log_start_offset

    @property
    def size_bytes(self) -> int:
        """Bytes of all segments' batches."""
        return self.segments.size_bytes()

    @property
    def last_stable_offset(self) -> int:
        """All before it is below the high watermark and decided: what read_committed consumers may see."""
        unstable = self.producers.first_unstable_offset()
        if unstable is None or unstable >= self.high_watermark:
            return self.high_watermark
        return max(unstable, self.log_start_offset)

    def read(
        self, offset: int, *, max_bytes: int, max_offset: int, min_one_message: bool, waits: bool = True,
        small_bytes: int = 0,
    ) -> LogSlice:  # fmt: skip
        """Batches from the one that holds `offset`, at most `max_bytes`, up to `max_offset` (exclusive).

        With `min_one_message` the first batch is returned whole, however large. Up to `small_bytes` of records are
        read at once where that waits for no disk, and no range has to be released. Raises KafkaError
        OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR, and ColdLookupError instead of waiting for a disk
        if not `waits`.
        """
        if self.is_offline:
            raise self._offline()
        end_offset = self.log_end_offset
        if offset < self.log_start_offset or offset > end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"{self.topic_partition} has offsets {self.log_start_offset} to {end_offset}, not {offset}",
            )
        if offset >= max_offset or offset == end_offset:
            return log_lookup.nothing(self.segments)
        until = None if max_offset >= end_offset else max_offset
        try:
            return log_lookup.read(
                self.segments, offset, until, max_bytes,
                min_one_message=min_one_message, waits=waits, small_bytes=small_bytes,
            )  # fmt: skip
        except _DISK_ERRORS as error:
            raise self._told(error) from error

    def timestamp_rehearsal(self, timestamp_ms: int | None) -> Callable[[], None]:
        """What brings into memory what the two look-ups below need (None: the latter); any thread may run it."""
        return log_lookup.rehearsal(self.segments, timestamp_ms, self.log_start_offset)

    def offset_for_timestamp(self, timestamp_ms: int) -> TimestampOffset | None:
        """The first record with at least this timestamp; None if there is none."""
        with self._disk():
            return log_lookup.find_timestamp(self.segments, timestamp_ms, self.log_start_offset)

    def offset_of_max_timestamp(self) -> TimestampOffset | None:
        """The record with the largest timestamp (KIP-734); None if no record has one."""
        with self._disk():
            return log_lookup.find_max_timestamp(self.segments)

    def aborted_in(self, part: LogSlice, from_offset: int) -> list[AbortedTransaction]:
        """The aborted transactions that a reader of a slice has to leave out, and maybe some that begin behind it."""
        if not part.size:
            return []
        try:
            if not log_lookup.may_have_aborted(self.segments, from_offset):
                return []
            upto_offset = min(log_lookup.offset_behind(self.segments, part), self.last_stable_offset)
        except _DISK_ERRORS as error:
            raise self._told(error) from error
        return self.aborted_transactions(from_offset, upto_offset)

    def aborted_transactions(self, from_offset: int, upto_offset: int) -> list[AbortedTransaction]:
        """The aborted transactions that a reader of [from_offset, upto_offset) has to leave out."""
        try:
            return log_lookup.aborted_transactions(self.segments, from_offset, upto_offset)
        except _DISK_ERRORS as error:
            raise self._told(error) from error

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn what files raise into what clients are told, where there is time for a context manager."""
        try:
            yield
        except _DISK_ERRORS as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> KafkaError:
        if isinstance(error, CorruptBatchError):
            return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{self.topic_partition}: {error}")
        return self._failed(error)

    def failed(self, error: OSError) -> KafkaError:
        """Reading a range of this log elsewhere met `error`: its directory is offline, as after any other failure."""
        return self._failed(error)

    def _offline(self) -> KafkaError:
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{self.topic_partition} is in {self.log_dir}, which failed")

    def _failed(self, error: Exception) -> KafkaError:
        self._env.on_failure(self.log_dir, error)
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{self.topic_partition}: {error}")
