"""Retention of all logs of a node."""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

from odradek.storage.environment import LogEnvironment
from odradek.storage.log import Log
from odradek.storage.log_cleaner import LogCleaner
from odradek.storage.retention import delete_old_segments
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import KafkaError

_log = logging.getLogger(__name__)

RETENTION_SLICE_MS = 1.0
"""How long one turn of retention may keep the thread from other work."""
DELETED_AT_ONCE = 16
"""Segments of one log that are deleted without a look at the clock."""


class RetainedLogs(Protocol):
    """Who has the logs."""

    cleaner: LogCleaner

    @property
    def is_closed(self) -> bool:
        """Its logs were closed for good."""
        ...

    def online_logs(self) -> list[Log]:
        """All logs whose directories are online."""
        ...

    def log(self, topic_partition: TopicPartition) -> Log | None:
        """The partition's log."""
        ...

    def is_moving(self, topic_partition: TopicPartition) -> bool:
        """Whether the log is being copied to another directory."""
        ...


class RetentionCheck:
    """Looks which logs have segments that have had their time. Those of compacted logs are for the cleaner."""

    def __init__(self, logs: RetainedLogs, env: LogEnvironment) -> None:
        self._logs = logs
        self._env = env
        self._waiting: deque[Log] = deque()
        """The logs that have yet to be looked at, while a check is under way."""

    def check_all(self) -> int:
        """Delete the segments that have had their time; how many."""
        now_ms = self._env.clock.now_ms()
        return sum(self._check(log, now_ms) for log in self._logs.online_logs())

    def begin(self) -> None:
        """`check_all` a slice in each turn, for it looks into every log's files."""
        if not self._waiting:
            self._waiting.extend(self._logs.online_logs())
            self._go_on()

    def _go_on(self) -> None:
        clock = self._env.clock
        until_ms = clock.monotonic_ms() + RETENTION_SLICE_MS
        while self._waiting:
            if self._logs.is_closed:
                self._waiting.clear()
                return
            log = self._waiting.popleft()
            if log.is_offline or self._logs.log(log.topic_partition) is not log:
                continue
            if self._check(log, clock.now_ms(), DELETED_AT_ONCE) >= DELETED_AT_ONCE:
                self._waiting.appendleft(log)  # it may have more
            if self._waiting and clock.monotonic_ms() >= until_ms:
                self._env.scheduler.call_soon(self._go_on)
                return

    def _check(self, log: Log, now_ms: int, at_most: int | None = None) -> int:
        if log.config.is_compacted or self._logs.is_moving(log.topic_partition):
            return 0  # for the cleaner, or for whoever copies it
        self._logs.cleaner.abort(log)  # it was compacted when that began
        try:
            return delete_old_segments(log, now_ms, at_most)
        except KafkaError as error:
            _log.warning("%s: %s", log.topic_partition, error)
        except OSError as error:
            self._env.on_failure(log.log_dir, error)
        return 0
