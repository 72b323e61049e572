"""Whether what is in a log directory fits together: checksums, offsets, and what indexes say of batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from odradek.ports import FileSystem
from odradek.storage.batches import CorruptBatchError
from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.indexes import MAX_RELATIVE_OFFSET
from odradek.storage.inspect.batches import FoundBatch, read_batches
from odradek.storage.inspect.directories import (
    FileKind,
    KnownFile,
    known_files,
    partition_directories,
    segments_of,
)
from odradek.storage.inspect.rows import index_entries, read_rows, time_index_entries
from odradek.wire.errors import KafkaError
from odradek.wire.records.batch import iter_records


class Finding(NamedTuple):
    """Something that does not fit, in one file."""

    path: str
    text: str


class Verified:
    """How much was looked at."""

    def __init__(self) -> None:
        self.files = 0
        self.batches = 0
        self.bytes = 0


class _State(NamedTuple):
    """What the batches before say of those that come."""

    next_offset: int = 0
    leader_epoch: int = -1


def verify_data_dir(fs: FileSystem, data_dir: str, verified: Verified, *, records: bool = False) -> Iterator[Finding]:
    """What does not fit in a data directory and all its partitions. Raises OSError."""
    yield from _check_rows(fs, known_files(fs, data_dir), verified)
    for directory in partition_directories(fs, data_dir):
        yield from verify_partition(fs, directory, verified, records=records)


def verify_partition(fs: FileSystem, directory: str, verified: Verified, *, records: bool = False) -> Iterator[Finding]:
    """What does not fit in one partition's directory; `records`: those in the batches are read, too. Raises OSError."""
    files = known_files(fs, directory)
    segments = list(segments_of(files))
    logs = {segment[FileKind.LOG].offset for segment in segments}
    state = _State()
    for segment in segments:
        try:
            state = yield from _check_segment(fs, segment, state, verified, records)
        except FileNotFoundError:
            continue  # it was deleted while we read
    for file in files:
        if file.kind in (FileKind.INDEX, FileKind.TIME_INDEX, FileKind.TXN_INDEX) and file.offset not in logs:
            yield Finding(file.path, "belongs to no segment")
    yield from _check_epochs(fs, files)
    yield from _check_rows(fs, [file for file in files if file.kind not in _CHECKED_WITH_SEGMENTS], verified)


_CHECKED_WITH_SEGMENTS = (FileKind.LOG, FileKind.INDEX, FileKind.TIME_INDEX)


def _check_rows(fs: FileSystem, files: Sequence[KnownFile], verified: Verified) -> Iterator[Finding]:
    """Whether files can be read at all, and the batches of metadata snapshots hold."""
    for file in files:
        verified.files += 1
        try:
            for row in read_rows(fs, file):
                if row.kind == "damage":
                    yield Finding(file.path, str(row.fields["problem"]))
                elif row.fields.get("isValid") is False:
                    yield Finding(file.path, f"position {row.fields['position']}: the checksum does not hold")
        except FileNotFoundError:
            continue


def _check_segment(
    fs: FileSystem, segment: dict[FileKind, KnownFile], before: _State, verified: Verified, records: bool
) -> Generator[Finding, None, _State]:
    """Returns the state behind the segment."""
    log = segment[FileKind.LOG]
    verified.files += len(segment)
    checks = _IndexChecks(fs, segment)
    yield from checks.damage
    state = before
    is_whole = True
    try:
        for batch in read_batches(fs, log.path):
            verified.batches += 1
            verified.bytes += batch.header.size_bytes
            for text in _batch_problems(batch, log.offset, state, records):
                yield Finding(log.path, f"position {batch.position}: {text}")
            yield from checks.batch(batch)
            header = batch.header
            state = _State(header.next_offset, max(state.leader_epoch, header.leader_epoch))
    except CorruptBatchError as error:
        yield Finding(log.path, f"{error}; nothing behind it can be read")
        is_whole = False
    if is_whole:
        yield from checks.end()
    for kind in (FileKind.INDEX, FileKind.TIME_INDEX):
        if kind not in segment and fs.exists(log.path):
            yield Finding(log.path, f"has no {kind.value}; it is made anew at the next start")
    return state


