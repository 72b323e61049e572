"""One segment of a log: a `.log` file with its indexes."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.ports import FileSystem
from odradek.storage.batches import CorruptBatchError, NotInMemoryError, find, scan
from odradek.storage.file_names import INDEX_SUFFIX, LOG_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, offset_name
from odradek.storage.file_pool import FilePool
from odradek.storage.indexes import MAX_RELATIVE_OFFSET, NO_TIMESTAMP, OffsetIndex, TimeIndex
from odradek.storage.log_config import LogConfig
from odradek.storage.segment_file import SegmentFile
from odradek.storage.txn_index import TransactionIndex
from odradek.storage.uniform_run import UniformRun
from odradek.wire.records.header import HEADER_BYTES, LOG_OVERHEAD_BYTES, BatchHeader, parse_header

_TAIL_BATCHES = 256
"""So many of the latest batches are found without reading headers from the file."""
_LOOKUP_BYTES = 8192
"""What a look-up reads at once: an index interval and a header fit in it by default."""
_REHEARSAL_FILES = 16


class ColdLookupError(Exception):
    """A look-up would wait for a disk. `prepare` brings what it needs into memory; any thread may run it."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        super().__init__("what a look-up needs is not in memory")
        self.prepare = prepare


class Located(NamedTuple):
    """Where a batch is."""

    position: int
    size: int


