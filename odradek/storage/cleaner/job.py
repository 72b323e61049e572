"""Carrying out a cleaning plan: reads whole segments, and writes what is left of them beside them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from odradek.ports import FileSystem
from odradek.ports.jobs import JobFailedError
from odradek.storage.batches import CorruptBatchError, scan_valid
from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.cleaner.batch_filter import BatchFilter, FilterSettings
from odradek.storage.cleaner.key_map import KeyMap, map_for
from odradek.storage.cleaner.plan import CleanedSegment, CleaningPlan, CleaningResult, SegmentToClean
from odradek.storage.cleaner.records import read_records
from odradek.storage.cleaner.segment_groups import SegmentSizes, group_segments
from odradek.storage.cleaner.transactions import CleanedTransactions
from odradek.storage.file_names import CLEANED_SUFFIX
from odradek.storage.file_pool import FilePool
from odradek.storage.log_files import sync_files
from odradek.storage.segment import Segment
from odradek.wire.errors import KafkaError
from odradek.wire.records.header import BatchHeader, parse_header

SYNC_BYTES = 8 * 1024 * 1024
"""So much is written between two syncs: one at the end would have the disk busy, and producers wait for it."""

Step = int | CleanedSegment
"""Bytes that were read and written since the step before, or a segment that can be swapped in."""
Cleaning = Generator[Step, None, CleaningResult]


def clean(fs: FileSystem, plan: CleaningPlan) -> Cleaning:
    """One cleaning in small steps. What it leaves if it is given up, or fails, are `.cleaned` files.

    Raises OSError, JobFailedError.
    """
    job = _Job(fs, plan)
    keys = map_for(
        plan.first_uncleanable_offset - plan.first_dirty_offset,
        plan.limits.dedupe_buffer_bytes,
        plan.limits.load_factor,
    )
    try:
        yield from job.enter_keys(keys)
        yield from job.clean_segments(keys)
        return job.result(keys)
    except (CorruptBatchError, CorruptFileError, KafkaError) as error:
        raise JobFailedError(str(error)) from error
    finally:
        keys.close()


class _Job:
    def __init__(self, fs: FileSystem, plan: CleaningPlan) -> None:
        self._fs = fs
        self._pool = FilePool(fs)
        self._plan = plan
        begins = [segment.base_offset for segment in plan.segments]
        self._ends = dict(zip(begins, [*begins[1:], plan.first_uncleanable_offset], strict=True))
        """By base offset, where a segment ends at the latest."""
        self._bytes_read = 0
        self._bytes_written = 0
        self._keyless = 0

    def result(self, keys: KeyMap) -> CleaningResult:
        """What was done."""
        return CleaningResult(keys.latest_offset + 1, self._bytes_read, self._bytes_written, self._keyless)

    def enter_keys(self, keys: KeyMap) -> Iterator[int]:
        """Fill the map from the dirty offsets on, until it is full or all are in it."""
        plan = self._plan
        start = plan.first_dirty_offset
        transactions = CleanedTransactions(
            transaction for transaction in plan.aborted if transaction.last_offset >= start
        )
        number = max((n for n, segment in enumerate(plan.segments) if segment.base_offset <= start), default=0)
        for described in plan.segments[number:]:
            segment = self._source(described)
            try:
                _, position = segment.index.lookup(start)
                for header, view in self._batches(segment, position):
                    yield header.size_bytes
                    if not self._enter_batch(keys, transactions, header, view):
                        return
            finally:
                segment.close()
            keys.latest_offset = self._ends[described.base_offset] - 1

    def _enter_batch(
        self, keys: KeyMap, transactions: CleanedTransactions, header: BatchHeader, view: memoryview
    ) -> bool:
        """Whether all of the batch's keys went into the map."""
        start = self._plan.first_dirty_offset
        if header.is_control:
            transactions.reads_marker(header, view)
        elif not transactions.reads_data(header) and header.last_offset >= start:
            base_offset = header.base_offset
            put = keys.put
            for record in read_records(view, header, self._plan.max_record_bytes)[1]:
                offset = base_offset + record.offset_delta
                if record.key is not None and offset >= start and not put(record.key, offset):
                    return False
        if header.last_offset >= start:
            keys.latest_offset = header.last_offset
        return True

    def clean_segments(self, keys: KeyMap) -> Iterator[Step]:
        """Write the segments up to where the map reaches, group by group."""
        plan = self._plan
        transactions = CleanedTransactions(plan.aborted)
        batch_filter = BatchFilter(
            keys, transactions, plan.producers,
            FilterSettings(plan.now_ms, plan.delete_retention_ms, plan.high_watermark, plan.max_record_bytes),
        )  # fmt: skip
        sizes = [self._sizes(segment) for segment in plan.segments if segment.base_offset <= keys.latest_offset]
        groups = group_segments(sizes, plan.segment_bytes, plan.segment_index_bytes, plan.first_uncleanable_offset)
        for group in groups:
            cleaned = Segment.create(
                self._pool, plan.directory, group[0].base_offset, now_ms=plan.now_ms, suffix=CLEANED_SUFFIX
            )
            try:
                yield from self._clean_into(_Output(cleaned, plan), batch_filter, group)
                for transaction in transactions.take_retained():
                    cleaned.txn_index.append(transaction)
                cleaned.seal()
                sync_files(self._fs, cleaned.paths, ())
            finally:
                cleaned.close()
            self._keyless = batch_filter.keyless
            yield CleanedSegment(
                tuple(segment.base_offset for segment in group), cleaned.size, cleaned.max_timestamp_ms,
                cleaned.offset_of_max_timestamp,
            )  # fmt: skip

    def _clean_into(self, output: _Output, batch_filter: BatchFilter, group: Sequence[SegmentSizes]) -> Iterator[Step]:
        for described in group:
            source = self._source(SegmentToClean(described.base_offset, described.log_bytes))
            try:
                for header, view in self._batches(source, 0):
                    left = batch_filter.filter(header, view)
                    if left is not None:
                        output.add(header if left is view else parse_header(left), left)
                        self._bytes_written += len(left)
                    yield header.size_bytes + (0 if left is None else len(left))
            finally:
                source.close()
        output.flush()

    def _batches(self, segment: Segment, position: int) -> Iterator[tuple[BatchHeader, memoryview]]:
        """The batches from `position` on; CorruptBatchError unless they are whole, valid and in their order.

        What the checksum does not cover is checked here: rewritten batches would have one that holds.
        """
        next_offset, end_offset = segment.base_offset, self._ends[segment.base_offset]
        for stored, view in scan_valid(segment.log, position, segment.size):
            header = stored.header
            if header.base_offset < next_offset or header.next_offset > end_offset:
                raise CorruptBatchError(f"offset {header.base_offset} at position {stored.position} is out of order")
            next_offset = header.next_offset
            self._bytes_read += header.size_bytes
            yield header, view

    def _source(self, described: SegmentToClean) -> Segment:
        return Segment(self._pool, self._plan.directory, described.base_offset, described.size, created_ms=0)

    def _sizes(self, described: SegmentToClean) -> SegmentSizes:
        _, index, time_index, _ = self._source(described).paths
        return SegmentSizes(described.base_offset, described.size, self._fs.size(index), self._fs.size(time_index))


class _Output:
    """A segment that is being written, some batches at a time."""

    def __init__(self, segment: Segment, plan: CleaningPlan) -> None:
        self._segment = segment
        self._index_interval_bytes = plan.index_interval_bytes
        self._buffer_bytes = plan.limits.io_buffer_bytes
        self._pieces: list[bytes | memoryview] = []
        self._size = 0
        self._synced_size = 0

    def add(self, header: BatchHeader, batch: bytes | memoryview) -> None:
        """Write a batch, soon. Raises OSError."""
        self._segment.note(header, header.last_offset, self._size, self._index_interval_bytes)
        self._pieces.append(batch)
        self._size += len(batch)
        if self._size - self._segment.size >= self._buffer_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what was added; raises OSError."""
        log = self._segment.log
        if self._pieces:
            log.append(b"".join(self._pieces))
            self._pieces.clear()
        if self._size - self._synced_size >= SYNC_BYTES:
            self._synced_size = self._size
            log.file().sync()
