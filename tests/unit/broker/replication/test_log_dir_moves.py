"""Moves between log directories: when the controller is asked, what it is told in the end, and who waits for whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.broker.api.delete_records import DeleteRecordsApi
from odradek.broker.replication.copying import CopyThrottle
from odradek.broker.replication.log_dir_moves import WAIT_MS, LogDirMoves, MovePorts
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.ports import Promise
from odradek.server.handlers import call
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from tests.unit.broker.scene import NODE_ID, Scene
from tests.unit.storage.support import read_records

ONE, TWO, THREE = "/one", "/two", "/three"
T0 = TopicPartition("t", 0)
U0 = TopicPartition("u", 0)


class SyncedFiles(MemoryFileSystem):
    """Files that know how much of them is synced, and where they were at each rename of a directory."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: dict[str, int] = {}
        self.synced_at_rename: list[tuple[str, int]] = []

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        file = super().open(path, create=create, read_only=read_only)
        assert file._node is not None
        return SyncedFile(self, MemoryFile(path, file._node, read_only))

    def rename(self, source: str, target: str) -> None:
        if self.is_dir(source):
            self.synced_at_rename.append((source, self.synced.get(f"{source}/{'0' * 20}.log", 0)))
        super().rename(source, target)


class SyncedFile(MemoryFile):
    def __init__(self, files: SyncedFiles, file: MemoryFile) -> None:
        assert file._node is not None
        super().__init__(file.path, file._node, read_only=False)
        self._files = files

    def sync(self) -> None:
        self._files.synced[self.path] = self.size()


class Moving(Scene):
    """A broker with three directories, whose controller answers when the test says."""

    def __init__(self, max_running: int = 3) -> None:
        super().__init__()
        world = self.world
        self.files = SyncedFiles()
        self.logs = LogManager(self.files, world, world, world, world, [ONE, TWO, THREE])
        self.logs.load(lambda _topic: LogConfig())
        self.replicas = ReplicaManager(
            node_id=NODE_ID, logs=self.logs, clock=world, scheduler=world,
            log_config_of=lambda _image, name: self._log_config(name),
        )  # fmt: skip
        self.asked: list[tuple[str, Callable[[], None]]] = []
        self.moves = LogDirMoves(
            self.replicas,
            MovePorts(world, world, world),
            self._assign,
            CopyThrottle(world, lambda: 1 << 60),
            max_running,
        )

    def _assign(self, _partition: Partition, log_dir: str, on_noted: Callable[[], None]) -> None:
        self.asked.append((log_dir, on_noted))

    def topic(self, name: str = "t") -> bytes:
        """A topic in /one with a record."""
        self.logs.choice.prefer(TopicPartition(name, 0), ONE)
        topic_id = self.create_topic(name)
        self.append(name, b"a")
        return topic_id

    def told(self) -> list[str]:
        """The directories that the controller was told of."""
        return [log_dir for log_dir, _noted in self.asked]

    def note(self) -> None:
        """The controller has noted the latest."""
        self.asked[-1][1]()
        self.world.advance(0)

    def dir_of(self, name: TopicPartition = T0) -> str:
        return self.replicas.partition(name).local_log().log_dir


@pytest.fixture
def scene() -> Moving:
    return Moving()


def test_a_log_is_replaced_once_the_controller_knows_and_nothing_is_left_to_copy(scene: Moving) -> None:
    scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(10_000)
    assert scene.told() == [TWO]
    assert scene.moves.is_assigned_ahead(T0)
    assert scene.dir_of() == ONE
    scene.append("t", b"b")
    scene.note()
    assert scene.dir_of() == TWO
    assert not scene.moves.is_assigned_ahead(T0)
    assert scene.told() == [TWO]
    assert [value for _, value in read_records(scene.replicas.partition(T0).local_log(), 0)] == [b"a", b"b"]


def test_the_controller_hears_of_a_move_that_is_called_off_only_if_it_was_asked() -> None:
    scene = Moving(max_running=1)
    scene.topic()
    scene.topic("u")
    scene.moves.alter(T0, TWO)
    scene.moves.alter(U0, TWO)
    scene.moves.alter(U0, ONE)
    scene.world.advance(1000)
    assert scene.told() == [TWO]
    scene.moves.alter(T0, ONE)
    assert scene.told() == [TWO, ONE]
    scene.asked[0][1]()
    scene.world.advance(1000)
    assert (scene.dir_of(), scene.dir_of(U0)) == (ONE, ONE)


