"""The end of a log's directory: another name at once, and no files after a delay."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from odradek.ports import FileSystem, Promise
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import deleted_dir_name
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

REMOVED_AT_A_TIME = 32
"""Directories in one piece of the executor's work: a stop waits for one such piece."""


class LogRemoval:
    """Removes directories by one thread of the executor at a time, however many logs are deleted together."""

    def __init__(self, env: LogEnvironment, delay_ms: Callable[[], float]) -> None:
        """`delay_ms` tells how long files stay now (`file.delete.delay.ms`)."""
        self._env = env
        self._delay_ms = delay_ms
        self._due: deque[str] = deque()
        self._is_removing = False
        self._is_closed = False

    def mark(self, name: TopicPartition, directory: str) -> str:
        """Rename a log's directory to what says that it is deleted; returns its path from then on.

        Raises KafkaError KAFKA_STORAGE_ERROR if that fails, which takes the log directory offline.
        """
        log_dir = directory.rpartition("/")[0]
        target = f"{log_dir}/{deleted_dir_name(name, self._env.random.token(16))}"
        try:
            self._env.fs.rename(directory, target)
        except OSError as error:
            self._env.on_failure(log_dir, error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{name}: {error}") from error
        return target

    def remove_later(self, directory: str) -> None:
        """Remove a directory that is marked, when the delay is over."""
        self._env.scheduler.call_later(self._delay_ms(), partial(self._remove, directory))

    def remove_after(self, done: Promise[None], directory: str) -> None:
        """`remove_later` once `done` has succeeded; what is behind a failure stays for the next start."""
        done.on_done(lambda outcome: self.remove_later(directory) if outcome.error is None else None)

    def close(self) -> None:
        """Begin nothing more: the next start finds the directories by their names."""
        self._is_closed = True

    def _remove(self, directory: str) -> None:
        self._due.append(directory)
        self._go_on()

    def _go_on(self) -> None:
        if self._is_removing or self._is_closed or not self._due:
            return
        self._is_removing = True
        some = [self._due.popleft() for _ in range(min(len(self._due), REMOVED_AT_A_TIME))]
        self._env.executor.submit(partial(_remove_all, self._env.fs, some)).on_done(self._removed)

    def _removed(self, outcome: Promise[dict[str, OSError]]) -> None:
        self._is_removing = False
        if outcome.error is None:
            for log_dir, error in outcome.result().items():
                self._env.on_failure(log_dir, error)
        self._go_on()


def _remove_all(fs: FileSystem, directories: Sequence[str]) -> dict[str, OSError]:
    """Remove each; what has failed, by log directory."""
    failed: dict[str, OSError] = {}
    for directory in directories:
        try:
            fs.remove_tree(directory)
        except OSError as error:
            failed.setdefault(directory.rpartition("/")[0], error)
    return failed
