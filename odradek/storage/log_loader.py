"""Opening a log's directory: what a crash left is put right, the rest is taken as it is."""

from __future__ import annotations

import logging

from odradek.storage.batches import CorruptBatchError
from odradek.storage.checkpoints import CorruptFileError, read_topic_id
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import (
    INDEX_SUFFIX,
    LEADER_EPOCH_CHECKPOINT,
    LOG_SUFFIX,
    PARTITION_METADATA,
    SEGMENT_SUFFIXES,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    offset_name,
    offset_of_name,
)
from odradek.storage.leader_epochs import LeaderEpochCache
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_files import delete_segments
from odradek.storage.producer_snapshot import SnapshotFiles
from odradek.storage.producers import ProducerStateManager
from odradek.storage.recovery import JumpError, Recovered, rebuild_producers, recover_segment
from odradek.storage.segment import Segment
from odradek.storage.segment_swap import finish_swaps
from odradek.storage.segments import Segments
from odradek.storage.topic_partition import TopicPartition

_log = logging.getLogger(__name__)


def load_log(
    env: LogEnvironment, directory: str, topic_partition: TopicPartition, config: LogConfig, *,
    recovery_point: int = 0, log_start_offset: int = 0, high_watermark: int = 0, cleaned_offset: int | None = None,
    is_clean: bool = False,
) -> Log:  # fmt: skip
    """Open the log in `directory`, which exists; it may be empty. The offsets are those of the checkpoints.

    After a clean stop (`is_clean`) nothing is scanned; otherwise every batch from the segment of the recovery point on
    is checked, and the log ends where the first does not hold. Raises OSError, CorruptFileError.
    """
    loader = _Loader(env, directory, topic_partition, config, recovery_point, log_start_offset, cleaned_offset)
    return loader.load(high_watermark, is_clean)