class Segment:
    """The batches from `base_offset` on, up to the next segment's. Only the last segment of a log is written to."""

    __slots__ = (
        "_bytes_since_index_entry",
        "_first_timestamp_ms",
        "_max_timestamp_ms",
        "_offset_of_max_timestamp",
        "_tail_last_offsets",
        "_tail_positions",
        "_tail_start",
        "base_offset",
        "created_ms",
        "fs",
        "index",
        "is_new",
        "log",
        "roll_jitter_ms",
        "time_index",
        "txn_index",
    )

    def __init__(
        self, pool: FilePool, directory: str, base_offset: int, size: int, *,
        created_ms: int, roll_jitter_ms: int = 0, is_new: bool = False, suffix: str = "",
    ) -> None:  # fmt: skip
        self.fs = pool.fs
        self.base_offset = base_offset
        self.created_ms = created_ms
        self.roll_jitter_ms = roll_jitter_ms
        self.is_new = is_new
        """Its names are not known to have reached the disk yet."""
        path = f"{directory}/{offset_name(base_offset, '')}"
        self.log = SegmentFile(pool, path + LOG_SUFFIX + suffix, size)
        self.index = OffsetIndex(pool, path + INDEX_SUFFIX + suffix, base_offset, is_new=is_new)
        self.time_index = TimeIndex(pool, path + TIME_INDEX_SUFFIX + suffix, base_offset, is_new=is_new)
        self.txn_index = TransactionIndex(pool, path + TXN_INDEX_SUFFIX + suffix)
        self._bytes_since_index_entry = 0
        self._first_timestamp_ms: int | None = None
        self._max_timestamp_ms: int | None = NO_TIMESTAMP if is_new else None
        self._offset_of_max_timestamp = base_offset
        self._tail_start = -1
        self._tail_last_offsets: list[int] = []
        self._tail_positions: list[int] = []

    @classmethod
    def create(
        cls, pool: FilePool, directory: str, base_offset: int, *, now_ms: int, roll_jitter_ms: int = 0, suffix: str = ""
    ) -> Segment:
        """A new, empty segment with its files; what is left of an older one of the same name goes. Raises OSError."""
        make_segment_files(pool.fs, directory, base_offset, suffix)
        return cls(
            pool, directory, base_offset, 0,
            created_ms=now_ms, roll_jitter_ms=roll_jitter_ms, is_new=True, suffix=suffix,
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Bytes of its batches."""
        return self.log.size

    @property
    def paths(self) -> tuple[str, str, str, str]:
        """Its files: log, offset index, time index, transaction index. The last may not exist."""
        return self.log.path, self.index.path, self.time_index.path, self.txn_index.path

    @property
    def has_new_names(self) -> bool:
        """Whether a power cut may take the name of one of its files: that of the last comes with its first entry."""
        return self.is_new or self.txn_index.creations != self.txn_index.synced_creations

    @property
    def max_timestamp_ms(self) -> int:
        """The largest timestamp in it, -1 if it has none."""
        maximum = self._max_timestamp_ms
        return maximum if maximum is not None else self._load_max_timestamp()

    @property
    def offset_of_max_timestamp(self) -> int:
        """The last offset of the first batch that has the largest timestamp."""
        if self._max_timestamp_ms is None:
            self._load_max_timestamp()
        return self._offset_of_max_timestamp

    def should_roll(self, config: LogConfig, size: int, last_offset: int, max_timestamp_ms: int, now_ms: int) -> bool:
        """Whether `size` more bytes up to `last_offset` belong into the next segment."""
        mine = self.log.size
        if mine > config.segment_bytes - size or last_offset - self.base_offset > MAX_RELATIVE_OFFSET:
            return True
        if mine == 0:
            return False
        if self.waited_ms(now_ms, max_timestamp_ms) > config.max_segment_ms - self.roll_jitter_ms:
            return True
        return self.index.is_full(config.segment_index_bytes) or self.time_index.is_full(config.segment_index_bytes)

    def waited_ms(self, now_ms: int, timestamp_ms: int) -> int:
        """The segment's age when a record of `timestamp_ms` comes: since its first batch, if that has a timestamp."""
        first = self.first_timestamp_ms
        return timestamp_ms - first if first >= 0 else now_ms - self.created_ms

    def note(self, header: BatchHeader, last_offset: int, position: int, index_interval: int) -> None:
        """A batch up to `last_offset` was written at `position`: index it, if it is time.

        Its maximum timestamp and size are the header's; its offsets may have been assigned since.
        """
        maximum = self._max_timestamp_ms
        if maximum is None:
            maximum = self._load_max_timestamp()
        if header.max_timestamp_ms > maximum:
            self._max_timestamp_ms = maximum = header.max_timestamp_ms
            self._offset_of_max_timestamp = last_offset
        if position == 0:
            self._first_timestamp_ms = header.max_timestamp_ms
        if self._bytes_since_index_entry > index_interval:
            self.index.append(last_offset, position)
            self.time_index.append_if_later(maximum, self._offset_of_max_timestamp)
            self._bytes_since_index_entry = 0
        self._bytes_since_index_entry += header.length + LOG_OVERHEAD_BYTES
        last_offsets = self._tail_last_offsets
        if not last_offsets:
            self._tail_start = last_offset - header.last_offset_delta
        last_offsets.append(last_offset)
        self._tail_positions.append(position)
        if len(last_offsets) > _TAIL_BATCHES:
            self._trim_tail()

    def note_uniform(
        self, run: UniformRun, first_offset: int, position: int, max_timestamp_ms: int, index_interval: int
    ) -> None:
        """`note` for all batches of a run, which were written from `position` on; the first is at `first_offset`.

        `max_timestamp_ms` is the largest of theirs.
        """
        if position == 0:
            self._first_timestamp_ms = run.max_timestamps_ms[0]
        size, records, count = run.batch_bytes, run.records, len(run.batches)
        last_offset = first_offset + records - 1
        if self._bytes_since_index_entry + (count - 1) * size > index_interval:
            self._index_uniform(run, last_offset, position, index_interval)
        else:
            if max_timestamp_ms > self.max_timestamp_ms:
                self._note_timestamps(run.max_timestamps_ms, 0, count, last_offset, records)
            self._bytes_since_index_entry += count * size
        last_offsets = self._tail_last_offsets
        if not last_offsets:
            self._tail_start = first_offset
        last_offsets += range(last_offset, last_offset + count * records, records)
        self._tail_positions += range(position, position + count * size, size)
        while len(last_offsets) > _TAIL_BATCHES:
            self._trim_tail()

    def take_back(self, size: int) -> None:
        """What was written from position `size` on does not count: noting it failed."""
        self.log.size = size
        self._forget_tail()

    def locate(self, offset: int, *, waits: bool = True) -> Located | None:
        """The first batch that holds `offset` or comes behind it; None if there is none here.

        Raises CorruptBatchError, OSError, and ColdLookupError instead of waiting for a disk if not `waits`.
        """
        if self._tail_last_offsets and offset >= self._tail_start:
            return self._locate_in_tail(offset)
        if not waits and not self.index.is_at_hand:
            raise ColdLookupError(self._rehearsal(lambda copy: copy.locate(offset)))
        try:
            return self._locate_by_index(offset, waits)
        except NotInMemoryError:
            raise ColdLookupError(self._rehearsal(lambda copy: copy.locate(offset))) from None

    def next_offset(self) -> int:
        """The offset behind its last batch, its base offset when empty. Reads from the last index entry on.

        Raises CorruptBatchError if that entry does not lead to a batch, or one behind it is damaged.
        """
        _, position = self.index.last()
        if position and position >= self.log.size:
            raise CorruptBatchError(f"the index has position {position}, and the file has {self.log.size} bytes")
        last = self.base_offset - 1
        for batch in scan(self.log, position, self.log.size, chunk_bytes=_LOOKUP_BYTES):
            last = batch.header.last_offset
        return last + 1

    def seal(self) -> bool:
        """Another segment follows, or the log is closed: the last timestamp is indexed, and the indexes are written.

        Whether that wrote anything. Raises OSError.
        """
        if self.max_timestamp_ms >= 0:
            self.time_index.append_if_later(self.max_timestamp_ms, self._offset_of_max_timestamp)
        has_written = self.index.seal()
        has_written |= self.time_index.seal()
        self.txn_index.forget()
        self._forget_tail()
        self.log.cut_leftovers()
        return has_written

    def truncate_to(self, offset: int, now_ms: int) -> int:
        """Cut off the batch that holds `offset` and all behind it; the offset that the segment ends at now.

        That is `offset`, unless it is within a batch.
        """
        located = self.locate(offset)
        end_offset = offset
        if located is not None:
            end_offset = min(offset, parse_header(self.log.read(HEADER_BYTES, located.position)).base_offset)
        self.is_new = True
        self.index.truncate_to(offset)
        self.time_index.truncate_to(offset)
        self.txn_index.truncate_to(offset)
        self._forget_tail()
        if located is not None:
            self.log.truncate(located.position)
        if self.log.size == 0:
            self.created_ms = now_ms
            self._first_timestamp_ms = None
        self._bytes_since_index_entry = 0
        self._find_max_timestamp()
        return end_offset

    def restart(self, max_timestamp_ms: int, offset_of_max_timestamp: int, size: int) -> None:
        """The file was read again up to `size`, which is where it ends now; its indexes were made anew meanwhile."""
        self.is_new = True
        self._max_timestamp_ms = max_timestamp_ms
        self._offset_of_max_timestamp = offset_of_max_timestamp
        self._first_timestamp_ms = None
        self._bytes_since_index_entry = 0
        if size < self.log.size:
            self.log.truncate(size)
        self.time_index.append_if_later(max_timestamp_ms, offset_of_max_timestamp)
        self.index.write_out()
        self.time_index.write_out()

    def remember_max_timestamp(self, timestamp_ms: int, offset: int) -> None:
        """The largest timestamp in it and the last offset of the first batch with that are known: no need to look."""
        self._max_timestamp_ms = timestamp_ms
        self._offset_of_max_timestamp = offset

    @property
    def first_timestamp_ms(self) -> int:
        """The largest timestamp of its first batch, -1 if that has none."""
        first = self._first_timestamp_ms
        if first is None:
            first = self._first_timestamp_ms = self._read_first_timestamp()
        return first

    def move(self, directory: str) -> None:
        """The log's directory was renamed."""
        for file in (self.index, self.time_index, self.txn_index):
            file.path = f"{directory}/{file.path.rpartition('/')[2]}"
        self.log.move(f"{directory}/{self.log.path.rpartition('/')[2]}")

    def write_out(self) -> None:
        """Bring the indexes to their files; raises OSError."""
        self.index.write_out()
        self.time_index.write_out()

    def close(self) -> None:
        """Release the descriptors; ranges that are held stay readable."""
        self.log.retire()
        self.index.close()
        self.time_index.close()

    def copy(self, pool: FilePool) -> Segment:
        """The same files as they are now, opened once more, for another thread to read."""
        directory = self.log.path.rpartition("/")[0]
        copy = Segment(pool, directory, self.base_offset, self.log.size, created_ms=self.created_ms)
        self.index.copy_to(copy.index)
        self.time_index.copy_to(copy.time_index)
        copy._max_timestamp_ms = self._max_timestamp_ms
        copy._offset_of_max_timestamp = self._offset_of_max_timestamp
        return copy

    def _rehearsal(self, look_up: Callable[[Segment], object]) -> Callable[[], None]:
        """Makes a look-up on a copy. What is wrong with the files is for the look-up itself to meet."""
        copy = self.copy(FilePool(self.fs, _REHEARSAL_FILES))

        def rehearse() -> None:
            with contextlib.suppress(OSError, CorruptBatchError):
                look_up(copy)
            copy.close()

        return rehearse

    def _locate_by_index(self, offset: int, waits: bool) -> Located | None:
        position, behind = self.index.around(offset)
        end = self.log.size
        if behind - position > _LOOKUP_BYTES:
            # Too far for one read from `position`; where batches are large, the next entry is nearly always the one.
            try:
                found = find(self.log, behind, end, offset, chunk_bytes=HEADER_BYTES, waits=waits)
            except CorruptBatchError:
                found = None
            if found is not None and found[2] <= offset:
                return Located(found[0], found[1])
        found = find(self.log, position, end, offset, chunk_bytes=_LOOKUP_BYTES, waits=waits)
        return None if found is None else Located(found[0], found[1])

    def _locate_in_tail(self, offset: int) -> Located | None:
        positions = self._tail_positions
        index = bisect_left(self._tail_last_offsets, offset)
        if index == len(positions):
            return None
        end = positions[index + 1] if index + 1 < len(positions) else self.log.size
        return Located(positions[index], end - positions[index])

    def _trim_tail(self) -> None:
        half = _TAIL_BATCHES // 2
        self._tail_start = self._tail_last_offsets[half - 1] + 1
        del self._tail_last_offsets[:half]
        del self._tail_positions[:half]

    def _index_uniform(self, run: UniformRun, last_offset: int, position: int, index_interval: int) -> None:
        """What `note` does with the indexes for batches of a run, the first of which ends at `last_offset`."""
        size, records, count = run.batch_bytes, run.records, len(run.batches)
        noted = 0
        while noted < count:
            # Those before which the interval is not exceeded yet.
            more = min((index_interval - self._bytes_since_index_entry) // size + 1, count - noted)
            if more > 0:
                self._note_timestamps(run.max_timestamps_ms, noted, noted + more, last_offset, records)
                self._bytes_since_index_entry += more * size
                noted += more
            else:
                self._note_timestamps(run.max_timestamps_ms, noted, noted + 1, last_offset, records)
                self.index.append(last_offset + noted * records, position + noted * size)
                self.time_index.append_if_later(self.max_timestamp_ms, self._offset_of_max_timestamp)
                self._bytes_since_index_entry = size
                noted += 1

    def _note_timestamps(
        self, timestamps_ms: Sequence[int], begin: int, end: int, last_offset: int, records: int
    ) -> None:
        """What `note` does with the timestamps of some batches of a run, the first of which ends at `last_offset`."""
        latest_ms = timestamps_ms[begin] if end - begin == 1 else max(timestamps_ms[begin:end])
        if latest_ms > self.max_timestamp_ms:
            self._max_timestamp_ms = latest_ms
            self._offset_of_max_timestamp = last_offset + timestamps_ms.index(latest_ms, begin) * records

    def _forget_tail(self) -> None:
        self._tail_last_offsets = []
        self._tail_positions = []

    def _read_first_timestamp(self) -> int:
        with contextlib.suppress(CorruptBatchError):
            for first in scan(self.log, 0, self.log.size, chunk_bytes=HEADER_BYTES):
                return first.header.max_timestamp_ms
        return NO_TIMESTAMP

    def _load_max_timestamp(self) -> int:
        """The time index's last entry: `seal` adds one, and what was not sealed is recovered."""
        maximum, self._offset_of_max_timestamp = self.time_index.last()
        self._max_timestamp_ms = maximum
        return maximum

    def _find_max_timestamp(self) -> None:
        """As above, where the last entry may be gone: there may be a larger one in a batch behind the one before."""
        maximum, offset = self.time_index.last()
        _, position = self.index.lookup(offset)
        # A damaged batch is for its readers to meet: it must not keep producers from writing behind it.
        with contextlib.suppress(CorruptBatchError):
            for batch in scan(self.log, position, self.log.size):
                if batch.header.max_timestamp_ms > maximum:
                    maximum, offset = batch.header.max_timestamp_ms, batch.header.last_offset
        self._max_timestamp_ms = maximum
        self._offset_of_max_timestamp = offset


def make_segment_files(fs: FileSystem, directory: str, base_offset: int, suffix: str = "") -> None:
    """The files of a new, empty segment; what is left of an older one of the same name goes. Raises OSError."""
    path = f"{directory}/{offset_name(base_offset, '')}"
    fs.remove(path + TXN_INDEX_SUFFIX + suffix)
    for kind in (INDEX_SUFFIX, TIME_INDEX_SUFFIX, LOG_SUFFIX):
        file = fs.open(path + kind + suffix, create=True)
        try:
            if file.size():
                file.truncate(0)
        finally:
            file.close()
