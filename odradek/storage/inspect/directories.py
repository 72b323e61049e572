"""Which files of a directory are worth a look, and what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from odradek.ports import FileSystem
from odradek.storage.file_names import (
    CLEAN_SHUTDOWN,
    CLEANER_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    INDEX_SUFFIX,
    LEADER_EPOCH_CHECKPOINT,
    LOG_START_CHECKPOINT,
    LOG_SUFFIX,
    META_PROPERTIES,
    PARTITION_METADATA,
    RECOVERY_POINT_CHECKPOINT,
    SNAPSHOT_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    offset_of_name,
    partition_of_any_dir,
    partition_of_dir,
    partition_of_future_dir,
)

METADATA_SNAPSHOT_SUFFIX = ".checkpoint"
QUORUM_STATE = "quorum-state"


class FileKind(Enum):
    """What a file holds."""

    LOG = "batches"
    METADATA_SNAPSHOT = "snapshot of the metadata"
    INDEX = "offset index"
    TIME_INDEX = "time index"
    TXN_INDEX = "transaction index"
    PRODUCERS = "producer snapshot"
    LEADER_EPOCHS = "leader epochs"
    TOPIC_ID = "topic id"
    OFFSETS = "checkpoint"
    PROPERTIES = "properties"
    JSON = "state"


_BY_NAME = {
    LEADER_EPOCH_CHECKPOINT: FileKind.LEADER_EPOCHS,
    PARTITION_METADATA: FileKind.TOPIC_ID,
    META_PROPERTIES: FileKind.PROPERTIES,
    RECOVERY_POINT_CHECKPOINT: FileKind.OFFSETS,
    LOG_START_CHECKPOINT: FileKind.OFFSETS,
    HIGH_WATERMARK_CHECKPOINT: FileKind.OFFSETS,
    CLEANER_CHECKPOINT: FileKind.OFFSETS,
    CLEAN_SHUTDOWN: FileKind.JSON,
    QUORUM_STATE: FileKind.JSON,
}
_BY_SUFFIX = {
    LOG_SUFFIX: FileKind.LOG,
    INDEX_SUFFIX: FileKind.INDEX,
    TIME_INDEX_SUFFIX: FileKind.TIME_INDEX,
    TXN_INDEX_SUFFIX: FileKind.TXN_INDEX,
    SNAPSHOT_SUFFIX: FileKind.PRODUCERS,
}


class KnownFile(NamedTuple):
    """A file and what it holds. `offset` is the one in its name; 0 if there is none."""

    path: str
    kind: FileKind
    offset: int = 0


def known_file(path: str) -> KnownFile | None:
    """What a file of this name holds; None for names that say nothing."""
    name = path.rpartition("/")[2]
    if name in _BY_NAME:
        return KnownFile(path, _BY_NAME[name])
    if name.endswith(METADATA_SNAPSHOT_SUFFIX) and name[:20].isdigit():
        return KnownFile(path, FileKind.METADATA_SNAPSHOT, int(name[:20]))
    offset = offset_of_name(name)
    kind = _BY_SUFFIX.get(name[name.find(".") :])
    return None if offset is None or kind is None else KnownFile(path, kind, offset)


def known_files(fs: FileSystem, directory: str) -> list[KnownFile]:
    """The known files in a directory: those without an offset in their name, then by offset. Raises OSError."""
    found = [known_file(f"{directory}/{name}") for name in fs.list(directory)]
    order = list(FileKind)
    return sorted(
        (file for file in found if file is not None),
        key=lambda file: (file.kind in _BY_SUFFIX.values(), file.offset, order.index(file.kind)),
    )


def partition_directories(fs: FileSystem, data_dir: str) -> list[str]:
    """The directories of partitions in a data directory, by topic and number, and of those that move there.

    Raises OSError.
    """
    names = ((partition_of_dir(name) or partition_of_future_dir(name), name) for name in fs.list(data_dir))
    return [
        f"{data_dir}/{name}" for found, name in sorted((f, n) for f, n in names if f) if fs.is_dir(f"{data_dir}/{name}")
    ]


def is_partition(fs: FileSystem, directory: str) -> bool:
    """Whether a directory holds one partition's log, be it by its content or by its name."""
    name = directory.rstrip("/").rpartition("/")[2]
    return any(file.kind is FileKind.LOG for file in known_files(fs, directory)) or (
        partition_of_dir(name) is not None and not partition_directories(fs, directory)
    )


def topic_of(path: str) -> str:
    """The topic that a partition's directory, or a file in it, belongs to; "" if the names do not say."""
    for name in reversed(path.rstrip("/").split("/")[-2:]):
        partition = partition_of_any_dir(name)
        if partition is not None:
            return partition.topic
    return ""


def segments_of(files: Sequence[KnownFile]) -> Iterator[dict[FileKind, KnownFile]]:
    """The files of each segment that has a log, by kind, in the order of offsets."""
    by_offset: dict[int, dict[FileKind, KnownFile]] = {}
    for file in files:
        if file.kind in _BY_SUFFIX.values():
            by_offset.setdefault(file.offset, {})[file.kind] = file
    for _offset, segment in sorted(by_offset.items()):
        if FileKind.LOG in segment:
            yield segment
