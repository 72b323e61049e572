"""How a broker's partitions follow the metadata: without keeping others waiting, whatever the disks do."""

from __future__ import annotations

import errno

import pytest

from odradek.broker.replication.catching_up import FOLLOW_SLICE_MS
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from tests.unit.broker.scene import Scene

CREATION_MS = 20.0


class SlowDisk:
    """A clock on which each log's creation takes its time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def now_ms(self) -> int:
        return self._scene.world.now_ms()

    def monotonic_ms(self) -> float:
        return CREATION_MS * len(self._scene.replicas.partitions)


def code_of(scene: Scene, partition: int) -> ErrorCode:
    try:
        scene.replicas.partition(TopicPartition("t", partition)).leader_log()
    except KafkaError as error:
        return error.code
    return ErrorCode.NONE


def test_many_new_partitions_are_made_over_several_turns() -> None:
    scene = Scene()
    scene.replicas.catching_up.clock = SlowDisk(scene)
    scene.create_topic("t", partitions=20)
    first_turn = len(scene.replicas.partitions)
    assert CREATION_MS * first_turn < FOLLOW_SLICE_MS + CREATION_MS
    assert (code_of(scene, 0), code_of(scene, 19)) == (ErrorCode.NONE, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    scene.world.run_soon()
    assert [code_of(scene, index) for index in range(20)] == [ErrorCode.NONE] * 20


def test_a_topic_deleted_while_it_is_being_made_leaves_nothing() -> None:
    scene = Scene()
    scene.replicas.catching_up.clock = SlowDisk(scene)
    topic_id = scene.create_topic("t", partitions=20)
    scene.delete_topic(topic_id)
    scene.world.run_soon()
    assert (list(scene.replicas.partitions), list(scene.logs.logs())) == ([], [])


def test_a_topic_made_again_while_the_first_is_being_made_is_the_second() -> None:
    scene = Scene()
    scene.replicas.catching_up.clock = SlowDisk(scene)
    scene.delete_topic(scene.create_topic("t", partitions=20))
    second = scene.create_topic("t", partitions=10)
    scene.world.run_soon()
    assert {partition.topic_id for partition in scene.replicas.partitions.values()} == {second}
    assert len(scene.replicas.partitions) == 10


def test_nothing_is_made_behind_a_stop() -> None:
    scene = Scene()
    scene.replicas.catching_up.clock = SlowDisk(scene)
    scene.create_topic("t", partitions=20)
    made = len(scene.replicas.partitions)
    scene.logs.shutdown()
    scene.world.run_soon()
    assert len(scene.replicas.partitions) == made


def test_deleting_a_topic_writes_each_checkpoint_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    topic_id = scene.create_topic("t", partitions=50)
    written: list[str] = []
    write = MemoryFileSystem.write_atomically

    def note(files: MemoryFileSystem, path: str, data: bytes) -> None:
        written.append(path)
        write(files, path, data)

    monkeypatch.setattr(MemoryFileSystem, "write_atomically", note)
    scene.delete_topic(topic_id)
    assert len(written) <= 3
    assert list(scene.logs.logs()) == []


def test_a_disk_that_fails_does_not_keep_others_from_following(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    first, _second = scene.create_topic("t"), scene.create_topic("u")

    def fail(_files: MemoryFileSystem, source: str, _target: str) -> None:
        raise OSError(errno.EIO, "input/output error", source)

    monkeypatch.setattr(MemoryFileSystem, "rename", fail)
    scene.delete_topic(first)
    assert TopicPartition("t", 0) not in scene.replicas.partitions
    assert code_of(scene, 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
