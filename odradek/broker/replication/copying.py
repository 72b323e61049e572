"""Copying one log into another, slice by slice, while the first goes on being written to."""

from __future__ import annotations

from collections.abc import Callable

from odradek.ports import Clock, Executor
from odradek.storage.future_logs import FutureLogs, common_end_offset
from odradek.storage.log import Log
from odradek.storage.log_results import UnexpectedOffsetError

SLICE_BYTES = 262_144
"""At most so much is copied in one turn of the thread, unless a single batch is larger."""


class LogCopy:
    """Makes `future` what `source` is."""

    def __init__(self, source: Log, future: Log, futures: FutureLogs, executor: Executor) -> None:
        self._source = source
        self._future = future
        self._futures = futures
        self._executor = executor
        self._is_aligned = False

    @property
    def is_complete(self) -> bool:
        """Whether all that the source has is copied, at this moment."""
        return self._is_aligned and self._future.log_end_offset == self._source.log_end_offset

    async def copy_some(self) -> int:
        """Copy one slice, if there is anything to copy; how many bytes. Raises KafkaError as logs do."""
        source, future = self._source, self._future
        if not self._is_aligned:
            self._futures.truncate_to(future.topic_partition, common_end_offset(future, source))
            self._is_aligned = True
        offset = future.log_end_offset
        if offset < source.log_start_offset or offset > source.log_end_offset:
            offset = source.log_start_offset
            self._futures.truncate_fully_and_start_at(future.topic_partition, offset)
        data = await self._read(offset)
        if data is None:
            return 0
        if data:
            self._append(data)
        elif offset < source.log_end_offset:
            future.skip_to(source.log_end_offset)
        if source.log_start_offset > future.log_start_offset:
            future.advance_log_start_offset(min(source.log_start_offset, future.log_end_offset))
        future.update_high_watermark(source.high_watermark)
        return len(data)

    def finish(self) -> None:
        """The copy is complete: take over what is known of the source beside its records."""
        source, future = self._source, self._future
        for epoch, start_offset in source.leader_epochs.entries():
            if epoch > future.leader_epochs.latest_epoch:
                future.assign_epoch(epoch, start_offset)
        future.update_high_watermark(source.high_watermark)

    async def _read(self, offset: int) -> bytes | None:
        """What comes next of the source; None if either log was cut, or the future one is gone, meanwhile."""
        source, future = self._source, self._future
        max_bytes = min(SLICE_BYTES, source.config.segment_bytes)
        part = source.read(offset, max_bytes=max_bytes, max_offset=source.log_end_offset, min_one_message=True)
        records = part.records
        if isinstance(records, bytes):
            return records
        before = (source.truncations, future.truncations)
        try:
            if records.is_warm(0, records.size):
                # In the same turn: a log that is written to could not be caught up with otherwise.
                return records.read(0, records.size)
            data = await self._executor.submit(lambda: records.read(0, records.size))
        except OSError as error:
            raise source.failed(error) from error
        finally:
            records.release()
        is_gone = self._futures.get(future.topic_partition) is not future
        return None if is_gone or before != (source.truncations, future.truncations) else data

    def _append(self, data: bytes) -> None:
        future = self._future
        try:
            future.append_as_follower(data)
        except UnexpectedOffsetError as error:
            if future.log_end_offset != future.log_start_offset:
                raise
            # The source begins within a batch.
            future.truncate_fully_and_start_at(error.offset, future.log_start_offset)
            future.append_as_follower(data)


class CopyThrottle:
    """Keeps all copying of a broker under `replica.alter.log.dirs.io.max.bytes.per.second`."""

    def __init__(self, clock: Clock, bytes_per_second: Callable[[], int]) -> None:
        self._clock = clock
        self._bytes_per_second = bytes_per_second
        self._debt_bytes = 0.0
        self._paid_ms = clock.monotonic_ms()

    def delay_ms(self) -> float:
        """How long to wait before more is copied, at the rate of this moment; infinite while that is 0."""
        rate = self._bytes_per_second()
        now_ms = self._clock.monotonic_ms()
        self._debt_bytes = max(0.0, self._debt_bytes - rate * (now_ms - self._paid_ms) / 1000)
        self._paid_ms = now_ms
        if rate == 0:
            return float("inf")
        delay_ms = self._debt_bytes * 1000 / rate
        return delay_ms if delay_ms >= 1 else 0.0

    def copied(self, size: int) -> None:
        """So many bytes were copied."""
        self._debt_bytes += size
