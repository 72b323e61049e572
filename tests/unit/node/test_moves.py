"""Replicas that move from one log directory to another under a running node (KIP-113), and through its crashes."""

from __future__ import annotations

import errno
from typing import NamedTuple

import pytest

from odradek.ports.files import Buffer
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopic,
)
from odradek.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopic,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from tests.unit.node.machine import Machine, RunningNode

ONE, TWO, THREE = "/one", "/two", "/three"
T0 = TopicPartition("t", 0)
MANY_MS = 10_000
DELETE_DELAY_MS = 60_000
RATE = "replica.alter.log.dirs.io.max.bytes.per.second"


class Crash(BaseException):
    """The machine is gone."""


class Disks(MemoryFileSystem):
    """Files on disks that can be broken, of a machine that may crash at any change of them."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []
        self.changes_left: int | None = None
        self.crashes_at: str | None = None
        """How the name ends that the machine crashes at when it is changed."""
        self.has_crashed = False

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        if create and not self.exists(path):
            self.change(path)
        self.check(path)
        return DiskFile(self, super().open(path, create=create, read_only=read_only))

    def write_atomically(self, path: str, data: Buffer) -> None:
        self.change(path)
        super().write_atomically(path, data)

    def mkdir(self, path: str) -> None:
        if not self.exists(path):
            self.change(path)
        super().mkdir(path)

    def rename(self, source: str, target: str) -> None:
        self.change(source)
        super().rename(source, target)

    def remove_tree(self, path: str) -> None:
        self.change(path)
        super().remove_tree(path)

    def check(self, path: str) -> None:
        if any(path.startswith(broken) for broken in self.broken):
            raise OSError(errno.EIO, "input/output error", path)

    def change(self, path: str) -> None:
        self.check(path)
        if self.crashes_at is not None and path.endswith(self.crashes_at) and self.exists(path):
            raise Crash
        if self.changes_left is not None:
            if self.changes_left == 0:
                self.has_crashed = True
                raise Crash
            self.changes_left -= 1


class DiskFile(MemoryFile):
    """A file on one of the disks."""

    def __init__(self, disks: Disks, file: MemoryFile) -> None:
        assert file._node is not None
        super().__init__(file.path, file._node, file._read_only)
        self._disks = disks

    def pread(self, size: int, offset: int) -> bytes:
        self._disks.check(self.path)
        return super().pread(size, offset)

    def pwrite(self, data: Buffer, offset: int) -> int:
        self._disks.change(self.path)
        return super().pwrite(data, offset)

    def sync(self) -> None:
        self._disks.check(self.path)
        super().sync()

    def is_warm(self, size: int, offset: int) -> bool:
        return False


class Described(NamedTuple):
    """A replica as DescribeLogDirs has it."""

    log_dir: str
    size: int
    lag: int
    is_future: bool


@pytest.fixture
def disks() -> Disks:
    return Disks()


def machine_on(disks: Disks, log_dirs: str = f"{ONE},{TWO}") -> Machine:
    settings = {"log.dirs": log_dirs, "metadata.log.dir": log_dirs.split(",")[0], "metadata.max.idle.interval.ms": "0"}
    return Machine(disks, settings)


def move(node: RunningNode, log_dir: str, topic: str = "t", partition: int = 0) -> ErrorCode:
    wanted = AlterReplicaLogDirTopic(name=topic, partitions=[partition])
    request = AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDir(path=log_dir, topics=[wanted])])
    response = node.ask(request, AlterReplicaLogDirsResponse)
    ((result,),) = [each.partitions for each in response.results]
    return ErrorCode(result.error_code)


def describe(node: RunningNode, topic: str = "t") -> list[Described]:
    response = node.ask(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
    return [
        Described(result.log_dir, partition.partition_size, partition.offset_lag, partition.is_future_key)
        for result in response.results
        for described in result.topics
        if described.name == topic
        for partition in described.partitions
    ]


def dirs_of(node: RunningNode, topic: str = "t") -> list[str]:
    """The directories of the topic's current replicas."""
    return [each.log_dir for each in describe(node, topic) if not each.is_future]


def assigned(node: RunningNode, topic: str = "t") -> str | None:
    """Where the controller believes the replica to be."""
    image = node.node.controller.loader.image
    (directory,) = image.topics.by_name[topic].partitions[0].directories
    paths = {id_: path for path, id_ in node.node.dirs.directory_ids.items()}
    return paths.get(directory)


def names(disks: Disks, log_dir: str, topic: str = "t") -> list[str]:
    return [name for name in disks.list(log_dir) if name.startswith(topic + "-")]


