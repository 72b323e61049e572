"""All logs of a node: what is created, stopped, deleted and trimmed, in memory and on the operating system's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from odradek.net.files import OsFileSystem
from odradek.ports import FileSystem
from odradek.ports.files import Buffer
from odradek.storage.checkpoints import read_offsets, write_clean_shutdown
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import CLOSING_AT_ONCE, LogManager
from odradek.storage.manager_settings import LogManagerSettings
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.storage.retention_check import DELETED_AT_ONCE
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.uuids import uuid_to_string
from tests.unit.fakes import FakeWorld
from tests.unit.storage.support import NOW_MS, batch, read_records

TOPIC_ID = bytes(range(16))
PARTITION = TopicPartition("topic", 3)


class Node:
    """A log manager over one or more directories."""

    def __init__(self, fs: FileSystem, log_dirs: list[str], config: LogConfig | None = None) -> None:
        self.fs = fs
        self.log_dirs = log_dirs
        self.world = FakeWorld(now_ms=NOW_MS)
        self.config = config if config is not None else LogConfig()
        self.start()

    def start(self) -> None:
        world = self.world
        self.logs = LogManager(self.fs, world, world, world, world, self.log_dirs, LogManagerSettings())
        self.logs.load(lambda _topic: self.config)

    def create(self, partition: TopicPartition = PARTITION) -> Log:
        return self.logs.create_log(partition, TOPIC_ID, self.config)

    def log(self, partition: TopicPartition = PARTITION) -> Log:
        log = self.logs.log(partition)
        assert log is not None
        return log


@pytest.fixture(params=["memory", "operating system"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    if request.param == "memory":
        return Node(MemoryFileSystem(), ["/data"])
    return Node(OsFileSystem(), [str(tmp_path / "data")])


def append(log: Log, value: bytes, timestamp_ms: int = NOW_MS, *, replicated: bool = True) -> None:
    log.append_as_leader(batch(value, timestamp_ms=timestamp_ms), leader_epoch=0, now_ms=NOW_MS)
    if replicated:
        log.update_high_watermark(log.log_end_offset)


def test_a_log_is_a_directory_named_after_its_partition_with_the_topic_id(node: Node) -> None:
    append(node.create(), b"a")
    directory = f"{node.log_dirs[0]}/topic-3"
    assert node.fs.list(directory) == [
        f"{0:020d}.index",
        f"{0:020d}.log",
        f"{0:020d}.timeindex",
        "leader-epoch-checkpoint",
        "partition.metadata",
    ]
    text = f"version: 0\ntopic_id: {uuid_to_string(TOPIC_ID)}"
    assert node.fs.read(f"{directory}/partition.metadata").decode() == text


def test_everything_is_there_again_after_a_clean_stop(node: Node) -> None:
    log = node.create()
    for value in (b"a", b"b", b"c"):
        append(log, value)
    append(log, b"not replicated", replicated=False)
    log.delete_records_before(1)
    node.logs.shutdown(broker_epoch=42)
    marker = node.fs.read(f"{node.log_dirs[0]}/.kafka_cleanshutdown")
    assert marker == b'{"version":0,"brokerEpoch":42}'
    node.start()
    log = node.log()
    assert node.logs.previous_broker_epoch == 42
    assert (log.topic_id, log.log_start_offset, log.high_watermark, log.log_end_offset) == (TOPIC_ID, 1, 3, 4)
    assert [value for _, value in read_records(log, 1)] == [b"b", b"c", b"not replicated"]
    assert not node.fs.exists(f"{node.log_dirs[0]}/.kafka_cleanshutdown")


def test_everything_is_there_again_after_a_crash(node: Node) -> None:
    log = node.create()
    for value in (b"a", b"b"):
        append(log, value)
    node.world.advance(5000)
    append(log, b"c")
    node.start()
    log = node.log()
    assert node.logs.previous_broker_epoch == -1
    assert (log.high_watermark, log.log_end_offset) == (2, 3)
    assert [value for _, value in read_records(log, 0)] == [b"a", b"b", b"c"]


def test_a_stop_syncs_many_logs_in_the_background_and_what_comes_between_as_well() -> None:
    node = Node(MemoryFileSystem(), ["/data"])
    logs = [node.create(TopicPartition("topic", number)) for number in range(3 * CLOSING_AT_ONCE)]
    for log in logs:
        append(log, b"a")
    closing = node.logs.close_later()
    assert not closing.done
    append(logs[0], b"b")
    node.world.run_soon()
    assert closing.done
    assert [log.recovery_point for log in logs[1:]] == [1] * (len(logs) - 1)
    append(logs[-1], b"c")
    node.logs.shutdown()
    node.start()
    for log, end_offset in ((node.log(logs[0].topic_partition), 2), (node.log(logs[-1].topic_partition), 2)):
        assert log.log_end_offset == end_offset
        assert log.recovery_point == end_offset


def test_background_work_begins_after_the_initial_delay() -> None:
    node = Node(MemoryFileSystem(), ["/data"], LogConfig(segment_bytes=150, retention_ms=1000))
    log = node.create()
    append(log, b"a" * 40)
    append(log, b"b" * 40)
    node.world.advance(29_000)
    assert log.log_start_offset == 0
    node.world.advance(1_000)
    assert log.log_start_offset == 2


def test_retention_leaves_the_loop_to_others_between_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(MemoryFileSystem(), ["/data"], LogConfig(retention_ms=1000))
    logs = [node.create(TopicPartition("topic", number)) for number in range(5)]
    for log in logs:
        append(log, b"a", NOW_MS - 10_000)
    monkeypatch.setattr(node.world, "monotonic_ms", iter(range(0, 1_000_000, 20)).__next__)
    node.logs.begin_retention()
    assert [log.log_start_offset for log in logs] == [1, 0, 0, 0, 0]
    node.logs.delete_log(logs[1].topic_partition)
    node.world.run_soon()
    assert [log.log_start_offset for log in logs] == [1, 0, 1, 1, 1]


def test_retention_leaves_the_loop_to_others_within_a_log_of_many_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(MemoryFileSystem(), ["/data"], LogConfig(segment_bytes=150, retention_ms=1000))
    log = node.create()
    for _ in range(3 * DELETED_AT_ONCE + 1):
        append(log, b"a" * 40, NOW_MS - 10_000)
    monkeypatch.setattr(node.world, "monotonic_ms", iter(range(0, 1_000_000, 20)).__next__)
    node.logs.begin_retention()
    starts = [log.log_start_offset]
    for _ in range(3):
        node.world.run_one_turn()
        starts.append(log.log_start_offset)
    assert starts == [DELETED_AT_ONCE, 2 * DELETED_AT_ONCE, 3 * DELETED_AT_ONCE, 3 * DELETED_AT_ONCE + 1]


def test_retention_goes_on_in_a_log_of_many_segments_while_there_is_time() -> None:
    node = Node(MemoryFileSystem(), ["/data"], LogConfig(segment_bytes=150, retention_ms=1000))
    logs = [node.create(TopicPartition("topic", number)) for number in range(2)]
    for log in logs:
        for _ in range(2 * DELETED_AT_ONCE + 1):
            append(log, b"a" * 40, NOW_MS - 10_000)
    node.logs.begin_retention()
    assert [log.log_start_offset for log in logs] == [2 * DELETED_AT_ONCE + 1] * 2


def test_creating_many_logs_does_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(MemoryFileSystem(), ["/data"])
    syncs: list[str] = []
    monkeypatch.setattr(MemoryFileSystem, "write_atomically", lambda _fs, path, _data: syncs.append(path))
    monkeypatch.setattr(MemoryFile, "sync", lambda file: syncs.append(file.path))
    for number in range(100):
        node.create(TopicPartition("topic", number)).assign_epoch(1, 0)
    assert syncs == []
    append(node.log(), b"a")
    node.log().flush()
    assert "/data/topic-3/partition.metadata" in syncs
    assert "/data/topic-3/leader-epoch-checkpoint" in syncs


@pytest.mark.parametrize("content", [b"", bytes(48), b"version: 0\ntopic_id: AAEC"])
def test_a_topic_id_that_a_power_cut_took_from_a_new_log_is_unknown(content: bytes) -> None:
    node = Node(MemoryFileSystem(), ["/data"])
    append(node.create(), b"a")
    node.fs.write_atomically("/data/topic-3/partition.metadata", content)
    node.start()
    assert (node.log().topic_id, node.logs.offline_dirs()) == (None, {})
    assert node.create().topic_id == TOPIC_ID
    node.start()
    assert node.log().topic_id == TOPIC_ID
    assert [value for _, value in read_records(node.log(), 0)] == [b"a"]


def test_a_deleted_log_is_renamed_at_once_and_removed_after_the_delay(node: Node) -> None:
    append(node.create(), b"a")
    held = node.log().read(0, max_bytes=100, max_offset=1, min_one_message=True).records
    node.logs.delete_log(PARTITION)
    assert node.logs.log(PARTITION) is None
    (renamed,) = [name for name in node.fs.list(node.log_dirs[0]) if node.fs.is_dir(f"{node.log_dirs[0]}/{name}")]
    prefix, _, unique = renamed.removesuffix("-delete").partition(".")
    assert (prefix, len(unique), "-" in unique) == ("topic-3", 32, False)
    assert read_offsets(node.fs, f"{node.log_dirs[0]}/replication-offset-checkpoint") == {}
    append(node.create(), b"a new one")
    node.world.advance(60_000)
    assert not node.fs.exists(f"{node.log_dirs[0]}/{renamed}")
    assert not isinstance(held, bytes)
    assert len(held.read(0, held.size)) == held.size > 0
    held.release()
    assert read_records(node.log(), 0) == [(0, b"a new one")]


def test_a_deleted_log_whose_removal_a_crash_prevented_is_removed_after_the_next_start(node: Node) -> None:
    node.create()
    node.logs.delete_log(PARTITION)
    node.world = FakeWorld(now_ms=NOW_MS)
    node.start()
    assert list(node.logs.logs()) == []
    node.world.advance(60_000)
    assert not [name for name in node.fs.list(node.log_dirs[0]) if name.endswith("-delete")]


def test_a_deletion_keeps_what_was_deleted_of_other_logs_deleted_after_a_crash(node: Node) -> None:
    kept = node.create()
    for value in (b"a", b"b", b"c"):
        append(kept, value)
    other = TopicPartition("other", 0)
    node.create(other)
    kept.delete_records_before(2)
    node.logs.delete_log(other)
    node.start()
    assert node.log().log_start_offset == 2


def test_a_topic_of_the_same_name_but_another_id_is_told_apart(node: Node) -> None:
    node.create()
    with pytest.raises(KafkaError) as raised:
        node.logs.create_log(PARTITION, bytes(15) + b"\x07", node.config)
    assert raised.value.code is ErrorCode.INCONSISTENT_TOPIC_ID


def test_a_very_long_topic_name_can_be_deleted(node: Node) -> None:
    partition = TopicPartition("t" * 249, 7)
    node.create(partition)
    node.logs.delete_log(partition)
    (renamed,) = [name for name in node.fs.list(node.log_dirs[0]) if name.endswith("-delete")]
    assert len(renamed) == 255


def test_retention_by_time_deletes_whole_old_segments_up_to_the_high_watermark(node: Node) -> None:
    node.config = LogConfig(segment_bytes=100, retention_ms=10_000)
    log = node.create()
    for number in range(4):
        append(log, b"v" * 20, NOW_MS + number)
    append(log, b"v" * 20, NOW_MS + 5000)
    log.update_high_watermark(3)
    node.world.advance(10_002)
    assert node.logs.enforce_retention() == 2
    assert log.log_start_offset == 2
    node.world.advance(1)
    assert node.logs.enforce_retention() == 1
    node.world.advance(1000)
    # The fourth is old enough, but not replicated.
    assert (node.logs.enforce_retention(), log.log_start_offset) == (0, 3)
    with pytest.raises(KafkaError):
        log.read(2, max_bytes=100, max_offset=5, min_one_message=True)


def test_retention_by_time_can_empty_the_log(node: Node) -> None:
    node.config = LogConfig(retention_ms=1)
    log = node.create()
    append(log, b"v")
    node.world.advance(10)
    assert node.logs.enforce_retention() == 1
    assert (log.log_start_offset, log.log_end_offset, log.size_bytes) == (1, 1, 0)
    assert node.logs.enforce_retention() == 0
    append(log, b"w")
    assert read_records(log, 1) == [(1, b"w")]


def test_retention_by_size_keeps_at_least_the_bytes_it_names(node: Node) -> None:
    size = len(batch(b"v" * 20))
    node.config = LogConfig(segment_bytes=size, retention_bytes=2 * size + 1)
    log = node.create()
    for _ in range(5):
        append(log, b"v" * 20)
    assert node.logs.enforce_retention() == 2
    assert log.size_bytes == 3 * size


def test_deleted_records_are_gone_for_readers_at_once_and_their_segments_at_the_next_check(node: Node) -> None:
    node.config = LogConfig(segment_bytes=100, cleanup_policy=("compact",))
    log = node.create()
    for _ in range(5):
        append(log, b"v" * 20)
    log.delete_records_before(3)
    assert len(log.segments) == 5
    node.world.advance(300_000)
    assert [segment.base_offset for segment in log.segments] == [3, 4]
    with pytest.raises(KafkaError) as raised:
        log.delete_records_before(6)
    assert raised.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_checkpoints_are_written_as_kafka_writes_them(node: Node) -> None:
    append(node.create(), b"a")
    node.world.advance(60_000)
    log_dir = node.log_dirs[0]
    assert node.fs.read(f"{log_dir}/replication-offset-checkpoint") == b"0\n1\ntopic 3 1\n"
    assert node.fs.read(f"{log_dir}/recovery-point-offset-checkpoint") == b"0\n1\ntopic 3 0\n"
    assert node.fs.read(f"{log_dir}/log-start-offset-checkpoint") == b"0\n0\n"


def test_high_watermarks_are_written_every_few_seconds_without_waiting_for_the_disk(node: Node) -> None:
    path = f"{node.log_dirs[0]}/replication-offset-checkpoint"
    append(node.create(), b"one")
    node.logs.begin_high_watermark_checkpoint()
    assert not node.fs.exists(path)
    node.logs.checkpoint_high_watermarks()
    assert not node.fs.exists(path), "two writers of one file at a time"
    node.world.run_soon()
    assert read_offsets(node.fs, path) == {PARTITION: 1}
    append(node.log(), b"two")
    node.world.advance(LogManagerSettings().high_watermark_interval_ms)
    assert read_offsets(node.fs, path) == {PARTITION: 2}


def test_a_disk_that_fails_in_the_background_takes_its_directory_offline() -> None:
    class Full(MemoryFileSystem):
        def write_atomically(self, path: str, data: Buffer) -> None:
            if path.endswith("replication-offset-checkpoint"):
                raise OSError(28, "no space left")
            super().write_atomically(path, data)

    node = Node(Full(), ["/data"])
    append(node.create(), b"one")
    node.logs.begin_high_watermark_checkpoint()
    assert not node.logs.is_offline("/data")
    node.world.run_soon()
    assert node.logs.is_offline("/data")


def test_checkpoints_that_are_empty_or_damaged_do_not_prevent_a_start(node: Node) -> None:
    append(node.create(), b"a")
    for name, content in (("recovery-point", b""), ("log-start", b"0\n5\nx"), ("replication", b"\xff")):
        node.fs.write_atomically(f"{node.log_dirs[0]}/{name}-offset-checkpoint", content)
    node.start()
    assert read_records(node.log(), 0) == [(0, b"a")]


def test_logs_go_to_the_directory_that_has_the_fewest() -> None:
    node = Node(MemoryFileSystem(), ["/one", "/two"])
    for number in range(6):
        node.create(TopicPartition("topic", number))
    assert [len(info.logs) for info in node.logs.log_dirs()] == [3, 3]


def test_the_broker_epoch_counts_only_if_all_directories_agree() -> None:
    node = Node(MemoryFileSystem(), ["/one", "/two"])
    node.logs.shutdown(5)
    write_clean_shutdown(node.fs, "/two", 6)
    node.start()
    assert node.logs.previous_broker_epoch == -1


def test_flush_messages_syncs_every_so_many_records(node: Node) -> None:
    node.config = LogConfig(flush_messages=2)
    log = node.create()
    points = []
    for _ in range(4):
        append(log, b"v")
        points.append(log.recovery_point)
    assert points == [0, 2, 2, 4]


def test_flush_ms_syncs_what_has_waited(node: Node) -> None:
    node.config = LogConfig(flush_ms=1000)
    log = node.create()
    append(log, b"v")
    node.world.advance(999)
    node.logs.flush_dirty_logs()
    node.world.run_soon()
    assert log.recovery_point == 0
    node.world.advance(1)
    node.logs.flush_dirty_logs()
    node.world.run_soon()
    assert log.recovery_point == 1
