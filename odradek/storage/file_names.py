"""The names of files and directories in a log directory, as Apache Kafka gives them."""

from __future__ import annotations

from odradek.storage.topic_partition import TopicPartition

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
TXN_INDEX_SUFFIX = ".txnindex"
SNAPSHOT_SUFFIX = ".snapshot"
DELETED_SUFFIX = ".deleted"
CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"

SEGMENT_SUFFIXES = (LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX)

LEADER_EPOCH_CHECKPOINT = "leader-epoch-checkpoint"
PARTITION_METADATA = "partition.metadata"
META_PROPERTIES = "meta.properties"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
RECOVERY_POINT_CHECKPOINT = "recovery-point-offset-checkpoint"
LOG_START_CHECKPOINT = "log-start-offset-checkpoint"
HIGH_WATERMARK_CHECKPOINT = "replication-offset-checkpoint"
CLEANER_CHECKPOINT = "cleaner-offset-checkpoint"

DELETE_DIR_SUFFIX = "-delete"
FUTURE_DIR_SUFFIX = "-future"
STRAY_DIR_SUFFIX = "-stray"

CLUSTER_METADATA_TOPIC = "__cluster_metadata"

MAX_DIR_NAME_CHARS = 255
_OFFSET_DIGITS = 20


def offset_name(offset: int, suffix: str) -> str:
    """The file name of `offset`: twenty digits and a suffix."""
    return f"{offset:0{_OFFSET_DIGITS}d}{suffix}"


def offset_of_name(name: str) -> int | None:
    """The offset in a file name made by `offset_name`; None if the name has another shape."""
    digits, dot, _ = name.partition(".")
    if len(digits) != _OFFSET_DIGITS or not dot or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits)


def log_dir_name(partition: TopicPartition) -> str:
    """The directory of a partition's log."""
    return f"{partition.topic}-{partition.partition}"


def deleted_dir_name(partition: TopicPartition, unique_id: bytes) -> str:
    """The name of a deleted log's directory until it is removed; `unique_id` is 16 random bytes."""
    return _capped_name(partition, unique_id, DELETE_DIR_SUFFIX)


def stray_dir_name(partition: TopicPartition, unique_id: bytes) -> str:
    """The name of the directory of a log that the metadata does not know; `unique_id` is 16 random bytes."""
    return _capped_name(partition, unique_id, STRAY_DIR_SUFFIX)


def future_dir_name(partition: TopicPartition, unique_id: bytes) -> str:
    """The name of the directory of a log that will replace the current one; `unique_id` is 16 random bytes.

    Not cut, for the partition is read from it: see `MAX_DIR_NAME_CHARS`.
    """
    return f"{log_dir_name(partition)}.{unique_id.hex()}{FUTURE_DIR_SUFFIX}"


def _capped_name(partition: TopicPartition, unique_id: bytes, mark: str) -> str:
    """A topic that makes it too long is cut."""
    suffix = f"-{partition.partition}.{unique_id.hex()}{mark}"
    return partition.topic[: MAX_DIR_NAME_CHARS - len(suffix)] + suffix


def _partition_of_marked_dir(name: str) -> TopicPartition | None:
    plain, dot, _unique_id_and_mark = name.rpartition(".")
    return partition_of_dir(plain) if dot else None


def partition_of_dir(name: str) -> TopicPartition | None:
    """The partition whose log a directory of this name holds; None for any other directory."""
    topic, dash, number = name.rpartition("-")
    if not dash or not topic or not (number.isascii() and number.isdigit()):
        return None
    return TopicPartition(topic, int(number))


def partition_of_future_dir(name: str) -> TopicPartition | None:
    """The partition whose future log a directory of this name holds; None for any other directory."""
    return _partition_of_marked_dir(name) if name.endswith(FUTURE_DIR_SUFFIX) else None


def partition_of_any_dir(name: str) -> TopicPartition | None:
    """The partition whose log, also a future, deleted or stray one, a directory of this name holds; None for others."""
    if name.endswith((FUTURE_DIR_SUFFIX, DELETE_DIR_SUFFIX, STRAY_DIR_SUFFIX)):
        return _partition_of_marked_dir(name)
    return partition_of_dir(name)


def is_marked_for_deletion(name: str) -> bool:
    """Whether a directory of this name is a deleted log that waits to be removed."""
    return name.endswith(DELETE_DIR_SUFFIX) and "." in name
