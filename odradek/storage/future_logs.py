"""Copies of logs in other directories, which will take the place of what they are copied from (KIP-113)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from odradek.ports import Promise
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import future_dir_name, log_dir_name
from odradek.storage.leader_epochs import UNDEFINED_OFFSET
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)

AssignedDir = Callable[[TopicPartition], str | None]
"""The log directory that the cluster's metadata has for this broker's replica, if it is one of `log.dirs`."""


class LogHome(Protocol):
    """Who has the current logs."""

    @property
    def environment(self) -> LogEnvironment:
        """What all logs share."""
        ...

    def log(self, topic_partition: TopicPartition) -> Log | None:
        """The current log of a partition."""
        ...

    def offline_dirs(self) -> Mapping[str, Exception]:
        """The directories that failed."""
        ...

    def begin_log(self, directory: str, name: TopicPartition, topic_id: bytes | None, config: LogConfig) -> Log:
        """An empty log in a new directory; raises KafkaError KAFKA_STORAGE_ERROR."""
        ...

    def adopt(self, log: Log) -> None:
        """From now on this is the partition's current log."""
        ...

    def discard(self, logs: Iterable[Log], once: Promise[None] | None = None) -> None:
        """Rename logs' directories, and remove them after a delay; raises KafkaError KAFKA_STORAGE_ERROR."""
        ...

    def set_aside(self, log: Log) -> None:
        """Keep a log from being served, and its files for the user. Raises OSError."""
        ...

    def checkpoint(self, log_dir: str) -> None:
        """Write all checkpoints of a directory."""
        ...

    def lower_recovery_points(self, offsets: Iterable[tuple[Log, int]]) -> None:
        """Let a start after a crash check these logs from these offsets on."""
        ...


