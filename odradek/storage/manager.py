"""All logs of a node: loading, creating, deleting, checkpoints and the timers behind them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from odradek.ports import Clock, Executor, FileSystem, Promise, Random, Scheduler
from odradek.storage.checkpoints import CorruptFileError, write_clean_shutdown
from odradek.storage.cleaner.runner import CleaningRunner
from odradek.storage.directory_checkpoints import CheckpointedOffsets, CheckpointWriter, DirectoryCheckpoints
from odradek.storage.directory_choice import DirectoryChoice
from odradek.storage.directory_loader import begin_directory, load_logs
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import is_marked_for_deletion, stray_dir_name
from odradek.storage.file_pool import FilePool
from odradek.storage.future_logs import AssignedDir, FutureLogs
from odradek.storage.log import Log
from odradek.storage.log_cleaner import LogCleaner
from odradek.storage.log_config import LogConfig
from odradek.storage.log_creation import LogCreation, WantedLog
from odradek.storage.log_removal import LogRemoval
from odradek.storage.manager_settings import LogManagerSettings
from odradek.storage.repeating_timers import RepeatingTimers
from odradek.storage.retention_check import RetentionCheck
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)

UNKNOWN_BROKER_EPOCH = -1
CLOSING_AT_ONCE = 16
"""How many logs a stop has the executor sync at a time."""

StrayTest = Callable[[TopicPartition, bytes | None], bool]
"""Whether the cluster's metadata does not want a log with this topic id (None where its directory has none)."""


class LogDirInfo(NamedTuple):
    """One of `log.dirs`, for DescribeLogDirs. Bytes are -1 where the platform does not tell."""

    path: str
    is_online: bool
    total_bytes: int
    usable_bytes: int
    logs: tuple[Log, ...]


