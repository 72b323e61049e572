"""What every log of a node shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from odradek.ports import Clock, Executor, FileSystem, Random, Scheduler
from odradek.storage.file_pool import FilePool

DEFAULT_PRODUCER_EXPIRATION_MS = 86_400_000


def _tell_nobody() -> None:
    """Nobody wants to know."""


class LogEnvironment(NamedTuple):
    """The ports, the open files, and whom to tell when a disk fails."""

    pool: FilePool
    clock: Clock
    scheduler: Scheduler
    executor: Executor
    random: Random
    on_failure: Callable[[str, Exception], None]
    """Called with the log directory and what went wrong in it."""
    producer_expiration_ms: int = DEFAULT_PRODUCER_EXPIRATION_MS
    """`producer.id.expiration.ms`."""
    on_start_moved: Callable[[], None] = _tell_nobody
    """Called when a log begins to start at another offset."""

    @property
    def fs(self) -> FileSystem:
        """The file system."""
        return self.pool.fs