class FutureLogs:
    """The future logs of a node, at most one of each partition, and what they need to become the current ones."""

    def __init__(self, home: LogHome) -> None:
        self._home = home
        self._logs: dict[TopicPartition, Log] = {}

    def get(self, topic_partition: TopicPartition) -> Log | None:
        """The partition's future log; None while it is not on the move."""
        return self._logs.get(topic_partition)

    def all(self) -> list[Log]:
        """All of them. Those in a directory that failed are forgotten."""
        return list(self._logs.values())

    def in_dir(self, log_dir: str) -> list[Log]:
        """Those in one directory."""
        return [log for log in self._logs.values() if log.log_dir == log_dir]

    def create(self, topic_partition: TopicPartition, log_dir: str) -> Log:
        """An empty log that will take the place of the current one, which is in another directory.

        Raises KafkaError KAFKA_STORAGE_ERROR, also while any directory is offline: it may have such a log already.
        """
        if self._home.offline_dirs():
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "nothing is moved while log directories are offline")
        current = self._home.log(topic_partition)
        assert current is not None
        directory = f"{log_dir}/{future_dir_name(topic_partition, self._home.environment.random.token(16))}"
        log = self._home.begin_log(directory, topic_partition, current.topic_id, current.config)
        self._logs[topic_partition] = log
        return log

    def pop(self, topic_partition: TopicPartition) -> Log | None:
        """Take one out, whose files stay; None if there is none."""
        return self._logs.pop(topic_partition, None)

    def delete(self, topic_partition: TopicPartition) -> None:
        """Give up a move, if there is one. Raises KafkaError KAFKA_STORAGE_ERROR if files could not be renamed."""
        log = self.pop(topic_partition)
        if log is not None:
            self._home.discard([log])

    def dir_failed(self, log_dir: str) -> None:
        """Forget those in a directory that went offline; their files stay for the next start."""
        for log in self.in_dir(log_dir):
            log.is_offline = True
            del self._logs[log.topic_partition]

    def truncate_to(self, topic_partition: TopicPartition, offset: int) -> None:
        """Cut off `offset` and all behind it, if there is such a log. Raises KafkaError KAFKA_STORAGE_ERROR."""
        log = self.get(topic_partition)
        if log is not None and offset < log.log_end_offset:
            self._home.lower_recovery_points([(log, offset)])
            log.truncate_to(offset)

    def truncate_fully_and_start_at(self, topic_partition: TopicPartition, offset: int) -> None:
        """Empty the log, if there is one; it goes on at `offset`. Raises KafkaError KAFKA_STORAGE_ERROR."""
        log = self.get(topic_partition)
        if log is not None:
            self._home.lower_recovery_points([(log, log.log_start_offset)])
            log.truncate_fully_and_start_at(offset)

    def promote(self, topic_partition: TopicPartition) -> Log:
        """Let the future log take the place of the current one, whose files go. Ranges that are held stay readable.

        The caller sees to it that it has the same records, and that no fewer of them are synced. Raises KafkaError
        KAFKA_STORAGE_ERROR if it cannot be renamed, and then nothing has changed but for its directory.
        """
        future = self._logs[topic_partition]
        env = self._home.environment
        target = f"{future.log_dir}/{log_dir_name(topic_partition)}"
        try:
            env.fs.rename(future.directory, target)
        except OSError as error:
            env.on_failure(future.log_dir, error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{topic_partition}: {error}") from error
        future.move(target)
        del self._logs[topic_partition]
        current = self._home.log(topic_partition)
        self._home.adopt(future)
        # A power cut must not take the new name once the old log is removed.
        synced = future.flush_later()
        # Nor must a start after a crash forget what was known of the old one, which nobody could tell it again.
        synced.on_done(lambda _synced: self._home.checkpoint(future.log_dir))
        if current is not None:
            try:
                self._home.discard([current], synced)
            except KafkaError as error:
                _log.error("files of a log that was moved remain: %s", error)
        return future

    def found(self, log: Log, assigned: str | None) -> None:
        """A start has found one. Raises KafkaError KAFKA_STORAGE_ERROR as `choose` does."""
        other = self.get(log.topic_partition)
        self._logs[log.topic_partition] = log if other is None else self.choose(log, other, assigned)

    def choose(self, one: Log, other: Log, assigned: str | None) -> Log:
        """Which of two logs of a partition counts, after a crash between one's taking the place of the other.

        That is the one that goes further, by leader epoch and offset; of equal ones, that where the controller has
        assigned the replica. The other is set aside. Raises KafkaError KAFKA_STORAGE_ERROR if the controller knows of
        neither: then nobody but the user can tell.
        """
        if assigned not in (one.log_dir, other.log_dir):
            raise KafkaError(
                ErrorCode.KAFKA_STORAGE_ERROR,
                f"{one.topic_partition} is both in {other.directory} and in {one.directory}: move away the one whose "
                "disk failed last",
            )
        chosen, left = (one, other) if _rank(one, assigned) > _rank(other, assigned) else (other, one)
        self._home.set_aside(left)
        return chosen

    def finish(self, assigned_dir: AssignedDir) -> None:
        """All logs are found: do what is left to do of moves that the controller has noted (KIP-858).

        A future log is taken over if it was copied whole, or is all there is; else the copying goes on.
        """
        try:
            for name, future in list(self._logs.items()):
                if not future.is_offline:
                    self._finish(name, future, assigned_dir(name))
        except KafkaError as error:
            _log.error("moves between log directories are not finished: %s", error)

    def _finish(self, name: TopicPartition, future: Log, assigned: str | None) -> None:
        current = self._home.log(name)
        if current is not None and current.log_dir == future.log_dir:
            self.delete(name)
        elif assigned == future.log_dir and _may_replace(current, future):
            if current is not None:
                future.update_high_watermark(current.high_watermark)
            self.promote(name)
            _log.warning("%s is in %s from now on, as the controller has noted", name, future.log_dir)


def common_end_offset(copy: Log, original: Log) -> int:
    """Up to where a copy may be trusted: the end of what both have written in the same leader epochs (KIP-279)."""
    end_offset = copy.log_end_offset
    epoch = copy.leader_epochs.latest_epoch
    while True:
        known_epoch, original_end = original.leader_epochs.end_offset_for(epoch, original.log_end_offset)
        if original_end == UNDEFINED_OFFSET:
            return min(copy.high_watermark, end_offset, original.log_end_offset)
        copied_epoch, copied_end = copy.leader_epochs.end_offset_for(known_epoch, end_offset)
        if copied_end == UNDEFINED_OFFSET:
            return min(original_end, end_offset)
        if copied_epoch == known_epoch:
            return min(copied_end, original_end, end_offset)
        end_offset = min(copied_end, end_offset)
        epoch = copied_epoch


def _rank(log: Log, assigned: str | None) -> tuple[int, int, bool]:
    return log.leader_epochs.latest_epoch, log.log_end_offset, log.log_dir == assigned


def _may_replace(current: Log | None, future: Log) -> bool:
    return current is None or current.is_offline or future.log_end_offset >= current.log_end_offset
