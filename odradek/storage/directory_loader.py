"""Opening all logs of one of `log.dirs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from odradek.ports import FileSystem
from odradek.storage.checkpoints import read_clean_shutdown
from odradek.storage.directory_checkpoints import CheckpointedOffsets
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import (
    CLEAN_SHUTDOWN,
    CLUSTER_METADATA_TOPIC,
    is_marked_for_deletion,
    partition_of_dir,
    partition_of_future_dir,
)
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.log_loader import load_log


class FoundLog(NamedTuple):
    """A log of a directory."""

    log: Log
    is_future: bool
    """It is a copy on its way here from another directory."""


def begin_directory(fs: FileSystem, log_dir: str) -> int | None:
    """Make the directory if it is not there; the broker epoch of the clean stop before, None after another.

    Raises OSError, CorruptFileError.
    """
    fs.mkdir(log_dir)
    broker_epoch = read_clean_shutdown(fs, log_dir)
    fs.remove(f"{log_dir}/{CLEAN_SHUTDOWN}")
    # A power cut must not bring the marker back: the logs would be trusted as they are then.
    fs.sync_dir(log_dir)
    return broker_epoch


def load_logs(
    env: LogEnvironment, log_dir: str, offsets: CheckpointedOffsets, config_of: Callable[[str], LogConfig], *,
    is_clean: bool,
) -> Iterator[FoundLog]:  # fmt: skip
    """Open one after the other. Raises OSError, CorruptFileError."""
    configs: dict[str, LogConfig] = {}
    for name in env.fs.list(log_dir):
        if is_marked_for_deletion(name):
            continue
        directory = f"{log_dir}/{name}"
        future_of = partition_of_future_dir(name)
        topic_partition = future_of or partition_of_dir(name)
        if topic_partition is None or topic_partition.topic == CLUSTER_METADATA_TOPIC or not env.fs.is_dir(directory):
            continue
        topic = topic_partition.topic
        if topic not in configs:
            configs[topic] = config_of(topic)
        log = load_log(
            env, directory, topic_partition, configs[topic],
            recovery_point=offsets.recovery_points.get(topic_partition, 0),
            log_start_offset=offsets.log_starts.get(topic_partition, 0),
            high_watermark=offsets.high_watermarks.get(topic_partition, 0),
            cleaned_offset=offsets.cleaned.get(topic_partition),
            is_clean=is_clean,
        )  # fmt: skip
        yield FoundLog(log, future_of is not None)
