"""New logs: in which directory, and with whose thread their files are made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from odradek.ports import FileSystem, Promise
from odradek.storage.checkpoints import write_topic_id
from odradek.storage.directory_choice import DirectoryChoice
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import log_dir_name
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_removal import LogRemoval
from odradek.storage.new_log import make_log_files, new_log
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.uuids import ZERO_UUID


class WantedLog(NamedTuple):
    """A log that is not there yet."""

    name: TopicPartition
    topic_id: bytes | None
    assigned: str | None = None
    """The directory that the controller has noted for it."""


class _Files(NamedTuple):
    """Files that somebody makes, or has made."""

    log_dir: str
    directory: str
    topic_id: bytes | None


class LogHome(Protocol):
    """Who has the logs."""

    def log(self, topic_partition: TopicPartition) -> Log | None:
        """The partition's log."""
        ...

    def adopt(self, log: Log) -> None:
        """From now on this is the partition's log."""
        ...

    def log_counts(self) -> dict[str, int]:
        """How many logs each online directory has."""
        ...

    def is_offline(self, log_dir: str) -> bool:
        """Whether this entry of `log.dirs` is offline."""
        ...

    def forget_offsets(self, log_dir: str, topic_partition: TopicPartition) -> None:
        """Let no checkpoint of a directory speak of an earlier log of this name."""
        ...


class LogCreation:
    """Makes logs at once, or lets the executor make the files of many first.

    A file costs the kernel a few microseconds, or hundreds of them where many were deleted in the last minutes
    (ext4 goes by the numbers that these had, one by one).
    """

    def __init__(self, home: LogHome, env: LogEnvironment, choice: DirectoryChoice, removal: LogRemoval) -> None:
        self._home = home
        self._env = env
        self._choice = choice
        self._removal = removal
        self._made: dict[TopicPartition, _Files | OSError] = {}

    def create(self, name: TopicPartition, topic_id: bytes | None, config: LogConfig, assigned: str | None) -> Log:
        """The partition's log, over the files that `make_later` has made for this topic id or over new ones.

        Raises KafkaError KAFKA_STORAGE_ERROR; INCONSISTENT_TOPIC_ID if there is one of another topic of that name.
        """
        existing = self._home.log(name)
        if existing is not None:
            return self._with_topic_id(existing, topic_id)
        made = self._take(name, topic_id)
        if made is not None:
            log = new_log(self._env, made.directory, name, topic_id, config)
        else:
            log_dir = self._choice.choose(name, self._home.log_counts(), assigned)
            log = self.begin(f"{log_dir}/{log_dir_name(name)}", name, topic_id, config)
        self._home.adopt(log)
        return log

    def begin(self, directory: str, name: TopicPartition, topic_id: bytes | None, config: LogConfig) -> Log:
        """An empty log in a new directory, which is nobody's yet. Raises KafkaError KAFKA_STORAGE_ERROR."""
        log_dir = directory.rpartition("/")[0]
        self._home.forget_offsets(log_dir, name)
        try:
            make_log_files(self._env.fs, directory, topic_id)
        except OSError as error:
            self._env.on_failure(log_dir, error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{name}: {error}") from error
        return new_log(self._env, directory, name, topic_id, config)

    def make_later(self, wanted: Sequence[WantedLog]) -> Promise[None]:
        """Have the files of logs made that are not there, for `create`; settles, without failing, when that is done.

        Until then nobody may `create` these, and then whoever does not gives them to `drop`. What could not be made for
        its directory's failure is told by `create`; of the others in that directory, `create` makes the files.
        """
        counts = self._home.log_counts()
        files: dict[TopicPartition, _Files] = {}
        for name, topic_id, assigned in wanted:
            try:
                log_dir = self._choice.choose(name, counts, assigned)
            except KafkaError:
                break  # there is no directory, as `create` will say
            counts[log_dir] += 1
            self._home.forget_offsets(log_dir, name)
            files[name] = _Files(log_dir, f"{log_dir}/{log_dir_name(name)}", topic_id)
        made: Promise[None] = Promise()

        def note(outcome: Promise[dict[TopicPartition, OSError | None]]) -> None:
            results = outcome.result() if outcome.error is None else {}
            for name, error in results.items():
                self._made[name] = files[name] if error is None else error
                if error is not None:
                    self._env.on_failure(files[name].log_dir, error)
            made.resolve(None)

        self._env.executor.submit(partial(_make_all, self._env.fs, files)).on_done(note)
        return made

    def drop(self, names: Iterable[TopicPartition]) -> None:
        """Files of these that were made for nobody go."""
        for name in names:
            made = self._made.pop(name, None)
            if isinstance(made, _Files):
                with contextlib.suppress(KafkaError):  # its directory is offline now
                    self._discard(name, made)

    def _take(self, name: TopicPartition, topic_id: bytes | None) -> _Files | None:
        made = self._made.pop(name, None)
        if isinstance(made, OSError):
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{name}: {made}") from made
        if made is None:
            return None
        if self._home.is_offline(made.log_dir):
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{name}: {made.log_dir} has failed")
        if made.topic_id != topic_id:
            self._discard(name, made)
            return None
        return made

    def _discard(self, name: TopicPartition, made: _Files) -> None:
        """Raises KafkaError KAFKA_STORAGE_ERROR if the name cannot be freed."""
        if not self._home.is_offline(made.log_dir):
            self._removal.remove_later(self._removal.mark(name, made.directory))

    def _with_topic_id(self, log: Log, topic_id: bytes | None) -> Log:
        if log.topic_id is None and topic_id is not None and topic_id != ZERO_UUID:
            try:
                write_topic_id(self._env.fs, log.directory, topic_id)
            except OSError as error:
                self._env.on_failure(log.log_dir, error)
            log.topic_id = topic_id
        elif topic_id is not None and topic_id not in (log.topic_id, ZERO_UUID):
            raise KafkaError(ErrorCode.INCONSISTENT_TOPIC_ID, f"{log.topic_partition} is of another topic")
        return log


def _make_all(fs: FileSystem, files: Mapping[TopicPartition, _Files]) -> dict[TopicPartition, OSError | None]:
    """Make the files of each log; what failed first in a directory, behind which nothing else is tried there."""
    done: dict[TopicPartition, OSError | None] = {}
    failed: dict[str, None] = {}
    for name, (log_dir, directory, topic_id) in files.items():
        if log_dir in failed:
            continue
        done[name] = None
        try:
            make_log_files(fs, directory, topic_id)
        except OSError as error:
            done[name] = error
            failed[log_dir] = None
    return done
