"""A data directory at a glance."""

from __future__ import annotations

from collections.abc import Iterator

from odradek.ports import FileSystem
from odradek.storage.checkpoints import CorruptFileError, read_offsets, read_topic_id
from odradek.storage.file_names import (
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    partition_of_dir,
)
from odradek.storage.inspect.directories import FileKind, known_files, partition_directories
from odradek.storage.inspect.rows import Row
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.uuids import uuid_to_string


def partition_rows(fs: FileSystem, data_dir: str) -> Iterator[Row]:
    """A row of kind "partition" for each partition in a data directory. Raises OSError."""
    starts = _offsets(fs, f"{data_dir}/{LOG_START_CHECKPOINT}")
    recovery_points = _offsets(fs, f"{data_dir}/{RECOVERY_POINT_CHECKPOINT}")
    watermarks = _offsets(fs, f"{data_dir}/{HIGH_WATERMARK_CHECKPOINT}")
    for directory in partition_directories(fs, data_dir):
        partition = partition_of_dir(directory.rpartition("/")[2])
        if partition is None:
            continue  # on its way here: the checkpoints say nothing about what is served
        try:
            logs = [file for file in known_files(fs, directory) if file.kind is FileKind.LOG]
            size = sum(fs.size(file.path) for file in logs)
        except FileNotFoundError:
            continue  # deleted while we read
        yield Row(
            "partition",
            {
                "topic": partition.topic,
                "partition": partition.partition,
                "topicId": _topic_id(fs, directory),
                "segments": len(logs),
                "size": size,
                "startOffset": starts.get(partition, logs[0].offset if logs else 0),
                "recoveryPoint": recovery_points.get(partition),
                "highWatermark": watermarks.get(partition),
            },
        )


def _topic_id(fs: FileSystem, directory: str) -> str | None:
    try:
        topic_id = read_topic_id(fs, directory)
    except CorruptFileError:
        return None
    return None if topic_id is None else uuid_to_string(topic_id)


def _offsets(fs: FileSystem, path: str) -> dict[TopicPartition, int]:
    try:
        return read_offsets(fs, path)
    except CorruptFileError:
        return {}
