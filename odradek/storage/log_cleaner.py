"""Compaction of a node's logs: which is cleaned when, on how many runners, and what becomes of the results."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Protocol

from odradek.ports import Promise, Recurring, Slices, TimerHandle, Turns, spawn
from odradek.ports.jobs import JobCancelledError, JobLostError
from odradek.storage.cleaner.plan import CleanedSegment, CleanerLimits, CleaningResult
from odradek.storage.cleaner.runner import CleaningRunner
from odradek.storage.cleaner.selection import LogToClean, dirtiest, look_at, plan_for
from odradek.storage.environment import LogEnvironment
from odradek.storage.log import Log
from odradek.storage.retention import delete_old_segments
from odradek.storage.segment_swap import remove_cleaned
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import KafkaError

_log = logging.getLogger(__name__)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
MAX_ATTEMPTS = 3
"""How often the cleaning of a log may be lost, with its process or for want of space, before it is let be."""
MIN_BUFFER_BYTES = 64 * 1024
FIRST_LOOK_MS = 1_000


class CleanerSettings(NamedTuple):
    """The broker's settings, by Kafka's names `log.cleaner.*`."""

    is_enabled: bool = True
    threads: int = 1
    """How many logs are cleaned at a time."""
    dedupe_buffer_bytes: int = 128 * 1024 * 1024
    """For all threads together, as are the next two."""
    io_buffer_bytes: int = 512 * 1024
    max_bytes_per_second: float = float(2**63)
    load_factor: float = 0.9
    backoff_ms: int = 15_000

    def limits(self) -> CleanerLimits:
        """What one cleaning may take. The buffer is for reading and for writing, a half each."""
        return CleanerLimits(
            min(self.dedupe_buffer_bytes // self.threads, 2**31 - 1),
            self.load_factor,
            max(self.io_buffer_bytes // self.threads // 2, MIN_BUFFER_BYTES),
            self.max_bytes_per_second / self.threads,
        )


class CleanedLogs(Protocol):
    """What the cleaner asks of the log manager."""

    def online_logs(self) -> Iterable[Log]:
        """All logs whose directories are online."""
        ...

    def log(self, topic_partition: TopicPartition) -> Log | None:
        """The partition's log, None if there is none."""
        ...

    def is_moving(self, topic_partition: TopicPartition) -> bool:
        """Whether the log is being copied to another directory, so that its segments have to stay as they are."""
        ...

    def checkpoint_cleaned(self, log_dir: str) -> None:
        """Write the cleaner's checkpoint of a directory."""
        ...