class _Loader:
    def __init__(
        self, env: LogEnvironment, directory: str, topic_partition: TopicPartition, config: LogConfig,
        recovery_point: int, log_start_offset: int, cleaned_offset: int | None,
    ) -> None:  # fmt: skip
        self._env = env
        self._directory = directory
        self._topic_partition = topic_partition
        self._config = config
        self._recovery_point = recovery_point
        self._log_start_offset = log_start_offset
        self._cleaned_offset = cleaned_offset
        self._recovered: list[int] = []
        """The base offsets of segments that were read again: nothing of them is known to be synced."""
        self._behind_recovered: tuple[int, ProducerStateManager] | None = None
        """Where the segment ends that was read again last, and the producer state there."""
        self._now_ms = env.clock.now_ms()
        finish_swaps(env.fs, directory)
        names = env.fs.list(directory)
        self._snapshots = SnapshotFiles(env.fs, directory, names)
        self._epochs = self._load_epochs()
        self._segments = self._find_segments(frozenset(names))

    def load(self, high_watermark: int, is_clean: bool) -> Log:
        end_offset = self._end_offset(is_clean)
        if self._segments and end_offset < self._log_start_offset:
            _log.warning("%s ends at %d, before its start %d", self._directory, end_offset, self._log_start_offset)
            self._drop(self._segments)
            self._segments = []
            self._epochs.clear()
        if not self._segments:
            end_offset = self._log_start_offset
            self._segments = [Segment.create(self._env.pool, self._directory, end_offset, now_ms=self._now_ms)]
        segments = Segments(self._segments)
        log_start_offset = max(self._log_start_offset, segments.first.base_offset)
        self._epochs.truncate_from_end(end_offset)
        self._epochs.truncate_from_start(log_start_offset)
        self._snapshots.remove_strays(segments.base_offsets())
        producers = self._producers_at(segments, log_start_offset, end_offset)
        if not is_clean:
            # What was killed may not have come to it. A power cut must not take a segment's name from under what is
            # written there next, nor bring back what belongs to records that are gone.
            self._env.fs.sync_dir(self._directory)
        recovery_point = min(end_offset if is_clean else self._recovery_point, end_offset, *self._recovered)
        log = Log(
            self._env, self._directory, self._topic_partition, self._read_topic_id(), self._config, segments,
            self._epochs, self._snapshots, producers, log_start_offset=log_start_offset, log_end_offset=end_offset,
            recovery_point=recovery_point, high_watermark=high_watermark, cleaned_offset=self._cleaned_offset,
        )  # fmt: skip
        log.has_unsynced_index = bool(self._recovered)
        return log

    def _producers_at(self, segments: Segments, log_start_offset: int, end_offset: int) -> ProducerStateManager:
        """Producer state at the log's end.

        Where the last segment was read, that has left the last five batches of each producer, by which a retry of one
        whose answer was lost is known for a duplicate; a snapshot has only the last.
        """
        recovered_end, producers = self._behind_recovered or (None, None)
        if producers is not None and recovered_end == end_offset and end_offset > log_start_offset:
            producers.expire(self._now_ms, self._env.producer_expiration_ms)
            self._snapshots.remove_outside(log_start_offset, end_offset)
            return producers
        producers = ProducerStateManager(str(self._topic_partition))
        rebuild_producers(
            producers, self._snapshots, segments, log_start_offset, end_offset, self._now_ms,
            self._env.producer_expiration_ms,
        )  # fmt: skip
        return producers

    def _load_epochs(self) -> LeaderEpochCache:
        path = f"{self._directory}/{LEADER_EPOCH_CHECKPOINT}"
        try:
            return LeaderEpochCache(self._env.fs, path)
        except CorruptFileError as error:
            _log.warning("leader epochs are read from the batches again: %s", error)
            self._recovery_point = 0
            self._env.fs.remove(path)
            return LeaderEpochCache(self._env.fs, path)

    def _read_topic_id(self) -> bytes | None:
        """None where a power cut may have come before the log's first flush, which syncs the file."""
        try:
            return read_topic_id(self._env.fs, self._directory)
        except CorruptFileError:
            if self._recovery_point > 0:
                raise
            self._env.fs.remove(f"{self._directory}/{PARTITION_METADATA}")
            return None

    def _find_segments(self, names: frozenset[str]) -> list[Segment]:
        segments = []
        for name in sorted(names):
            base_offset = offset_of_name(name)
            if base_offset is None:
                continue
            if name.endswith(LOG_SUFFIX):
                size = self._env.fs.size(f"{self._directory}/{name}")
                segments.append(Segment(self._env.pool, self._directory, base_offset, size, created_ms=self._now_ms))
            elif name.endswith(SEGMENT_SUFFIXES) and offset_name(base_offset, LOG_SUFFIX) not in names:
                _log.warning("%s/%s belongs to no segment", self._directory, name)
                self._env.fs.remove(f"{self._directory}/{name}")
        self._unindexed = [segment for segment in segments if not self._has_indexes(segment, names)]
        return segments

    def _has_indexes(self, segment: Segment, names: frozenset[str]) -> bool:
        """Whether the indexes are there, so that the segment need not be read for them."""
        wanted = (offset_name(segment.base_offset, suffix) for suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX))
        if not all(name in names for name in wanted):
            return False
        if offset_name(segment.base_offset, TXN_INDEX_SUFFIX) in names:
            try:
                segment.txn_index.entries()
            except CorruptFileError as error:
                _log.warning("the transaction index is made anew: %s", error)
                return False
            segment.txn_index.forget()
        return segment.index.is_sane() and segment.time_index.is_sane()

    def _end_offset(self, is_clean: bool) -> int:
        """The log end offset, after recovering what needs it."""
        unindexed = [segment.base_offset for segment in self._unindexed]
        first_unsynced = self._first_unsynced(is_clean)
        end_offset = self._segments[-1].base_offset if self._segments else self._log_start_offset
        is_known = False
        for number, segment in enumerate(self._segments):
            if number < first_unsynced and segment.base_offset not in unindexed:
                continue
            recovered = self._recover(number)
            end_offset = recovered.next_offset
            is_known = number + 1 == len(self._segments)
            if not is_known and self._ends_before_next(number, recovered):
                _log.error("%s: all behind offset %d is dropped", self._directory, end_offset)
                self._drop(self._segments[number + 1 :])
                del self._segments[number + 1 :]
                return end_offset
        return end_offset if is_known or not self._segments else self._found_end()

    def _recover(self, number: int) -> Recovered:
        """Read a segment again, and leave a producer snapshot behind it."""
        segment = self._segments[number]
        self._recovered.append(segment.base_offset)
        producers = self._producers_before(number)
        try:
            recovered = recover_segment(segment, producers, self._epochs, self._config.index_interval_bytes)
        except JumpError as error:
            _log.warning("%s is cut at byte %d of %d: %s", segment.log.path, error.position, segment.size, error)
            dropped_bytes = segment.size - error.position
            segment.log.truncate(error.position)
            again = self._recover(number)
            return Recovered(again.next_offset, again.dropped_bytes + dropped_bytes)
        self._behind_recovered = recovered.next_offset, producers
        self._snapshots.remove(recovered.next_offset)
        if recovered.next_offset > segment.base_offset:
            self._snapshots.write(recovered.next_offset, producers.active_producers())
        return recovered

    def _found_end(self) -> int:
        """Where the last segment ends, from its last index entry on; all of it is read where that leads nowhere."""
        try:
            return self._segments[-1].next_offset()
        except CorruptBatchError as error:
            _log.warning("%s is read again: %s", self._segments[-1].log.path, error)
            return self._recover(len(self._segments) - 1).next_offset

    def _ends_before_next(self, number: int, recovered: Recovered) -> bool:
        """Whether batches are missing between a segment that was checked and the next one.

        A file may have lost its end at a batch's border, where no byte looks damaged. Serving what follows would leave
        a hole that no replica ever fills; only compaction makes gaps that are none.
        """
        if recovered.dropped_bytes:
            return True
        next_base_offset = self._segments[number + 1].base_offset
        may_have_gap = self._config.is_compacted or next_base_offset <= (self._cleaned_offset or 0)
        return not may_have_gap and recovered.next_offset != next_base_offset

    def _first_unsynced(self, is_clean: bool) -> int:
        """The number of the first segment that has to be checked."""
        if is_clean:
            return len(self._segments)
        numbers = [n for n, segment in enumerate(self._segments) if segment.base_offset <= self._recovery_point]
        return numbers[-1] if numbers else 0

    def _producers_before(self, number: int) -> ProducerStateManager:
        """Producer state where a segment begins."""
        producers = ProducerStateManager(str(self._topic_partition))
        base_offset = self._segments[number].base_offset
        earlier = self._segments[:number]
        if earlier:
            snapshots = SnapshotFiles(self._env.fs, self._directory, self._env.fs.list(self._directory))
            rebuild_producers(
                producers, snapshots, Segments(earlier), self._log_start_offset, base_offset, self._now_ms,
                self._env.producer_expiration_ms, keep_snapshots=True,
            )  # fmt: skip
        return producers

    def _drop(self, segments: list[Segment]) -> None:
        offsets = [segment.base_offset for segment in segments]
        stale = [offset for offset in self._snapshots.offsets() if offsets and offset >= offsets[0]]
        paths = [self._snapshots.path(offset) for offset in stale]
        self._snapshots.forget(stale)
        delete_segments(self._env, segments, paths, self._config.file_delete_delay_ms)
