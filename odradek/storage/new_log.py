"""Beginning a log in a directory of its own."""

from __future__ import annotations

from odradek.ports import FileSystem
from odradek.storage.checkpoints import partition_metadata
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA
from odradek.storage.leader_epochs import LeaderEpochCache
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.producer_snapshot import SnapshotFiles
from odradek.storage.producers import ProducerStateManager
from odradek.storage.segment import Segment, make_segment_files
from odradek.storage.segments import Segments
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.uuids import ZERO_UUID


def make_log_files(fs: FileSystem, directory: str, topic_id: bytes | None) -> None:
    """The files of an empty log in `directory`, which is created and must not exist before. Raises OSError.

    Any thread may do this. Nothing is synced: a topic may have thousands of partitions, and until its first flush a log
    has nothing to lose. That flush syncs these files and their directory's name as well.
    """
    fs.mkdir(directory)
    known_id = _known(topic_id)
    if known_id is not None:
        _write(fs, f"{directory}/{PARTITION_METADATA}", partition_metadata(known_id))
    fs.open(f"{directory}/{LEADER_EPOCH_CHECKPOINT}", create=True).close()
    make_segment_files(fs, directory, 0)


def new_log(
    env: LogEnvironment, directory: str, topic_partition: TopicPartition, topic_id: bytes | None, config: LogConfig
) -> Log:
    """The empty log whose files are in `directory`, as `make_log_files` has made them with this topic id."""
    segment = Segment(env.pool, directory, 0, 0, created_ms=env.clock.now_ms(), is_new=True)
    return Log(
        env, directory, topic_partition, _known(topic_id), config, Segments([segment]),
        LeaderEpochCache(env.fs, f"{directory}/{LEADER_EPOCH_CHECKPOINT}"), SnapshotFiles(env.fs, directory, ()),
        ProducerStateManager(str(topic_partition)),
        log_start_offset=0, log_end_offset=0, recovery_point=0, high_watermark=0,
    )  # fmt: skip


def _known(topic_id: bytes | None) -> bytes | None:
    return None if topic_id == ZERO_UUID else topic_id


def _write(fs: FileSystem, path: str, data: bytes) -> None:
    file = fs.open(path, create=True)
    try:
        file.pwrite(data, 0)
    finally:
        file.close()
