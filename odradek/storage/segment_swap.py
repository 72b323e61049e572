"""Putting a cleaned segment in the place of those that it was made from, in steps of which a crash may come at any.

The new files are `.cleaned` while they are written. Once all of them are `.swap` the new segment counts, and a start
finishes what a crash interrupted; until then it drops them. Kafka does the same, in the same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from odradek.ports import FileSystem
from odradek.storage.batches import CorruptBatchError, scan
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import (
    CLEANED_SUFFIX,
    DELETED_SUFFIX,
    LOG_SUFFIX,
    SEGMENT_SUFFIXES,
    SNAPSHOT_SUFFIX,
    SWAP_SUFFIX,
    offset_name,
    offset_of_name,
)
from odradek.storage.file_pool import FilePool
from odradek.storage.log_files import delete_segments
from odradek.storage.segment import Segment
from odradek.storage.segment_file import SegmentFile


def swap_in(
    env: LogEnvironment, directory: str, old: Sequence[Segment], stale: Sequence[str], file_delete_delay_ms: int
) -> None:
    """Replace the segments `old` by the `.cleaned` one of the first's base offset; raises OSError.

    The files of `old`, and the files `stale`, are removed after the delay. Ranges that are held stay readable.
    """
    base_offset = old[0].base_offset
    _rename(env.fs, directory, base_offset, CLEANED_SUFFIX, SWAP_SUFFIX)
    delete_segments(env, old, stale, file_delete_delay_ms)
    _rename(env.fs, directory, base_offset, SWAP_SUFFIX, "")


def remove_cleaned(fs: FileSystem, directory: str) -> None:
    """Delete what a cleaning that was given up has left; raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        for name in fs.list(directory):
            if name.endswith(CLEANED_SUFFIX):
                fs.remove(f"{directory}/{name}")


def finish_swaps(fs: FileSystem, directory: str) -> None:
    """Delete what waited to be deleted, and finish or undo a swap that a crash interrupted. Raises OSError.

    A swap counts as soon as a `.swap` file has its name, unless files that are still `.cleaned` begin before it.
    """
    names = fs.list(directory)
    first_cleaned = min((_offset(name) for name in names if name.endswith(CLEANED_SUFFIX)), default=None)
    swapped = []
    for name in names:
        # KRaft's snapshots have their own way of being deleted.
        is_deleted = name.endswith(DELETED_SUFFIX) and not name.endswith(".checkpoint" + DELETED_SUFFIX)
        is_swap = name.endswith(SWAP_SUFFIX)
        is_undone = is_swap and first_cleaned is not None and _offset(name) >= first_cleaned
        if is_deleted or is_undone or name.endswith(CLEANED_SUFFIX):
            fs.remove(f"{directory}/{name}")
        elif is_swap:
            swapped.append(name)
    for name in swapped:
        if name.endswith(LOG_SUFFIX + SWAP_SUFFIX):
            _remove_replaced(fs, directory, _offset(name), _end_offset(fs, f"{directory}/{name}"))
    for name in swapped:
        fs.rename(f"{directory}/{name}", f"{directory}/{name.removesuffix(SWAP_SUFFIX)}")


def _remove_replaced(fs: FileSystem, directory: str, base_offset: int, end_offset: int) -> None:
    """Delete the segments whose place the swapped one takes, with the producer snapshots of all but the first."""
    for name in fs.list(directory):
        offset = _offset(name)
        is_replaced = base_offset <= offset < end_offset and name.endswith(SEGMENT_SUFFIXES)
        if is_replaced or (base_offset < offset < end_offset and name.endswith(SNAPSHOT_SUFFIX)):
            fs.remove(f"{directory}/{name}")


def _end_offset(fs: FileSystem, path: str) -> int:
    """Behind the last batch of a segment, by its headers; -1 if it has none."""
    file = SegmentFile(FilePool(fs), path, fs.size(path))
    end_offset = -1
    try:
        with contextlib.suppress(CorruptBatchError):
            for stored in scan(file, 0, file.size):
                end_offset = stored.header.next_offset
    finally:
        file.close()
    return end_offset


def _rename(fs: FileSystem, directory: str, base_offset: int, old_suffix: str, new_suffix: str) -> None:
    for suffix in SEGMENT_SUFFIXES:
        path = f"{directory}/{offset_name(base_offset, suffix)}"
        with contextlib.suppress(FileNotFoundError):
            fs.rename(path + old_suffix, path + new_suffix)


def _offset(name: str) -> int:
    offset = offset_of_name(name)
    return offset if offset is not None else -1