class LogCleaner:
    """Cleans compacted logs, the dirtiest first, and deletes of them what retention lets go.

    A log whose cleaning fails is left alone from then on, as in Kafka; the node and its other logs go on.
    """

    def __init__(
        self, env: LogEnvironment, logs: CleanedLogs, settings: CleanerSettings,
        new_runner: Callable[[], CleaningRunner],
    ) -> None:  # fmt: skip
        self.settings = settings
        self._env = env
        self._logs = logs
        self._new_runner = new_runner
        self._workers: list[_Worker] = []
        self._cleaned: dict[TopicPartition, _Worker] = {}
        """Who cleans which log."""
        self._failed: dict[TopicPartition, tuple[Log, int]] = {}
        """Logs whose cleaning failed, with the number of attempts that were lost; MAX_ATTEMPTS means never again."""

    def start(self) -> None:
        """Begin, once the logs are loaded."""
        if self.settings.is_enabled:
            self._set_workers(self.settings.threads)

    def update_settings(self, settings: CleanerSettings) -> None:
        """Settings that apply from the next cleaning on; whether there is a cleaner at all is for the next start."""
        self.settings = settings._replace(is_enabled=self.settings.is_enabled)
        if self._workers:
            self._set_workers(settings.threads)

    def close(self) -> None:
        """Give up what is going on, and end for good. Does not raise."""
        self._set_workers(0)

    def is_cleaning(self, topic_partition: TopicPartition) -> bool:
        """Whether this log is being cleaned now."""
        return topic_partition in self._cleaned

    def abort(self, log: Log) -> None:
        """Give up the cleaning of a log, if there is one: its segments are about to change, or to go."""
        worker = self._cleaned.get(log.topic_partition)
        if worker is not None and worker.log is log:
            worker.runner.cancel()

    def abort_in(self, log_dir: str) -> None:
        """`abort` for the logs of a directory that went offline."""
        for worker in list(self._cleaned.values()):
            if worker.log is not None and worker.log.log_dir == log_dir:
                worker.runner.cancel()

    def is_uncleanable(self, log: Log) -> bool:
        """Whether its cleaning failed, so that it is left alone."""
        found = self._failed.get(log.topic_partition)
        return found is not None and found[0] is log and found[1] >= MAX_ATTEMPTS

    def _set_workers(self, count: int) -> None:
        while len(self._workers) > count:
            self._workers.pop().stop()
        while len(self._workers) < count:
            worker = _Worker(self._new_runner())
            self._workers.append(worker)
            # Not at once: a start has better things to do.
            worker.timer = self._env.scheduler.call_later(
                min(self.settings.backoff_ms, FIRST_LOOK_MS), Recurring(partial(self._begin, worker))
            )

    def _begin(self, worker: _Worker) -> None:
        def ended(outcome: Promise[None]) -> None:
            if outcome.error is not None and not worker.is_stopped:
                _log.error("the cleaner stops for a while", exc_info=outcome.error)
                if worker.log is not None:
                    self._cleaned.pop(worker.log.topic_partition, None)
                    self._give_up(worker.log, outcome.error)
                    worker.log = None
                worker.timer = self._env.scheduler.call_later(self.settings.backoff_ms, partial(self._begin, worker))

        spawn(self._work(worker)).on_done(ended)

    async def _work(self, worker: _Worker) -> None:
        """Clean one log after the other, with a pause where there is none to be cleaned."""
        turns = Turns(self._env.clock, self._env.scheduler)
        while not worker.is_stopped:
            chosen = await self._choose(Slices(turns))
            if worker.is_stopped:
                return
            has_cleaned = chosen is not None and await self._clean(worker, chosen)
            worker.log = None
            await turns.next()  # whoever cancelled goes first
            await self._delete_old_segments(worker, Slices(turns))
            if not has_cleaned and not worker.is_stopped:
                await self._pause(worker)

    async def _choose(self, slices: Slices) -> LogToClean | None:
        candidates = []
        now_ms = self._env.clock.now_ms()
        async for log in slices.each(self._logs.online_logs()):
            if not log.config.is_compacted or not self._may_touch(log):
                continue
            if log.recovery_point < log.segments.active.base_offset:
                log.flush_later()  # nobody did since the start after a crash, or it is under way
            try:
                candidate = look_at(log, now_ms)
            except KafkaError as error:
                self._give_up(log, error)
                continue
            except OSError as error:
                self._env.on_failure(log.log_dir, error)
                continue
            if candidate is not None:
                candidates.append(candidate)
        return dirtiest(candidate for candidate in candidates if self._may_touch(candidate.log))

    async def _clean(self, worker: _Worker, chosen: LogToClean) -> bool:
        """Whether the log was cleaned."""
        log = chosen.log
        try:
            plan = plan_for(chosen, self._env.clock.now_ms(), self.settings.limits())
        except KafkaError as error:
            self._give_up(log, error)
            return False
        self._cleaned[log.topic_partition] = worker
        worker.log = log
        done = worker.runner.start(plan, lambda segment: self._swap(worker, log, segment))
        await _settled(done)
        del self._cleaned[log.topic_partition]
        self._tidy(log)
        if done.error is not None:
            self._failed_with(log, done.error)
            return False
        # Not before the names of the new segments are sure to stay.
        swaps, worker.swaps = worker.swaps, []
        await _settled(*swaps)
        if log.is_offline:
            return False
        self._done(log, chosen, done.result())
        return True

    def _failed_with(self, log: Log, error: BaseException) -> None:
        match error:
            case JobCancelledError():
                _log.debug("the cleaning of %s was given up, for its segments changed", log.topic_partition)
            case OSError() if error.errno not in _DISK_FULL:
                self._env.on_failure(log.log_dir, error)
            case JobLostError() | OSError():
                self._lose(log, error)
            case _:
                self._give_up(log, error)

    def _swap(self, worker: _Worker, log: Log, segment: CleanedSegment) -> None:
        """Take over a segment that is done, unless nobody wants it any more."""
        if not log.config.is_compacted or log.is_offline or self._logs.is_moving(log.topic_partition):
            worker.runner.cancel()
            return
        try:
            worker.swaps.append(log.replace_segments(segment))
        except KafkaError as error:
            _log.error("%s: %s", log.topic_partition, error)
            worker.runner.cancel()

    def _done(self, log: Log, chosen: LogToClean, result: CleaningResult) -> None:
        self._failed.pop(log.topic_partition, None)
        log.cleaned_offset = result.end_offset
        self._logs.checkpoint_cleaned(log.log_dir)
        if result.keyless:
            _log.warning("%s had %d records without a key, which are gone", log.topic_partition, result.keyless)
        _log.info(
            "cleaned %s from offset %d to %d: %d bytes were read, and %d are left",
            log.topic_partition, chosen.first_dirty_offset, result.end_offset, result.bytes_read, result.bytes_written,
        )  # fmt: skip

    async def _delete_old_segments(self, worker: _Worker, slices: Slices) -> None:
        async for log in slices.each(self._logs.online_logs()):
            if worker.is_stopped:
                return
            if log.config.is_compacted and self._may_touch(log):
                try:
                    delete_old_segments(log, self._env.clock.now_ms())
                except KafkaError as error:
                    _log.warning("%s: %s", log.topic_partition, error)

    def _may_touch(self, log: Log) -> bool:
        name = log.topic_partition
        is_free = not log.is_offline and name not in self._cleaned and not self.is_uncleanable(log)
        return is_free and self._logs.log(name) is log and not self._logs.is_moving(name)

    def _lose(self, log: Log, error: BaseException) -> None:
        """A cleaning came to nothing, for reasons that may pass."""
        found = self._failed.get(log.topic_partition)
        attempts = found[1] + 1 if found is not None and found[0] is log else 1
        if attempts >= MAX_ATTEMPTS:
            self._give_up(log, error)
            return
        _log.warning("the cleaning of %s is tried again later: %s", log.topic_partition, error)
        self._failed[log.topic_partition] = (log, attempts)

    def _give_up(self, log: Log, error: BaseException) -> None:
        _log.warning("%s is not cleaned any more: %s", log.topic_partition, error)
        self._failed[log.topic_partition] = (log, MAX_ATTEMPTS)

    def _tidy(self, log: Log) -> None:
        """Remove what a cleaning may have left."""
        if log.is_offline:
            return
        try:
            remove_cleaned(self._env.fs, log.directory)
        except OSError as error:
            self._env.on_failure(log.log_dir, error)

    def _pause(self, worker: _Worker) -> Promise[None]:
        pause: Promise[None] = Promise()
        worker.timer = self._env.scheduler.call_later(self.settings.backoff_ms, Recurring(lambda: pause.resolve(None)))
        return pause


class _Worker:
    """One cleaner thread, as Kafka calls it."""

    def __init__(self, runner: CleaningRunner) -> None:
        self.runner = runner
        self.log: Log | None = None
        """What it cleans now."""
        self.swaps: list[Promise[None]] = []
        """The syncs that make the names of its new segments durable."""
        self.timer: TimerHandle | None = None
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True
        if self.timer is not None:
            self.timer.cancel()
        self.runner.close()


def _settled(*promises: Promise[CleaningResult] | Promise[None]) -> Promise[None]:
    """Settles once they all have, however that is."""
    result: Promise[None] = Promise()
    pending = len(promises)

    def count(_settled: Promise[CleaningResult] | Promise[None]) -> None:
        nonlocal pending
        pending -= 1
        if not pending:
            result.resolve(None)

    for promise in promises:
        promise.on_done(count)
    if not promises:
        result.resolve(None)
    return result