def test_a_deleted_topics_move_ends_and_does_not_concern_the_next_of_its_name(scene: Moving) -> None:
    topic_id = scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(WAIT_MS // 2)
    scene.delete_topic(topic_id)
    assert not scene.moves.is_assigned_ahead(T0)
    scene.topic()
    scene.asked[0][1]()
    scene.world.advance(10_000)
    assert scene.dir_of() == ONE
    assert scene.told() == [TWO]
    assert scene.logs.future.get(T0) is None


def test_a_partition_that_fails_while_the_controller_is_asked_stays_where_it_was(scene: Moving) -> None:
    scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    scene.logs.fail_dir(ONE, OSError("broken"))
    scene.replicas.dir_failed()
    scene.note()
    assert scene.told() == [TWO, ONE]
    assert scene.replicas.partition(T0).log is None
    with pytest.raises(KafkaError) as raised:
        scene.moves.alter(T0, THREE)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR


def test_nothing_is_moved_while_a_directory_is_offline(scene: Moving) -> None:
    """It may have a future log of the partition."""
    scene.topic()
    scene.logs.fail_dir(THREE, OSError("broken"))
    with pytest.raises(KafkaError) as raised:
        scene.moves.alter(T0, TWO)
    assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    scene.moves.alter(T0, ONE)


def test_a_move_ends_with_its_target(scene: Moving) -> None:
    scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    scene.logs.fail_dir(TWO, OSError("broken"))
    scene.world.advance(1000)
    assert scene.logs.future.get(T0) is None
    assert scene.told() == [TWO, ONE]
    assert scene.dir_of() == ONE


def test_moves_wait_for_each_other() -> None:
    scene = Moving(max_running=1)
    scene.topic()
    scene.topic("u")
    scene.moves.alter(T0, TWO)
    scene.moves.alter(U0, THREE)
    scene.world.advance(1000)
    assert scene.told() == [TWO]
    scene.note()
    assert scene.told() == [TWO, THREE]
    scene.note()
    assert (scene.dir_of(), scene.dir_of(U0)) == (TWO, THREE)


@pytest.mark.parametrize("is_flushed", [True, False])
def test_a_copy_is_synced_before_it_takes_its_place(scene: Moving, is_flushed: bool) -> None:
    """A log that was recovered may be safe from a power cut beyond its recovery point."""
    scene.topic()
    log = scene.replicas.partition(T0).local_log()
    if is_flushed:
        log.flush()
    size = log.size_bytes
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    scene.note()
    assert scene.dir_of() == TWO
    (renamed,) = [synced for source, synced in scene.files.synced_at_rename if source.endswith("-future")]
    assert renamed == size


def test_what_is_synced_of_the_log_meanwhile_is_synced_of_the_copy(scene: Moving) -> None:
    scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    scene.append("t", b"b")
    log = scene.replicas.partition(T0).local_log()
    log.flush()
    size = log.size_bytes
    scene.note()
    (renamed,) = [synced for source, synced in scene.files.synced_at_rename if source.endswith("-future")]
    assert renamed == size


def test_a_log_that_is_truncated_while_the_controller_is_asked_is_moved_as_it_is(scene: Moving) -> None:
    scene.topic()
    scene.append("t", b"b")
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    scene.logs.truncate_to({T0: 1})
    scene.note()
    assert scene.dir_of() == TWO
    assert read_records(scene.replicas.partition(T0).local_log(), 0) == [(0, b"a")]


def test_the_old_log_stays_until_the_new_ones_name_is_safe(scene: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)

    def broken(_path: str) -> None:
        raise OSError("broken")

    monkeypatch.setattr(scene.files, "sync_dir", broken)
    scene.note()
    scene.world.advance(1_000_000)
    assert [name[-7:] for name in scene.files.list(ONE) if name.startswith("t-0")] == ["-delete"]


def test_what_the_metadata_log_knows_of_epochs_and_settings_is_taken_over(scene: Moving) -> None:
    scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    scene.replicas.partition(T0).local_log().assign_epoch(5, 1)
    scene.topic_configs["t"] = {"retention.ms": "1234"}
    scene.replicas.apply_topic_configs(["t"])
    future = scene.logs.future.get(T0)
    assert future is not None
    assert future.config.retention_ms == 1234
    scene.note()
    log = scene.replicas.partition(T0).local_log()
    assert log.log_dir == TWO
    assert log.leader_epochs.entries() == [(0, 0), (5, 1)]


def test_deleting_records_waits_for_the_copy_and_not_for_the_moves_end(scene: Moving) -> None:
    scene.topic()
    scene.append("t", b"b")
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    answer = delete_records(scene, 1, timeout_ms=30_000)
    assert not answer.done
    scene.world.advance(WAIT_MS + 1)
    (result,) = answer.result().topics[0].partitions
    assert (result.error_code, result.low_watermark) == (ErrorCode.NONE, 1)
    assert scene.dir_of() == ONE


def test_deleting_records_waits_no_longer_than_asked(scene: Moving) -> None:
    scene.topic()
    scene.moves.alter(T0, TWO)
    scene.world.advance(0)
    answer = delete_records(scene, 1, timeout_ms=10)
    scene.world.advance(11)
    (result,) = answer.result().topics[0].partitions
    assert (result.error_code, result.low_watermark) == (ErrorCode.REQUEST_TIMED_OUT, 0)
    answer = delete_records(scene, 1, timeout_ms=30_000)
    scene.moves.alter(T0, ONE)
    scene.world.advance(0)
    (result,) = answer.result().topics[0].partitions
    assert (result.error_code, result.low_watermark) == (ErrorCode.NONE, 1)


def delete_records(scene: Moving, offset: int, timeout_ms: int) -> Promise[DeleteRecordsResponse]:
    handler = DeleteRecordsApi(scene.replicas).handler()
    partition = DeleteRecordsPartition(partition_index=0, offset=offset)
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name="t", partitions=[partition])], timeout_ms=timeout_ms)
    answer = call(handler, scene.context(handler, 2), request)
    assert isinstance(answer, Promise)
    scene.world.advance(0)
    return answer  # type: ignore[return-value] # a promise of this API's response
