"""Reading segments again: after a crash, after truncation, and for producer state."""

from __future__ import annotations

import logging

from odradek.storage.batches import CorruptBatchError, StoredBatch, scan_valid
from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.indexes import MAX_RELATIVE_OFFSET, NO_TIMESTAMP
from odradek.storage.leader_epochs import LeaderEpochCache
from odradek.storage.markers import apply_batch
from odradek.storage.producer_snapshot import SnapshotFiles
from odradek.storage.producers import ProducerStateManager, is_expired
from odradek.storage.segment import Segment
from odradek.storage.segments import Segments
from odradek.wire.errors import KafkaError

_log = logging.getLogger(__name__)


class Recovered:
    """What reading a segment again found."""

    __slots__ = ("dropped_bytes", "next_offset")

    def __init__(self, next_offset: int, dropped_bytes: int) -> None:
        self.next_offset = next_offset
        self.dropped_bytes = dropped_bytes


class JumpError(Exception):
    """The batch at `position` has offsets that are too high to be true."""

    def __init__(self, position: int) -> None:
        super().__init__(f"the batch at position {position} has a higher offset than what follows it")
        self.position = position


def recover_segment(
    segment: Segment, producers: ProducerStateManager, epochs: LeaderEpochCache, index_interval: int
) -> Recovered:
    """Check every batch, make the indexes anew, and cut the file behind the last valid batch. Raises OSError.

    `producers` is the state before the segment, and afterwards that behind it. Checksums do not cover offsets: a batch
    that leaves some out, as compaction does, and is followed at once by one with lower offsets, is not valid either.
    Raises JumpError for that, with nothing cut yet.
    """
    segment.index.reset()
    segment.time_index.reset()
    segment.txn_index.reset()
    size = segment.size
    end = 0
    next_offset = segment.base_offset
    indexed_at = 0
    highest = segment.base_offset + MAX_RELATIVE_OFFSET
    maximum, offset_of_maximum = NO_TIMESTAMP, segment.base_offset
    indexed_ms = NO_TIMESTAMP
    latest_epoch = epochs.latest_epoch
    index, time_index = segment.index, segment.time_index
    jumped_at: int | None = None
    try:
        for stored, view in scan_valid(segment.log, 0, size):
            header = stored.header
            last_offset = header.base_offset + header.last_offset_delta
            if header.base_offset < next_offset or last_offset > highest:
                if jumped_at is not None and header.base_offset < next_offset:
                    raise JumpError(jumped_at)
                raise CorruptBatchError(f"offset {header.base_offset} at position {stored.position} is out of order")
            jumped_at = stored.position if header.base_offset > next_offset else None
            if header.max_timestamp_ms > maximum:
                maximum, offset_of_maximum = header.max_timestamp_ms, last_offset
            if end - indexed_at > index_interval:
                index.append(last_offset, end)
                if maximum > indexed_ms:
                    time_index.append_if_later(maximum, offset_of_maximum)
                    indexed_ms = maximum
                indexed_at = end
            if header.leader_epoch > latest_epoch:
                latest_epoch = header.leader_epoch
                epochs.assign(latest_epoch, header.base_offset)
            if header.producer_id >= 0:
                _replay(segment, producers, stored, view)
            end += len(view)
            next_offset = last_offset + 1
    except (CorruptBatchError, KafkaError) as error:
        _log.warning("%s is cut at byte %d of %d: %s", segment.log.path, end, size, error)
    segment.restart(maximum, offset_of_maximum, end)
    return Recovered(next_offset, size - end)


def rebuild_producers(
    producers: ProducerStateManager, snapshots: SnapshotFiles, segments: Segments, log_start_offset: int,
    end_offset: int, now_ms: int, expiration_ms: int, *, keep_snapshots: bool = False,
) -> None:  # fmt: skip
    """Producer state at `end_offset`: from the latest snapshot that can be read, and the batches behind it."""
    if keep_snapshots:
        snapshots.forget([offset for offset in snapshots.offsets() if not log_start_offset < offset <= end_offset])
    else:
        snapshots.remove_outside(log_start_offset, end_offset)
    begin = _load_snapshot(producers, snapshots, log_start_offset, now_ms, expiration_ms, keep_snapshots=keep_snapshots)
    if begin < end_offset:
        for segment in segments.from_offset(begin):
            replay_producers(segment, producers, begin, end_offset)


def replay_producers(segment: Segment, producers: ProducerStateManager, begin: int, end_offset: int) -> None:
    """Apply the batches of [begin, end offset) in one segment to producer state."""
    located = segment.locate(max(begin, segment.base_offset))
    if located is None:
        return
    try:
        for stored, view in scan_valid(segment.log, located.position, segment.size):
            if stored.header.base_offset >= end_offset:
                return
            if stored.header.producer_id >= 0:
                completed = apply_batch(producers, stored.header, stored.header.base_offset, view)
                if completed is not None:
                    producers.complete(completed)
    except (CorruptBatchError, KafkaError) as error:
        _log.warning("%s: producer state ends where the file is damaged: %s", segment.log.path, error)


def _load_snapshot(
    producers: ProducerStateManager, snapshots: SnapshotFiles, log_start_offset: int, now_ms: int, expiration_ms: int,
    *, keep_snapshots: bool,
) -> int:  # fmt: skip
    for offset in reversed(snapshots.offsets()):
        try:
            entries = snapshots.read(offset)
        except CorruptFileError as error:
            _log.warning("a producer snapshot is not used: %s", error)
            if not keep_snapshots:
                snapshots.remove(offset)
            continue
        producers.load(entry for entry in entries if not is_expired(entry, now_ms, expiration_ms))
        return offset
    producers.clear()
    return log_start_offset


def _replay(segment: Segment, producers: ProducerStateManager, stored: StoredBatch, view: memoryview) -> None:
    completed = apply_batch(producers, stored.header, stored.header.base_offset, view)
    if completed is not None:
        if completed.is_aborted:
            segment.txn_index.append(producers.aborted(completed))
        producers.complete(completed)