def filled(node: RunningNode, count: int = 20, size: int = 50_000) -> list[bytes | None]:
    """Topic t in /one with records."""
    assert move(node, ONE) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    node.create_topic("t")
    values: list[bytes | None] = [bytes([number]) * size for number in range(count)]
    for value in values:
        assert value is not None
        assert node.produce("t", value) == ErrorCode.NONE
    assert dirs_of(node) == [ONE]
    return values


def fetch_all(node: RunningNode, offset: int = 0) -> list[bytes | None]:
    """All of partition 0, by as many requests as it takes."""
    values: list[bytes | None] = []
    while True:
        fetched = node.fetch("t", offset + len(values))
        assert isinstance(fetched, list), fetched
        if not fetched:
            return values
        values += fetched


def hold(node: RunningNode, rate: int = 1) -> None:
    """Slow all moves down."""
    config = AlterableConfig(name=RATE, config_operation=0, value=str(rate))
    resource = AlterConfigsResource(resource_type=4, resource_name="", configs=[config])
    (response,) = node.ask(
        IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse
    ).responses
    assert response.error_code == ErrorCode.NONE, response


def delete_topic(node: RunningNode) -> None:
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1000)
    (deleted,) = node.ask(request, DeleteTopicsResponse).responses
    assert deleted.error_code == ErrorCode.NONE


def restarted(machine: Machine, node: RunningNode, *, clean: bool) -> RunningNode:
    if clean:
        node.stop()
    return machine.start()


