"""Deleting and syncing the files of segments, away from the hot path."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial

from odradek.ports import FileSystem, Promise
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import DELETED_SUFFIX
from odradek.storage.segment import Segment


def delete_segments(env: LogEnvironment, segments: Sequence[Segment], extra: Sequence[str], delay_ms: int) -> None:
    """Rename the files of `segments`, and the files `extra`, to `.deleted`, and remove them after `delay_ms`.

    Ranges that are held stay readable. Raises OSError.
    """
    doomed = []
    for segment in segments:
        segment.close()
        doomed.extend(_mark(env.fs, segment.paths))
    doomed.extend(_mark(env.fs, extra))
    if not doomed:
        return

    def removed(outcome: Promise[None]) -> None:
        if isinstance(outcome.error, OSError):
            env.on_failure(doomed[0].rpartition("/")[0].rpartition("/")[0], outcome.error)

    def remove() -> None:
        # A large file that is in memory takes long. After the node's end the next start finds them by their names.
        with contextlib.suppress(RuntimeError):
            env.executor.submit(partial(_remove, env.fs, doomed)).on_done(removed)

    env.scheduler.call_later(delay_ms, remove)


def sync_files(fs: FileSystem, paths: Sequence[str], directories: Sequence[str]) -> None:
    """fsync files and directories. One that is gone was deleted meanwhile. Raises OSError."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            file = fs.open(path)
            try:
                file.sync()
            finally:
                file.close()
    for directory in directories:
        with contextlib.suppress(FileNotFoundError):
            fs.sync_dir(directory)


def _remove(fs: FileSystem, paths: Sequence[str]) -> None:
    for path in paths:
        fs.remove_gradually(path)


def _mark(fs: FileSystem, paths: Sequence[str]) -> list[str]:
    marked = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            fs.rename(path, path + DELETED_SUFFIX)
            marked.append(path + DELETED_SUFFIX)
    return marked
