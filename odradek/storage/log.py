"""One partition's log: truncate, roll and flush (with `LogAppends` and `LogReads` Kafka's UnifiedLog)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from odradek.ports import Promise
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA
from odradek.storage.leader_epochs import LeaderEpochCache
from odradek.storage.log_appends import LogAppends
from odradek.storage.log_config import LogConfig
from odradek.storage.log_files import delete_segments, sync_files
from odradek.storage.producer_snapshot import SnapshotFiles
from odradek.storage.producers import ProducerStateManager
from odradek.storage.recovery import rebuild_producers
from odradek.storage.segment import Segment
from odradek.storage.segment_swap import swap_in
from odradek.storage.segments import Segments
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from odradek.storage.cleaner.plan import CleanedSegment


class Log(LogAppends):
    """Batches of one partition, with offsets from `log_start_offset` up to `log_end_offset` (exclusive).

    All methods belong to the thread of the state machines. What meets a failing disk raises KafkaError
    KAFKA_STORAGE_ERROR after telling the environment; damaged batches that a read meets are CORRUPT_MESSAGE.
    """

    def __init__(
        self, env: LogEnvironment, directory: str, topic_partition: TopicPartition, topic_id: bytes | None,
        config: LogConfig, segments: Segments, epochs: LeaderEpochCache, snapshots: SnapshotFiles,
        producers: ProducerStateManager, *, log_start_offset: int, log_end_offset: int, recovery_point: int,
        high_watermark: int, cleaned_offset: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            env, directory, topic_partition, config, segments, epochs, producers, log_start_offset, log_end_offset,
            recovery_point,
        )  # fmt: skip
        self.topic_id = topic_id
        """16 bytes; None where the directory does not say."""
        self.cleaned_offset = cleaned_offset
        """Up to where it has been compacted; None before the first time."""
        self.has_unsynced_index = False
        """An index was written, or made anew, since the last sync, though no records may have come since."""
        self._snapshots = snapshots
        self._is_settled = recovery_point > 0
        """Its directory's name and its topic id are synced, as the first flush does."""
        self._truncations = 0
        is_sealed = recovery_point == log_end_offset and log_end_offset in (log_start_offset, *snapshots.offsets()[-1:])
        self._sealed_at = (0, log_end_offset) if is_sealed else None
        """Up to which truncation and offset indexes and producer snapshot are in their files."""
        self._last_flush_ms = env.clock.now_ms()
        segments.active.roll_jitter_ms = self._roll_jitter_ms()
        self.update_high_watermark(high_watermark)

    @property
    def needs_flush(self) -> bool:
        """Whether something has been written since it was last synced."""
        return self.recovery_point < self.log_end_offset or self.has_unsynced_index

    @property
    def truncations(self) -> int:
        """Changes whenever what was read before may not be in the log any more."""
        return self._truncations

    @property
    def last_flush_ms(self) -> int:
        """When it was last synced, for `flush.ms`."""
        return self._last_flush_ms

    def update_config(self, config: LogConfig) -> None:
        """Settings that apply from now on."""
        self.config = config

    def update_high_watermark(self, offset: int) -> int:
        """Set the high watermark, within the log's offsets; returns what it is now."""
        high_watermark = min(max(offset, self.log_start_offset), self.log_end_offset)
        if high_watermark != self.high_watermark:
            self.high_watermark = high_watermark
            self.producers.on_high_watermark(high_watermark)
        return high_watermark

    def truncate_to(self, offset: int) -> bool:
        """Cut off `offset` and all behind it; False if the log ends before it anyway. Raises KafkaError.

        Whoever keeps the recovery point on the disk lowers it there first: a power cut may leave half of the work.
        """
        if self.is_offline:
            raise self._offline()
        with self._disk():
            if offset >= self.log_end_offset:
                self.leader_epochs.truncate_from_end(offset)
                return False
            if offset < self.segments.first.base_offset:
                self.truncate_fully_and_start_at(offset)
                return True
            self._truncations += 1
            removed = self.segments.remove_from(offset + 1)
            delete_segments(self._env, removed, (), self.config.file_delete_delay_ms)
            end_offset = self.segments.active.truncate_to(offset, self._env.clock.now_ms())
            if end_offset < min(offset, self.log_start_offset):
                # Only what is before the log's start is left. With a gap behind it, it would look damaged.
                self.truncate_fully_and_start_at(min(offset, self.log_start_offset))
                return True
            self._cut_to(end_offset)
            sync_files(self._env.fs, self.segments.active.paths[1:], [self.directory])
            return True

    def truncate_fully_and_start_at(self, offset: int, log_start_offset: int | None = None) -> None:
        """Drop everything; the log is empty and begins at `offset`. Raises KafkaError."""
        if self.is_offline:
            raise self._offline()
        with self._disk():
            self._truncations += 1
            delete_segments(
                self._env, list(self.segments),
                [self._snapshots.path(snapshot) for snapshot in self._snapshots.take_all()],
                self.config.file_delete_delay_ms,
            )  # fmt: skip
            self.segments = Segments([self._new_segment(offset)])
            self.leader_epochs.clear()
            self.producers.clear()
            self.log_end_offset = offset
            self.log_start_offset = offset if log_start_offset is None else log_start_offset
            self._env.on_start_moved()
            self._lower_checkpoints(offset)
            self.update_high_watermark(self.high_watermark)
            self._env.fs.sync_dir(self.directory)

    def delete_records_before(self, offset: int) -> int:
        """Move the log start offset up to `offset`, at most to the high watermark (-1: there); returns it.

        Raises KafkaError OFFSET_OUT_OF_RANGE for one beyond the high watermark.
        """
        target = self.high_watermark if offset == -1 else offset
        if target < 0 or target > self.high_watermark:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"{self.topic_partition} is replicated up to {self.high_watermark}, so {offset} cannot be its start",
            )
        self.advance_log_start_offset(target)
        return self.log_start_offset

    def advance_log_start_offset(self, offset: int) -> bool:
        """Forget what is before `offset`; False if it begins there or behind already. Segments go by retention."""
        if offset <= self.log_start_offset:
            return False
        self.log_start_offset = offset
        self._env.on_start_moved()
        self.leader_epochs.truncate_from_start(offset)
        self.update_high_watermark(max(self.high_watermark, offset))
        return True

    def delete_oldest_segments(self, count: int) -> None:
        """Delete the oldest `count` segments; the log starts behind them. If these are all, a new one is begun."""
        with self._disk():
            if count == len(self.segments):
                self.roll()
            removed = self.segments.remove_first(count)
            stale = [offset for offset in self._snapshots.offsets() if offset < self.segments.first.base_offset]
            paths = [self._snapshots.path(offset) for offset in stale]
            self._snapshots.forget(stale)
            delete_segments(self._env, removed, paths, self.config.file_delete_delay_ms)
        self.advance_log_start_offset(self.segments.first.base_offset)

    def replace_segments(self, cleaned: CleanedSegment) -> Promise[None]:
        """Swap in a segment that a cleaning made of others, which are closed and still there.

        The promise settles when a power cut does not undo it any more. Both raise KafkaError KAFKA_STORAGE_ERROR.
        """
        old = [segment for segment in self.segments if segment.base_offset in cleaned.replaced]
        new = Segment(self._env.pool, self.directory, old[0].base_offset, cleaned.size, created_ms=old[-1].created_ms)
        new.remember_max_timestamp(cleaned.max_timestamp_ms, cleaned.offset_of_max_timestamp)
        merged = frozenset(cleaned.replaced[1:])
        stale = [offset for offset in self._snapshots.offsets() if offset in merged]
        paths = [self._snapshots.path(offset) for offset in stale]
        self._snapshots.forget(stale)
        with self._disk():
            swap_in(self._env, self.directory, old, paths, self.config.file_delete_delay_ms)
        self.segments.replace(old, new)
        directory = self.directory
        settled: Promise[None] = Promise()

        def done(result: Promise[None]) -> None:
            if isinstance(result.error, OSError):
                settled.reject(self._failed(result.error))
            else:
                settled.follow(result)

        self._env.executor.submit(lambda: sync_files(self._env.fs, (), (directory,))).on_done(done)
        return settled

    def roll(self, base_offset: int = 0) -> None:
        """Begin a new active segment at the log end offset, or at `base_offset` if that is behind it.

        The old one is synced in the background. Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        with self._disk():
            active = self.segments.active
            begin = max(self.log_end_offset, base_offset)
            if active.base_offset == begin and active.size == 0:
                return
            self.has_unsynced_index |= active.seal()
            self._take_snapshot(begin)
            self.segments.add(self._new_segment(begin))
        self.flush_later()

    def skip_to(self, offset: int) -> None:
        """Go on at `offset`, behind the log's end: compaction has left nothing in between. Raises KafkaError."""
        self.roll(offset)
        self.log_end_offset = offset

    def flush(self) -> None:
        """Return once all that was appended is on the disk. Raises KafkaError KAFKA_STORAGE_ERROR."""
        end = self.log_end_offset
        if self.needs_flush:
            with self._disk():
                paths, directories, flushed = self._unsynced()
                sync_files(self._env.fs, paths, directories)
                self._synced(end, flushed)

    def flush_later(self) -> Promise[None]:
        """Sync in the background what has been appended by now. The promise fails with KafkaError."""
        end = self.log_end_offset
        truncations = self._truncations
        settled: Promise[None] = Promise()
        try:
            with self._disk():
                paths, directories, flushed = self._unsynced()
        except KafkaError as error:
            settled.reject(error)
            return settled

        def done(result: Promise[None]) -> None:
            if result.error is not None:
                settled.reject(self._failed(result.error) if isinstance(result.error, OSError) else result.error)
                return
            if truncations == self._truncations:
                self._synced(end, flushed)
            settled.resolve(None)

        self._env.executor.submit(lambda: sync_files(self._env.fs, paths, directories)).on_done(done)
        return settled

    def close_later(self) -> Promise[None]:
        """Do in the background what takes long about `close`, which does it again if appends come between.

        The promise fails with KafkaError.
        """
        try:
            with self._disk():
                self._seal()
        except KafkaError as error:
            return Promise.failed(error)
        return self.flush_later()

    def close(self) -> None:
        """Write indexes and a producer snapshot, and sync everything: after this a start needs no recovery."""
        with self._disk():
            if self._sealed_at != (self._truncations, self.log_end_offset):
                self._seal()
            self.flush()
            self.leader_epochs.save(self.log_end_offset)
        self.release()

    def release(self) -> None:
        """Close the descriptors without writing; ranges that are held stay readable."""
        for segment in self.segments:
            segment.close()

    def move(self, directory: str) -> None:
        """The directory was renamed. A sync that is under way by the old name does not count."""
        self.directory = directory
        self._truncations += 1
        self._is_settled = False
        for segment in self.segments:
            segment.move(directory)
        self._snapshots.move(directory)
        self.leader_epochs.move(f"{directory}/{LEADER_EPOCH_CHECKPOINT}")

    def _cut_to(self, offset: int) -> None:
        """What else truncation to `offset` changes; the segments are cut already."""
        self.log_end_offset = offset
        self.log_start_offset = min(self.log_start_offset, offset)
        self._lower_checkpoints(offset)
        self.leader_epochs.truncate_from_end(offset)
        rebuild_producers(
            self.producers, self._snapshots, self.segments, self.log_start_offset, offset,
            self._env.clock.now_ms(), self._env.producer_expiration_ms,
        )  # fmt: skip
        self.update_high_watermark(self.high_watermark)

    def _lower_checkpoints(self, offset: int) -> None:
        self.recovery_point = min(self.recovery_point, offset)
        if self.cleaned_offset is not None:
            self.cleaned_offset = min(self.cleaned_offset, offset)

    def _seal(self) -> None:
        self.has_unsynced_index |= self.segments.active.seal()
        self._take_snapshot(self.log_end_offset)
        self._sealed_at = (self._truncations, self.log_end_offset)

    def _take_snapshot(self, offset: int) -> None:
        if self.log_end_offset > self.log_start_offset:
            self._snapshots.write(offset, self.producers.active_producers())

    def _new_segment(self, base_offset: int) -> Segment:
        return Segment.create(
            self._env.pool, self.directory, base_offset, now_ms=self._env.clock.now_ms(),
            roll_jitter_ms=self._roll_jitter_ms(),
        )  # fmt: skip

    def _roll_jitter_ms(self) -> int:
        jitter_ms = min(self.config.segment_jitter_ms, self.config.segment_ms)
        return self._env.random.below(jitter_ms) if jitter_ms > 0 else 0

    def _unsynced(self) -> tuple[list[str], list[str], list[tuple[Segment, int]]]:
        """The files that the recovery point does not cover, and the directories that have new names."""
        self.leader_epochs.save(self.log_end_offset)
        # With the one that the recovery point ends, whose index may have got its last entry since.
        segments = self.segments.from_offset(max(self.recovery_point - 1, 0))
        directories = []
        paths: list[str] = []
        if not self._is_settled:
            paths.append(f"{self.directory}/{PARTITION_METADATA}")
            directories = [self.directory, self.log_dir]
        elif any(segment.has_new_names for segment in segments):
            directories = [self.directory]
        for segment in segments:
            segment.write_out()
            paths.extend(segment.paths)
        paths.extend(
            self._snapshots.path(offset) for offset in self._snapshots.offsets() if offset >= self.recovery_point
        )
        return paths, directories, [(segment, segment.txn_index.creations) for segment in segments]

    def _synced(self, end_offset: int, segments: Sequence[tuple[Segment, int]]) -> None:
        self.recovery_point = max(self.recovery_point, end_offset)
        self._last_flush_ms = self._env.clock.now_ms()
        self._is_settled = True
        self.has_unsynced_index = False
        for segment, creations in segments:
            segment.is_new = False
            segment.txn_index.synced_creations = max(creations, segment.txn_index.synced_creations)