class LogManager:
    """The logs in `log.dirs`. A directory whose disk fails goes offline, with its logs; the others go on (KIP-112)."""

    def __init__(
        self, fs: FileSystem, clock: Clock, scheduler: Scheduler, executor: Executor, random: Random,
        log_dirs: Sequence[str], settings: LogManagerSettings | None = None,
        new_cleaning_runner: Callable[[], CleaningRunner] | None = None,
    ) -> None:  # fmt: skip
        """`new_cleaning_runner` makes what compaction runs on: by default the thread of the state machines."""
        self.settings = settings if settings is not None else LogManagerSettings()
        pool = FilePool(fs, self.settings.max_open_files)
        self.environment = LogEnvironment(
            pool, clock, scheduler, executor, random, self._dir_failed, self.settings.producer_expiration_ms,
            self._start_moved,
        )  # fmt: skip
        self.log_starts = 0
        """How often any log began to start at another offset."""
        self._checkpointed_starts = 0
        """What that was when log start offsets were written last."""
        self.previous_broker_epoch = UNKNOWN_BROKER_EPOCH
        """The epoch of the clean stop before this start, -1 after any other."""
        self.on_dir_failure: Callable[[str], None] | None = None
        """Called once with each directory that goes offline, after it did."""
        self.is_closed = False
        """Its logs were closed for good."""
        self._is_loaded = False
        self._fs = fs
        self._log_dirs = [path.rstrip("/") or "/" for path in log_dirs]
        self._offline: dict[str, Exception] = {}
        self._logs: dict[TopicPartition, Log] = {}
        self._timers = RepeatingTimers(scheduler)
        self._checkpoints = DirectoryCheckpoints(fs)
        self.choice = DirectoryChoice(self.settings.cordoned_log_dirs)
        self._removal = LogRemoval(self.environment, lambda: self.settings.file_delete_delay_ms)
        self._creation = LogCreation(self, self.environment, self.choice, self._removal)
        self.future = FutureLogs(self)
        self.cleaner = LogCleaner(
            self.environment, self, self.settings.cleaner, new_cleaning_runner or self._sliced_runner
        )
        self._retention = RetentionCheck(self, self.environment)

    def load(
        self, config_of: Callable[[str], LogConfig], is_stray: StrayTest = lambda _name, _id: False,
        assigned_dir: AssignedDir = lambda _name: None,
    ) -> None:  # fmt: skip
        """Open every log, recover what needs it, and start the timers.

        A log for which `is_stray` holds is set aside, under a name that ends in `-stray`. Moves between directories
        that the controller has noted are finished. A directory that cannot be read goes offline; raises KafkaError
        KAFKA_STORAGE_ERROR if none is left, or if two have the same partition.
        """
        epochs = []
        for log_dir in self._log_dirs:
            if log_dir in self._offline:
                continue
            try:
                epochs.append(self._load_dir(log_dir, config_of, is_stray, assigned_dir))
            except (OSError, CorruptFileError) as error:
                self._dir_failed(log_dir, error)
        if len(self._offline) == len(self._log_dirs):
            reasons = "; ".join(f"{log_dir}: {error}" for log_dir, error in self._offline.items())
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"no log directory can be used ({reasons})")
        if not self._offline and all(epoch == epochs[0] for epoch in epochs) and epochs[0] is not None:
            self.previous_broker_epoch = epochs[0]
        self.future.finish(assigned_dir)
        self._is_loaded = True
        self._start_timers()
        self.cleaner.start()

    def fail_dir(self, log_dir: str, error: Exception) -> None:
        """Take a directory offline: `error` was met in it."""
        self._dir_failed(log_dir.rstrip("/") or "/", error)

    def offline_dirs(self) -> Mapping[str, Exception]:
        """The directories that are offline, each with what was met in it."""
        return self._offline

    def has_dir(self, log_dir: str) -> bool:
        """Whether this is one of `log.dirs`, online or not."""
        return log_dir in self._log_dirs

    def is_offline(self, log_dir: str) -> bool:
        """Whether this entry of `log.dirs` is offline."""
        return (log_dir.rstrip("/") or "/") in self._offline

    def log(self, topic_partition: TopicPartition) -> Log | None:
        """The partition's log, also while its directory is offline; None if there is none."""
        return self._logs.get(topic_partition)

    def logs(self) -> Iterable[Log]:
        """All logs."""
        return list(self._logs.values())

    def online_logs(self) -> list[Log]:
        """All logs whose directories are online."""
        return [log for log in self._logs.values() if not log.is_offline]

    def log_counts(self) -> dict[str, int]:
        """How many logs each online directory has."""
        counts = {log_dir: 0 for log_dir in self._log_dirs if log_dir not in self._offline}
        if len(counts) > 1:
            for log in (*self._logs.values(), *self.future.all()):
                if log.log_dir in counts:
                    counts[log.log_dir] += 1
        return counts

    def is_moving(self, topic_partition: TopicPartition) -> bool:
        """Whether the log is being copied to another directory."""
        return self.future.get(topic_partition) is not None

    def create_log(
        self, topic_partition: TopicPartition, topic_id: bytes | None, config: LogConfig, assigned: str | None = None
    ) -> Log:
        """The partition's log, made if there is none.

        It goes where it was asked for, into the directory that the controller has `assigned`, or into the online one
        with the fewest logs. Raises KafkaError KAFKA_STORAGE_ERROR; INCONSISTENT_TOPIC_ID if there is one of another
        topic of that name.
        """
        return self._creation.create(topic_partition, topic_id, config, assigned)

    def make_files_later(self, wanted: Sequence[WantedLog]) -> Promise[None]:
        """Have the executor make the files of logs that are not there; settles when `create_log` may take them over.

        What is not taken over then is to be dropped.
        """
        return self._creation.make_later(wanted)

    def drop_files(self, topic_partitions: Iterable[TopicPartition]) -> None:
        """Nobody needs what `make_files_later` has made for these, unless it was taken over."""
        self._creation.drop(topic_partitions)

    def begin_log(self, directory: str, name: TopicPartition, topic_id: bytes | None, config: LogConfig) -> Log:
        """An empty log in a new directory, which is nobody's yet. Raises KafkaError KAFKA_STORAGE_ERROR."""
        return self._creation.begin(directory, name, topic_id, config)

    def adopt(self, log: Log) -> None:
        """From now on this is the partition's log; it is as clean as the one before."""
        before = self._logs.get(log.topic_partition)
        if before is not None and before.cleaned_offset is not None:
            log.cleaned_offset = min(before.cleaned_offset, log.log_end_offset)
        self._logs[log.topic_partition] = log

    def delete_logs(self, topic_partitions: Iterable[TopicPartition]) -> None:
        """Forget these logs at once; their files are renamed, and removed after the delay. Unknown ones are left out.

        All are forgotten, whatever happens; raises KafkaError KAFKA_STORAGE_ERROR if files could not be renamed.
        """
        doomed: list[Log] = []
        for topic_partition in topic_partitions:
            found = (self._logs.pop(topic_partition, None), self.future.pop(topic_partition))
            doomed.extend(log for log in found if log is not None)
        self.discard(doomed)

    def discard(self, logs: Iterable[Log], once: Promise[None] | None = None) -> None:
        """Rename the directories of logs that nobody has any more, and remove them after the delay.

        If `once` is given, the delay begins when that has succeeded. All are renamed, whatever happens; raises
        KafkaError KAFKA_STORAGE_ERROR if one could not be. As in Kafka, starts of other logs that have moved are in
        their checkpoint then; else checkpoints speak of them until a log of the same name begins.
        """
        failure: KafkaError | None = None
        for log in logs:
            self.cleaner.abort(log)
            log.release()
            if log.log_dir in self._offline:
                continue
            try:
                log.move(self._removal.mark(log.topic_partition, log.directory))
            except KafkaError as error:
                failure = error
                continue
            if once is None:
                self._removal.remove_later(log.directory)
            else:
                self._removal.remove_after(once, log.directory)
        if self.log_starts != self._checkpointed_starts:
            self.checkpoint_log_starts()
        if failure is not None:
            raise failure

    def delete_log(self, topic_partition: TopicPartition) -> None:
        """`delete_logs` for one."""
        self.delete_logs([topic_partition])

    def forget_offsets(self, log_dir: str, topic_partition: TopicPartition) -> None:
        """A log of this name is about to begin in a directory, whose checkpoints must not speak of the one before.

        Else a start after a crash might take it for synced up to the old one's end.
        """
        if self._checkpoints.may_mention(log_dir, topic_partition):
            self.checkpoint(log_dir)

    def truncate_to(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Truncate these logs, after lowering their checkpoints on the disk.

        Without that, a start after a crash might trust what was left half done, or was written since. Raises KafkaError
        KAFKA_STORAGE_ERROR.
        """
        logs = [(log, offset) for name, offset in offsets.items() if (log := self._logs.get(name)) is not None]
        self.lower_recovery_points(logs)
        for log, offset in logs:
            log.truncate_to(offset)
            self.future.truncate_to(log.topic_partition, offset)

    def truncate_fully_and_start_at(self, topic_partition: TopicPartition, offset: int) -> None:
        """Empty a log, which goes on at `offset`. Raises KafkaError KAFKA_STORAGE_ERROR."""
        log = self._logs.get(topic_partition)
        if log is not None:
            self.lower_recovery_points([(log, log.log_start_offset)])
            log.truncate_fully_and_start_at(offset)
            self.future.truncate_fully_and_start_at(topic_partition, offset)

    def lower_recovery_points(self, offsets: Iterable[tuple[Log, int]]) -> None:
        """Let a start after a crash check these logs from the segments on that hold these offsets.

        What is cleaned of them ends there, too.
        """
        touched: dict[str, None] = {}
        for log, offset in offsets:
            self.cleaner.abort(log)
            if offset < (log.cleaned_offset or 0):
                log.cleaned_offset = offset
                touched[log.log_dir] = None
            if offset < log.recovery_point:
                log.recovery_point = log.segments.from_offset(offset)[0].base_offset
                touched[log.log_dir] = None
        for log_dir in touched:
            self._write_to(log_dir, self._checkpoints.write_recovery_points)
            self.checkpoint_cleaned(log_dir)

    def log_dirs(self) -> list[LogDirInfo]:
        """All of `log.dirs`, in their order."""
        infos = []
        for log_dir in self._log_dirs:
            total, usable = self._volume(log_dir)
            is_online = log_dir not in self._offline
            infos.append(LogDirInfo(log_dir, is_online, total, usable, tuple(self._logs_in(log_dir))))
        return infos

    def enforce_retention(self) -> int:
        """Delete the segments that have had their time; how many. Those of compacted logs are for the cleaner."""
        return self._retention.check_all()

    def begin_retention(self) -> None:
        """`enforce_retention` as its timer does it: a slice in each turn."""
        self._retention.begin()

    def flush_dirty_logs(self) -> None:
        """Sync, in the background, the logs that have waited for `flush.ms`."""
        now_ms = self.environment.clock.now_ms()
        for log in (*self.online_logs(), *self.future.all()):
            if log.recovery_point < log.log_end_offset and now_ms - log.last_flush_ms >= log.config.flush_ms:
                log.flush_later()

    def checkpoint(self, log_dir: str) -> None:
        """Write all checkpoints of a directory."""
        checkpoints = self._checkpoints
        self._write_to(log_dir, checkpoints.write_recovery_points)
        self._write_to(log_dir, checkpoints.write_log_starts)
        self._write_to(log_dir, checkpoints.write_high_watermarks)
        self._write_to(log_dir, checkpoints.write_cleaned)

    def checkpoint_cleaned(self, log_dir: str) -> None:
        """Write up to where the logs of a directory have been compacted."""
        self._write_to(log_dir, self._checkpoints.write_cleaned)

    def checkpoint_recovery_points(self) -> None:
        """Write the recovery points of all directories."""
        self._on_each_dir(self._checkpoints.write_recovery_points)

    def checkpoint_log_starts(self) -> None:
        """Write the log start offsets of all directories."""
        self._checkpointed_starts = self.log_starts
        self._on_each_dir(self._checkpoints.write_log_starts)

    def checkpoint_high_watermarks(self) -> None:
        """Write the high watermarks of all directories."""
        self._on_each_dir(self._checkpoints.write_high_watermarks)

    def begin_high_watermark_checkpoint(self) -> None:
        """`checkpoint_high_watermarks` as its timer does it: in the background."""
        for log_dir in self._log_dirs:
            if log_dir not in self._offline:
                self._checkpoints.write_high_watermarks_later(
                    log_dir, self._logs_in(log_dir), self.environment.executor, partial(self._dir_failed, log_dir)
                )

    def expire_producers(self) -> None:
        """Forget producers that have not written for long."""
        now_ms = self.environment.clock.now_ms()
        for log in (*self._logs.values(), *self.future.all()):
            log.producers.expire(now_ms, self.settings.producer_expiration_ms)

    def update_settings(self, settings: LogManagerSettings) -> None:
        """Settings that apply from now on; the intervals and the limit of open files stay as they are."""
        self.settings = self.settings._replace(
            producer_expiration_ms=settings.producer_expiration_ms, file_delete_delay_ms=settings.file_delete_delay_ms
        )
        self.choice.cordoned = settings.cordoned_log_dirs
        self.cleaner.update_settings(settings.cleaner)

    def close_later(self) -> Promise[None]:
        """Sync in the background, several logs at a time, what `shutdown` would sync one by one. Does not fail."""
        self.cleaner.close()
        done: Promise[None] = Promise()
        waiting = iter((*self.online_logs(), *self.future.all()))
        running = 0

        def proceed() -> None:
            nonlocal running
            for log in waiting:
                if log.is_offline or not log.needs_flush:
                    continue
                running += 1
                log.close_later().on_done(ended)
                if running >= CLOSING_AT_ONCE:
                    return
            if running == 0 and not done.done:
                done.resolve(None)

        def ended(_outcome: Promise[None]) -> None:
            nonlocal running
            running -= 1
            proceed()

        proceed()
        return done

    def shutdown(self, broker_epoch: int = UNKNOWN_BROKER_EPOCH) -> None:
        """Sync and close all logs, and leave the marker of a clean stop where that worked. Does not raise.

        Before they are loaded nothing is written: their checkpoints and the marker say what the stop before left.
        """
        self.is_closed = True
        self._removal.close()
        if not self._is_loaded:
            return
        self._timers.cancel()
        self.cleaner.close()
        for log in (*self.online_logs(), *self.future.all()):
            try:
                log.close()
            except KafkaError as error:
                _log.error("%s is not stopped cleanly: %s", log.topic_partition, error)
        for log_dir in self._log_dirs:
            if log_dir not in self._offline:
                self.checkpoint(log_dir)
            if log_dir not in self._offline:
                self._guard(log_dir, partial(write_clean_shutdown, self._fs, log_dir, broker_epoch))

    def _load_dir(
        self, log_dir: str, config_of: Callable[[str], LogConfig], is_stray: StrayTest, assigned_dir: AssignedDir
    ) -> int | None:
        """Open the logs of one directory; the broker epoch of the clean stop before, None after another."""
        broker_epoch = begin_directory(self._fs, log_dir)
        for dir_name in self._fs.list(log_dir):
            if is_marked_for_deletion(dir_name):
                self._removal.remove_later(f"{log_dir}/{dir_name}")
        offsets = self._checkpoints.read_all(log_dir)
        for found in load_logs(self.environment, log_dir, offsets, config_of, is_clean=broker_epoch is not None):
            log = found.log
            name = log.topic_partition
            other = self._logs.get(name)
            if is_stray(name, log.topic_id):
                self.set_aside(log)
            elif found.is_future:
                self.future.found(log, assigned_dir(name))
            elif other is None:
                self.adopt(log)
            else:
                self.adopt(self.future.choose(log, other, assigned_dir(name)))
                self.checkpoint(other.log_dir)
        self._distrust(log_dir, offsets)
        return broker_epoch

    def _distrust(self, log_dir: str, offsets: CheckpointedOffsets) -> None:
        """Write checkpoints anew that have a log which is not there, or a recovery point behind a log's end.

        They must say nothing about a log that is created by the name, nor about what is written there from now on.
        """
        points = {log.topic_partition: log.recovery_point for log in self._logs_in(log_dir)}
        is_behind = any(offset > points.get(name, 0) for name, offset in offsets.recovery_points.items())
        if is_behind or any(name not in points for each in offsets for name in each):
            self.checkpoint(log_dir)

    def set_aside(self, log: Log) -> None:
        """Keep what the metadata does not know from being served; nobody but the user deletes it. Raises OSError."""
        log.release()
        target = f"{log.log_dir}/{stray_dir_name(log.topic_partition, self.environment.random.token(16))}"
        self._fs.rename(log.directory, target)
        _log.warning("%s is not what the metadata has, and is %s now", log.directory, target)

    def _volume(self, log_dir: str) -> tuple[int, int]:
        if log_dir not in self._offline:
            try:
                return self._fs.usable_bytes(log_dir)
            except OSError as error:
                self._dir_failed(log_dir, error)
        return -1, -1

    def _logs_in(self, log_dir: str) -> list[Log]:
        return [*(log for log in self._logs.values() if log.log_dir == log_dir), *self.future.in_dir(log_dir)]

    def _sliced_runner(self) -> CleaningRunner:
        from odradek.storage.cleaner.sliced_runner import SlicedRunner  # a node with files never needs it

        return SlicedRunner(self._fs, self.environment.clock, self.environment.scheduler)

    def _on_each_dir(self, write: CheckpointWriter) -> None:
        for log_dir in self._log_dirs:
            self._write_to(log_dir, write)

    def _write_to(self, log_dir: str, write: CheckpointWriter) -> None:
        if log_dir not in self._offline:
            self._guard(log_dir, partial(write, log_dir, self._logs_in(log_dir)))

    def _guard(self, log_dir: str, work: Callable[[], None]) -> None:
        """Do something to a directory, which goes offline if it fails."""
        try:
            work()
        except OSError as error:
            self._dir_failed(log_dir, error)

    def _start_moved(self) -> None:
        self.log_starts += 1

    def _dir_failed(self, log_dir: str, error: Exception) -> None:
        if log_dir in self._offline:
            return
        _log.error("log directory %s is offline: %s", log_dir, error)
        self._offline[log_dir] = error
        for log in self._logs_in(log_dir):
            log.is_offline = True
        self.future.dir_failed(log_dir)
        self.cleaner.abort_in(log_dir)
        if self.on_dir_failure is not None:
            self.on_dir_failure(log_dir)

    def _start_timers(self) -> None:
        settings = self.settings
        initial_ms = settings.initial_delay_ms
        repeat = self._timers.repeat
        repeat(initial_ms, settings.retention_check_interval_ms, self.begin_retention)
        repeat(initial_ms, settings.flush_check_interval_ms, self.flush_dirty_logs)
        repeat(initial_ms, settings.recovery_point_interval_ms, self.checkpoint_recovery_points)
        repeat(initial_ms, settings.log_start_interval_ms, self.checkpoint_log_starts)
        interval_ms = settings.high_watermark_interval_ms
        repeat(interval_ms, interval_ms, self.begin_high_watermark_checkpoint)
        interval_ms = settings.producer_expiration_check_ms
        repeat(interval_ms, interval_ms, self.expire_producers)
