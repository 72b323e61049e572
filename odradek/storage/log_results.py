"""What a log answers."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from odradek.storage.segment_file import FileRange


class AppendOrigin(Enum):
    """Who appends, which decides what is checked."""

    CLIENT = "client"
    """Sequences and epochs are checked."""
    COORDINATOR = "coordinator"
    """Epochs are checked: a coordinator's records have no sequences."""
    RAFT = "raft"
    REPLICATION = "replication"


class UnexpectedOffsetError(Exception):
    """Replicated batches do not continue the log."""

    def __init__(self, offset: int, expected_offset: int) -> None:
        super().__init__(f"a batch at offset {offset}, where {expected_offset} or more was due")
        self.offset = offset
        self.expected_offset = expected_offset


class AppendInfo:
    """What an append did. Timestamps are milliseconds."""

    __slots__ = (
        "first_offset",
        "is_duplicate",
        "last_offset",
        "log_append_time_ms",
        "log_start_offset",
        "max_timestamp_ms",
    )

    def __init__(
        self, first_offset: int, last_offset: int, log_append_time_ms: int, log_start_offset: int,
        max_timestamp_ms: int, is_duplicate: bool = False,
    ) -> None:  # fmt: skip
        self.first_offset = first_offset
        self.last_offset = last_offset
        self.log_append_time_ms = log_append_time_ms
        """-1 where the producer's timestamps stand."""
        self.log_start_offset = log_start_offset
        self.max_timestamp_ms = max_timestamp_ms
        self.is_duplicate = is_duplicate
        """Nothing was written: these are the offsets of the same batch, which was there already."""


class LogSlice:
    """Batches that were read: the first is the one that holds the offset asked for, the last may be cut off."""

    __slots__ = ("first_entry_incomplete", "position", "records", "segment_base_offset")

    def __init__(
        self, records: FileRange | bytes, segment_base_offset: int, position: int, first_entry_incomplete: bool = False
    ) -> None:
        self.records = records
        """A range to be released, or b"" where there is nothing to read."""
        self.segment_base_offset = segment_base_offset
        self.position = position
        """Where the records begin in that segment."""
        self.first_entry_incomplete = first_entry_incomplete
        """Not even the first batch fitted into the bytes asked for."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.records) if isinstance(self.records, bytes) else self.records.size


class TimestampOffset(NamedTuple):
    """A record found by its timestamp."""

    timestamp_ms: int
    offset: int
    leader_epoch: int
    """-1 if the batch has none."""
