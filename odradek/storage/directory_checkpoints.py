"""The offset checkpoints of log directories: one line for each log, replaced as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from odradek.ports import Executor, FileSystem, Promise
from odradek.storage.checkpoints import CorruptFileError, read_offsets, write_offsets
from odradek.storage.file_names import (
    CLEANER_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
)
from odradek.storage.log import Log
from odradek.storage.topic_partition import TopicPartition

_log = logging.getLogger(__name__)

CheckpointWriter = Callable[[str, Sequence[Log]], None]
"""Writes one checkpoint of a log directory, given the logs in it; raises OSError."""


class CheckpointedOffsets(NamedTuple):
    """What a start finds, by partition: how far logs are synced, where they begin, and so on."""

    recovery_points: Mapping[TopicPartition, int]
    log_starts: Mapping[TopicPartition, int]
    high_watermarks: Mapping[TopicPartition, int]
    cleaned: Mapping[TopicPartition, int]


_FILES = (RECOVERY_POINT_CHECKPOINT, LOG_START_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, CLEANER_CHECKPOINT)
"""The files of the fields of `CheckpointedOffsets`."""
_NOTHING: Mapping[TopicPartition, int] = {}


class DirectoryCheckpoints:
    """Reads and writes them. A file that says already what it should is left alone: an idle node touches no disk."""

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs
        self._written: dict[str, dict[TopicPartition, int]] = {}
        self._being_written: dict[str, None] = {}
        self._found: dict[str, Mapping[TopicPartition, int]] = {}
        """What a start has found, by file, until it is written."""

    def read_all(self, log_dir: str) -> CheckpointedOffsets:
        """What the files of a directory say, nothing where they are damaged; raises OSError."""
        cleaned = self._read(log_dir, CLEANER_CHECKPOINT)
        # What a stop finds unchanged stays as it is, and where nothing was ever compacted there is no file.
        self._written[f"{log_dir}/{CLEANER_CHECKPOINT}"] = dict(cleaned)
        found = CheckpointedOffsets(
            self._read(log_dir, RECOVERY_POINT_CHECKPOINT),
            self._read(log_dir, LOG_START_CHECKPOINT),
            self._read(log_dir, HIGH_WATERMARK_CHECKPOINT),
            cleaned,
        )
        self._found.update((f"{log_dir}/{name}", offsets) for name, offsets in zip(_FILES, found, strict=True))
        return found

    def may_mention(self, log_dir: str, topic_partition: TopicPartition) -> bool:
        """Whether a file of a directory says of a log of this name more than that it is empty."""
        for name in _FILES:
            path = f"{log_dir}/{name}"
            if self._written.get(path, self._found.get(path, _NOTHING)).get(topic_partition, 0):
                return True
        return False

    def write_recovery_points(self, log_dir: str, logs: Sequence[Log]) -> None:
        """Up to where each log is synced."""
        self._write(f"{log_dir}/{RECOVERY_POINT_CHECKPOINT}", {log.topic_partition: log.recovery_point for log in logs})

    def write_log_starts(self, log_dir: str, logs: Sequence[Log]) -> None:
        """The log start offsets that the names of segments do not tell."""
        offsets = {
            log.topic_partition: log.log_start_offset
            for log in logs
            if log.log_start_offset > log.segments.first.base_offset
        }
        self._write(f"{log_dir}/{LOG_START_CHECKPOINT}", offsets)

    def write_high_watermarks(self, log_dir: str, logs: Sequence[Log]) -> None:
        """The high watermarks, unless they are being written in the background: any that was true once is good."""
        path = f"{log_dir}/{HIGH_WATERMARK_CHECKPOINT}"
        if path not in self._being_written:
            self._write(path, {log.topic_partition: log.high_watermark for log in logs})

    def write_high_watermarks_later(
        self, log_dir: str, logs: Sequence[Log], executor: Executor, failed: Callable[[OSError], None]
    ) -> None:
        """`write_high_watermarks` in the background: it comes every few seconds, and a busy disk makes a sync long.

        The other checkpoints have to be in the file before what they allow is done.
        """
        path = f"{log_dir}/{HIGH_WATERMARK_CHECKPOINT}"
        offsets = {log.topic_partition: log.high_watermark for log in logs}
        if path in self._being_written or self._written.get(path) == offsets:
            return

        def written(outcome: Promise[None]) -> None:
            del self._being_written[path]
            if isinstance(outcome.error, OSError):
                failed(outcome.error)
            elif outcome.error is None:
                self._note(path, offsets)

        self._being_written[path] = None
        executor.submit(lambda: write_offsets(self._fs, path, offsets)).on_done(written)

    def write_cleaned(self, log_dir: str, logs: Sequence[Log]) -> None:
        """Up to where the logs have been compacted, of those that ever were."""
        offsets = {log.topic_partition: log.cleaned_offset for log in logs if log.cleaned_offset is not None}
        self._write(f"{log_dir}/{CLEANER_CHECKPOINT}", offsets)

    def _write(self, path: str, offsets: dict[TopicPartition, int]) -> None:
        if self._written.get(path) != offsets:
            write_offsets(self._fs, path, offsets)
            self._note(path, offsets)

    def _note(self, path: str, offsets: dict[TopicPartition, int]) -> None:
        self._written[path] = offsets
        self._found.pop(path, None)

    def _read(self, log_dir: str, name: str) -> dict[TopicPartition, int]:
        try:
            return read_offsets(self._fs, f"{log_dir}/{name}")
        except CorruptFileError as error:
            _log.warning("a checkpoint is not used: %s", error)
            return {}