def test_a_moved_replica_keeps_its_records_and_its_producers(disks: Disks) -> None:
    machine = machine_on(disks)
    node = machine.start()
    values = filled(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [TWO]
    assert assigned(node) == TWO
    assert fetch_all(node) == values
    assert node.produce("t", b"after") == ErrorCode.NONE
    assert names(disks, TWO) == ["t-0"]
    assert [name.endswith("-delete") for name in names(disks, ONE)] == [True]
    node.world.advance(DELETE_DELAY_MS)
    assert names(disks, ONE) == []
    for clean in (True, False):
        node = restarted(machine, node, clean=clean)
        assert dirs_of(node) == [TWO]
        assert fetch_all(node) == [*values, b"after"]


def test_readers_of_the_old_log_get_what_they_were_promised(disks: Disks) -> None:
    node = machine_on(disks).start()
    values = filled(node, count=1)
    request = node.fetch_request("t")
    reply = node.send(request, 12)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(MANY_MS + DELETE_DELAY_MS)
    assert dirs_of(node) == [TWO]
    assert node.answer(reply, request, FetchResponse, 12).responses[0].partitions[0].error_code == ErrorCode.NONE
    assert fetch_all(node) == values


def test_the_future_replica_is_described_with_its_lag(disks: Disks) -> None:
    node = machine_on(disks).start()
    filled(node)
    (before,) = describe(node)
    assert before == Described(ONE, before.size, 0, False)
    hold(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    current, future = describe(node)
    assert current == before
    assert future.log_dir == TWO
    assert future.is_future
    assert 0 < future.lag < 20
    assert 0 < future.size < before.size
    assert assigned(node) == ONE
    (name,) = names(disks, TWO)
    assert name.startswith("t-0.")
    assert name.endswith("-future")
    assert len(name) == len("t-0.") + 32 + len("-future")


def test_writes_go_on_during_a_move(disks: Disks) -> None:
    node = machine_on(disks).start()
    values = filled(node)
    assert move(node, TWO) is ErrorCode.NONE
    for number in range(200):
        assert node.produce("t", b"%d" % number) == ErrorCode.NONE
        values.append(b"%d" % number)
        node.world.advance(20)
    assert dirs_of(node) == [TWO]
    assert fetch_all(node) == values


def test_the_rate_of_moves_is_limited_and_can_be_raised(disks: Disks) -> None:
    node = machine_on(disks).start()
    filled(node)
    size = describe(node)[0].size
    hold(node, rate=size // 20)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(10_000)
    future = describe(node)[1]
    assert size // 3 < future.size < size * 2 // 3
    hold(node, rate=0)
    node.world.advance(60_000)
    assert describe(node)[1].size == future.size
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [TWO]


def test_a_move_is_called_off_by_moving_back(disks: Disks) -> None:
    node = machine_on(disks).start()
    values = filled(node)
    hold(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    assert move(node, ONE) is ErrorCode.NONE
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert [each.log_dir for each in describe(node)] == [ONE]
    assert [name.endswith("-delete") for name in names(disks, TWO)] == [True]
    assert assigned(node) == ONE
    assert fetch_all(node) == values
    node.world.advance(DELETE_DELAY_MS)
    assert names(disks, TWO) == []


def test_a_move_gets_another_target(disks: Disks) -> None:
    node = machine_on(disks, f"{ONE},{TWO},{THREE}").start()
    values = filled(node)
    hold(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    assert move(node, TWO) is ErrorCode.NONE
    assert [each.log_dir for each in describe(node)] == [ONE, TWO]
    assert move(node, THREE) is ErrorCode.NONE
    assert [each.log_dir for each in describe(node)] == [ONE, THREE]
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [THREE]
    assert assigned(node) == THREE
    assert fetch_all(node) == values


def test_a_move_to_where_the_replica_is_changes_nothing(disks: Disks) -> None:
    node = machine_on(disks).start()
    filled(node)
    assert move(node, ONE) is ErrorCode.NONE
    assert len(describe(node)) == 1


def test_a_directory_is_remembered_for_a_partition_that_is_not_here_yet(disks: Disks) -> None:
    node = machine_on(disks).start()
    for number, log_dir in enumerate([TWO, TWO, TWO, ONE]):
        assert move(node, log_dir, f"new{number}") is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        node.create_topic(f"new{number}")
        assert dirs_of(node, f"new{number}") == [log_dir]


def test_what_cannot_be_moved_is_refused(disks: Disks) -> None:
    node = machine_on(disks).start()
    filled(node)
    long = "l" * (255 - len("-0.-future") - 32)
    node.create_topic(long)
    node.create_topic(long + "l")
    assert move(node, "/elsewhere") is ErrorCode.LOG_DIR_NOT_FOUND
    assert move(node, TWO + "/") is ErrorCode.LOG_DIR_NOT_FOUND
    assert move(node, TWO, partition=7) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert move(node, TWO, long + "l") is ErrorCode.INVALID_TOPIC_EXCEPTION
    assert move(node, TWO, long) is ErrorCode.NONE
    disks.broken.append(TWO)
    node.create_topic("x")
    node.create_topic("y")
    assert move(node, TWO) is ErrorCode.KAFKA_STORAGE_ERROR


def test_a_topic_is_deleted_during_its_move(disks: Disks) -> None:
    node = machine_on(disks).start()
    filled(node)
    hold(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    delete_topic(node)
    hold(node, rate=1 << 40)
    assert describe(node) == []
    node.create_topic("t")
    assert node.produce("t", b"another") == ErrorCode.NONE
    node.world.advance(MANY_MS + DELETE_DELAY_MS)
    assert len(describe(node)) == 1
    assert fetch_all(node) == [b"another"]
    assert sorted(names(disks, ONE) + names(disks, TWO)) == ["t-0"]
    assert assigned(node) == dirs_of(node)[0]


def test_deleted_records_stay_deleted(disks: Disks) -> None:
    machine = machine_on(disks)
    node = machine.start()
    values = filled(node)
    hold(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    partition = DeleteRecordsPartition(partition_index=0, offset=15)
    request = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name="t", partitions=[partition])], timeout_ms=1000)
    node.ask(request, DeleteRecordsResponse)
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [TWO]
    assert node.fetch("t", 14) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert fetch_all(node, 15) == values[15:]
    node = restarted(machine, node, clean=True)
    assert node.fetch("t", 14) is ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("clean", [True, False], ids=["stop", "crash"])
def test_a_move_goes_on_after_a_restart(disks: Disks, clean: bool) -> None:
    machine = machine_on(disks)
    node = machine.start()
    values = filled(node)
    hold(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    copied = describe(node)[1].size
    node = restarted(machine, node, clean=clean)
    current, future = describe(node)
    assert (current.log_dir, future.log_dir, future.is_future) == (ONE, TWO, True)
    assert future.size >= copied
    assert fetch_all(node) == values
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [TWO]
    assert fetch_all(node) == values


def test_a_crash_at_any_change_of_a_file_loses_nothing() -> None:
    steps = 0
    while True:
        disks = Disks()
        machine = machine_on(disks)
        node = machine.start()
        values = filled(node, count=5)
        disks.changes_left = steps
        try:
            assert move(node, TWO) is ErrorCode.NONE
            node.world.advance(MANY_MS)
        except Crash:
            pass
        disks.changes_left = None
        node = machine.start()
        assert fetch_all(node) == values, steps
        assert node.produce("t", b"after") == ErrorCode.NONE
        node.world.advance(MANY_MS)
        assert len(describe(node)) == 1, steps
        assert dirs_of(node) == [assigned(node)], steps
        assert fetch_all(node) == [*values, b"after"], steps
        node.world.advance(DELETE_DELAY_MS)
        remaining = [name for name in names(disks, ONE) + names(disks, TWO) if not name.endswith("-stray")]
        assert remaining == ["t-0"], steps
        if not disks.has_crashed:
            assert dirs_of(node) == [TWO]
            assert steps > 15
            return
        steps += 1


def crashed_with_consent(disks: Disks, log_dirs: str = f"{ONE},{TWO}") -> tuple[Machine, list[bytes | None]]:
    """A machine whose node crashed when the controller knew where the replica is going, before it was there."""
    machine = machine_on(disks, log_dirs)
    node = machine.start()
    values = filled(node, count=3)
    disks.crashes_at = "-future"
    assert move(node, TWO) is ErrorCode.NONE
    with pytest.raises(Crash):
        node.world.advance(MANY_MS)
    disks.crashes_at = None
    assert assigned(node) == TWO
    assert names(disks, ONE) == ["t-0"]
    return machine, values


def test_a_copy_that_lacks_records_does_not_replace_the_log_after_a_crash(disks: Disks) -> None:
    """Kafka would let it."""
    machine, values = crashed_with_consent(disks)
    (name,) = names(disks, TWO)
    path = f"{TWO}/{name}/{'0' * 20}.log"
    disks.write_atomically(path, disks.read(path)[:-10])
    node = machine.start()
    assert fetch_all(node) == values
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [TWO]
    assert assigned(node) == TWO
    assert fetch_all(node) == values


def test_a_complete_copy_replaces_the_log_at_the_start_after_a_crash(disks: Disks) -> None:
    machine, values = crashed_with_consent(disks)
    node = machine.start()
    assert [each.log_dir for each in describe(node)] == [TWO]
    assert fetch_all(node) == values


def test_the_copy_is_what_there_is_when_the_old_directory_is_gone(disks: Disks) -> None:
    machine, values = crashed_with_consent(disks, f"{THREE},{ONE},{TWO}")
    disks.broken.append(ONE)
    node = machine.start()
    assert dirs_of(node) == [TWO]
    assert fetch_all(node) == values


def test_the_target_fails_during_a_move(disks: Disks) -> None:
    node = machine_on(disks).start()
    values = filled(node)
    hold(node, rate=1_000_000)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    disks.broken.append(TWO)
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert describe(node) == [Described(ONE, describe(node)[0].size, 0, False)]
    assert fetch_all(node) == values
    assert node.produce("t", b"after") == ErrorCode.NONE
    assert assigned(node) == ONE
    assert node.fatal == []


def test_the_source_fails_during_a_move(disks: Disks) -> None:
    machine = machine_on(disks, f"{THREE},{ONE},{TWO}")
    node = machine.start()
    values = filled(node)
    hold(node, rate=1_000_000)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(100)
    disks.broken.append(ONE)
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert node.produce("t", b"x") == ErrorCode.KAFKA_STORAGE_ERROR
    assert node.fetch("t") is ErrorCode.KAFKA_STORAGE_ERROR
    assert assigned(node) == ONE
    assert move(node, TWO) is ErrorCode.KAFKA_STORAGE_ERROR
    disks.broken.clear()
    node = machine.start()
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [TWO]
    assert fetch_all(node) == values


def test_retention_waits_for_the_end_of_a_move(disks: Disks) -> None:
    machine = machine_on(disks)
    machine.settings["log.retention.check.interval.ms"] = "1000"
    machine.settings["log.initial.task.delay.ms"] = "0"
    machine.settings["log.retention.ms"] = "5000"
    node = machine.start()
    values = filled(node)
    hold(node)
    assert move(node, TWO) is ErrorCode.NONE
    node.world.advance(60_000)
    assert fetch_all(node) == values
    hold(node, rate=1 << 40)
    node.world.advance(MANY_MS)
    assert dirs_of(node) == [TWO]
    assert node.fetch("t", 0) is ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_cordoned_directory_gets_no_replicas(disks: Disks) -> None:
    node = machine_on(disks).start()
    filled(node)
    cordon(node, TWO)
    assert move(node, TWO) is ErrorCode.INVALID_REPLICA_ASSIGNMENT
    response = node.ask(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
    assert [(each.log_dir, each.is_cordoned) for each in response.results] == [(ONE, False), (TWO, True)]
    for number in range(4):
        node.create_topic(f"new{number}")
        assert dirs_of(node, f"new{number}") == [ONE]
    cordon(node, "")
    assert move(node, TWO) is ErrorCode.NONE


def cordon(node: RunningNode, log_dirs: str) -> None:
    config = AlterableConfig(name="cordoned.log.dirs", config_operation=0, value=log_dirs)
    resource = AlterConfigsResource(resource_type=4, resource_name="1", configs=[config])
    (response,) = node.ask(
        IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse
    ).responses
    assert response.error_code == ErrorCode.NONE, response
