"""Beginning a log in a directory of its own."""

from __future__ import annotations

from odradek.storage.checkpoints import partition_metadata
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_names import LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA
from odradek.storage.leader_epochs import LeaderEpochCache
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.producer_snapshot import SnapshotFiles
from odradek.storage.producers import ProducerStateManager
from odradek.storage.segment import Segment
from odradek.storage.segments import Segments
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.uuids import ZERO_UUID


def new_log(
    env: LogEnvironment, directory: str, topic_partition: TopicPartition, topic_id: bytes | None, config: LogConfig
) -> Log:
    """An empty log in `directory`, which is created and must not exist before. Raises OSError.

    Nothing is synced: a topic may have thousands of partitions, and until its first flush a log has nothing to lose.
    That flush syncs these files and their directory's name as well.
    """
    env.fs.mkdir(directory)
    known_id = None if topic_id == ZERO_UUID else topic_id
    if known_id is not None:
        _write(env, f"{directory}/{PARTITION_METADATA}", partition_metadata(known_id))
    epochs = f"{directory}/{LEADER_EPOCH_CHECKPOINT}"
    _write(env, epochs, b"")
    segment = Segment.create(env.pool, directory, 0, now_ms=env.clock.now_ms())
    return Log(
        env, directory, topic_partition, known_id, config, Segments([segment]), LeaderEpochCache(env.fs, epochs),
        SnapshotFiles(env.fs, directory, ()), ProducerStateManager(str(topic_partition)),
        log_start_offset=0, log_end_offset=0, recovery_point=0, high_watermark=0,
    )  # fmt: skip


def _write(env: LogEnvironment, path: str, data: bytes) -> None:
    file = env.fs.open(path, create=True)
    try:
        file.pwrite(data, 0)
    finally:
        file.close()