def _batch_problems(batch: FoundBatch, segment_offset: int, before: _State, records: bool) -> Iterator[str]:
    header = batch.header
    if not batch.is_valid:
        yield "the checksum does not hold"
    if header.base_offset < segment_offset:
        yield f"offset {header.base_offset} is before the segment's {segment_offset}"
    elif header.base_offset < before.next_offset:
        yield f"offset {header.base_offset}, where {before.next_offset} or more is due"
    if header.last_offset - segment_offset > MAX_RELATIVE_OFFSET:
        yield f"offset {header.last_offset} is too far behind the segment's {segment_offset}"
    if header.leader_epoch < before.leader_epoch:
        yield f"leader epoch {header.leader_epoch} behind {before.leader_epoch}"
    if not 0 <= header.record_count <= header.last_offset_delta + 1:
        yield f"{header.record_count} records with {header.last_offset_delta + 1} offsets"
    if records and batch.is_valid:
        yield from _record_problems(batch)


def _record_problems(batch: FoundBatch) -> Iterator[str]:
    header = batch.header
    due = header.base_offset
    try:
        for record in iter_records(batch.data):
            if not due <= record.offset <= header.last_offset:
                yield f"a record has offset {record.offset}, where {due} to {header.last_offset} are due"
            due = record.offset + 1
    except KafkaError as error:
        yield f"its records cannot be read: {error}"


class _IndexChecks:
    """Goes along both indexes of a segment while its batches are read."""

    def __init__(self, fs: FileSystem, segment: dict[FileKind, KnownFile]) -> None:
        self.damage: list[Finding] = []
        """What is wrong with the indexes themselves."""
        self._index_path, self._index = self._load(fs, segment.get(FileKind.INDEX))
        self._time_path, self._times = self._load(fs, segment.get(FileKind.TIME_INDEX))
        self._max_timestamp_ms = -1

    def batch(self, batch: FoundBatch) -> Iterator[Finding]:
        """The next batch of the segment."""
        header = batch.header
        while self._index and self._index[0][1] <= batch.position:
            offset, position = self._index.popleft()
            if position < batch.position:
                yield Finding(self._index_path, f"offset {offset} points to position {position}, where no batch begins")
            elif offset != header.last_offset:
                yield Finding(
                    self._index_path,
                    f"offset {offset} points to position {position}, whose batch ends at offset {header.last_offset}",
                )
        self._max_timestamp_ms = max(self._max_timestamp_ms, header.max_timestamp_ms)
        while self._times and self._times[0][1] <= header.last_offset:
            timestamp_ms, offset = self._times.popleft()
            if offset < header.base_offset:
                yield Finding(
                    self._time_path, f"timestamp {timestamp_ms} points to offset {offset}, which is not there"
                )
            elif timestamp_ms != header.max_timestamp_ms:
                yield Finding(
                    self._time_path,
                    f"timestamp {timestamp_ms} points to offset {offset}, whose batch has {header.max_timestamp_ms}",
                )
            elif timestamp_ms < self._max_timestamp_ms:
                yield Finding(
                    self._time_path,
                    f"timestamp {timestamp_ms} points to offset {offset}, behind a batch of {self._max_timestamp_ms}",
                )

    def end(self) -> Iterator[Finding]:
        """All batches were there."""
        for offset, position in self._index:
            yield Finding(self._index_path, f"offset {offset} points to position {position}, behind the last batch")
        for timestamp_ms, offset in self._times:
            yield Finding(self._time_path, f"timestamp {timestamp_ms} points to offset {offset}, behind the last batch")

    def _load(self, fs: FileSystem, file: KnownFile | None) -> tuple[str, deque[tuple[int, int]]]:
        """The entries, without those that do not ascend."""
        entries: deque[tuple[int, int]] = deque()
        if file is None:
            return "", entries
        try:
            found = index_entries(fs, file) if file.kind is FileKind.INDEX else time_index_entries(fs, file)
        except FileNotFoundError:
            return file.path, entries
        except CorruptFileError as error:
            self.damage.append(Finding(file.path, str(error)))
            return file.path, entries
        for number, entry in enumerate(found):
            last = entries[-1] if entries else (-1, -1)
            if entry[0] <= last[0] or entry[1] < last[1]:
                self.damage.append(Finding(file.path, f"entry {number} {entry} does not ascend from {last}"))
            else:
                entries.append(entry)
        return file.path, entries


def _check_epochs(fs: FileSystem, files: Sequence[KnownFile]) -> Iterator[Finding]:
    for file in files:
        if file.kind is not FileKind.LEADER_EPOCHS:
            continue
        last_epoch = last_start = -1
        for row in read_rows(fs, file):
            if row.kind == "damage":
                return  # told of with the other files
            epoch, start = row.fields["epoch"], row.fields["startOffset"]
            assert isinstance(epoch, int)
            assert isinstance(start, int)
            if epoch <= last_epoch or start < last_start:
                yield Finding(file.path, f"epoch {epoch} from offset {start} follows {last_epoch} from {last_start}")
            last_epoch, last_start = epoch, start
