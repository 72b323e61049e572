"""Disks that fail under a running node, and before its start (KIP-112)."""

from __future__ import annotations

import errno
from collections.abc import Mapping

import pytest

from odradek.node import StartError
from odradek.ports.files import Buffer
from odradek.storage.memory_files import MemoryFile, MemoryFileSystem
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tests.unit.node.machine import FETCH_VERSION, Machine, RunningNode, commit, committed, find_coordinator

ONE, TWO = "/one", "/two"
PARTITIONS = 4


class Disks(MemoryFileSystem):
    """Directories whose disks can be broken, and repaired."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> MemoryFile:
        self._check(path)
        return BreakableFile(self, super().open(path, create=create, read_only=read_only))

    def list(self, path: str) -> list[str]:
        self._check(path)
        return super().list(path)

    def read(self, path: str) -> bytes:
        self._check(path)
        return super().read(path)

    def write_atomically(self, path: str, data: Buffer) -> None:
        self._check(path)
        super().write_atomically(path, data)

    def rename(self, source: str, target: str) -> None:
        self._check(source)
        super().rename(source, target)

    def _check(self, path: str) -> None:
        if any(path.startswith(broken) for broken in self.broken):
            raise OSError(errno.EIO, "input/output error", path)


class BreakableFile(MemoryFile):
    """A file on one of the disks."""

    def __init__(self, disks: Disks, file: MemoryFile) -> None:
        assert file._node is not None
        super().__init__(file.path, file._node, file._read_only)
        self._disks = disks

    def pread(self, size: int, offset: int) -> bytes:
        self._disks._check(self.path)
        return super().pread(size, offset)

    def pwrite(self, data: Buffer, offset: int) -> int:
        self._disks._check(self.path)
        return super().pwrite(data, offset)

    def sync(self) -> None:
        self._disks._check(self.path)
        super().sync()


@pytest.fixture
def disks() -> Disks:
    return Disks()


def machine_on(disks: Disks, log_dirs: str = f"{ONE},{TWO}") -> Machine:
    return Machine(disks, {"log.dirs": log_dirs, "metadata.log.dir": ONE})


def dir_of(node: RunningNode) -> dict[int, str]:
    """Where each partition of topic t is."""
    response = node.ask(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
    return {
        partition.partition_index: result.log_dir
        for result in response.results
        for topic in result.topics
        if topic.name == "t"
        for partition in topic.partitions
    }


def errors_of_dirs(node: RunningNode) -> Mapping[str, int]:
    response = node.ask(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
    return {result.log_dir: result.error_code for result in response.results}


def online_directories(node: RunningNode) -> int:
    """How many directories the controller believes the broker to have."""
    return len(node.node.controller.loader.image.cluster.brokers[1].directories)


def described(node: RunningNode) -> dict[int, tuple[int, int, tuple[int, ...]]]:
    """What clients are told of each partition of topic t: error, leader, offline replicas."""
    request = MetadataRequest(topics=[MetadataRequestTopic(name="t")], allow_auto_topic_creation=False)
    (topic,) = node.ask(request, MetadataResponse).topics
    return {
        each.partition_index: (each.error_code, each.leader_id, tuple(each.offline_replicas))
        for each in topic.partitions
    }


LED = (ErrorCode.NONE, 1, ())
LEADERLESS = (ErrorCode.LEADER_NOT_AVAILABLE, -1, (1,))


def write_everywhere(node: RunningNode, value: bytes) -> dict[int, ErrorCode]:
    return {partition: node.produce("t", value, partition=partition) for partition in range(PARTITIONS)}


def test_a_failed_directory_takes_its_partitions_offline_and_no_others(disks: Disks) -> None:
    machine = machine_on(disks)
    node = machine.start()
    node.create_topic("t", partitions=PARTITIONS)
    assert set(write_everywhere(node, b"before").values()) == {ErrorCode.NONE}
    where = dir_of(node)
    assert set(where.values()) == {ONE, TWO}

    disks.broken.append(TWO)
    for _ in range(2):
        for partition, code in write_everywhere(node, b"after").items():
            assert code == (ErrorCode.NONE if where[partition] == ONE else ErrorCode.KAFKA_STORAGE_ERROR)
    for partition, directory in where.items():
        fetched = node.fetch("t", partition=partition)
        expected = [b"before", b"after", b"after"] if directory == ONE else ErrorCode.KAFKA_STORAGE_ERROR
        assert fetched == expected
    assert errors_of_dirs(node) == {ONE: ErrorCode.NONE, TWO: ErrorCode.KAFKA_STORAGE_ERROR}
    assert node.fatal == []
    node.create_topic("new")
    assert node.produce("new", b"x") == ErrorCode.NONE


def test_the_controller_hears_of_a_failed_directory(disks: Disks) -> None:
    node = machine_on(disks).start()
    node.create_topic("t", partitions=PARTITIONS)
    assert online_directories(node) == 2
    disks.broken.append(TWO)
    write_everywhere(node, b"x")
    node.world.advance(100)
    assert online_directories(node) == 1


def test_what_a_failed_directory_holds_has_no_leader_until_a_start_finds_it_repaired(disks: Disks) -> None:
    machine = machine_on(disks)
    node = machine.start()
    node.create_topic("t", partitions=PARTITIONS)
    where = dir_of(node)
    node.world.advance(100)
    assert set(described(node).values()) == {LED}

    disks.broken.append(TWO)
    write_everywhere(node, b"x")
    node.world.advance(100)
    expected = {partition: LED if directory == ONE else LEADERLESS for partition, directory in where.items()}
    assert described(node) == expected
    codes = write_everywhere(node, b"y")
    assert {partition for partition, code in codes.items() if code == ErrorCode.KAFKA_STORAGE_ERROR} == {
        partition for partition, directory in where.items() if directory == TWO
    }

    node = machine.start()
    assert described(node) == expected
    disks.broken.clear()
    node = machine.start()
    assert set(described(node).values()) == {LED}
    assert set(write_everywhere(node, b"z").values()) == {ErrorCode.NONE}


def test_the_controller_knows_where_every_replica_is_also_after_a_crash(disks: Disks) -> None:
    machine = machine_on(disks)
    node = machine.start()
    topic_id = node.create_topic("t", partitions=PARTITIONS)
    for boot in range(2):
        node.world.advance(100)
        ids = node.node.dirs.directory_ids
        partitions = node.node.controller.loader.image.topics.by_id[topic_id].partitions
        assert {index: image.directories for index, image in partitions.items()} == {
            index: (ids[directory],) for index, directory in dir_of(node).items()
        }
        if boot == 0:
            node = machine.start()


def test_a_topic_deleted_while_its_directory_was_away_is_set_aside_and_not_taken_for_a_new_one(disks: Disks) -> None:
    machine = machine_on(disks)
    node = machine.start()
    node.create_topic("t", partitions=PARTITIONS)
    write_everywhere(node, b"old")
    strays = sorted(f"t-{partition}" for partition, directory in dir_of(node).items() if directory == TWO)
    disks.broken.append(TWO)
    write_everywhere(node, b"x")
    node.ask(DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1000), DeleteTopicsResponse)
    node.create_topic("t", partitions=PARTITIONS)
    write_everywhere(node, b"new")
    node.stop()

    disks.broken.clear()
    for _ in range(2):
        node = machine.start()
        assert [node.fetch("t", partition=partition) for partition in range(PARTITIONS)] == [[b"new"]] * PARTITIONS
        names = [name for name in disks.list(TWO) if name.endswith("-stray")]
        assert [name.partition(".")[0] for name in names] == strays
        assert all(disks.size(f"{TWO}/{name}/{0:020d}.log") for name in names)


@pytest.mark.parametrize("lost", ["", ".log"])
def test_of_two_directories_that_have_a_partition_the_controllers_counts_unless_it_has_less(
    disks: Disks, lost: str
) -> None:
    machine = machine_on(disks)
    node = machine.start()
    node.create_topic("t", partitions=PARTITIONS)
    node.produce("t", b"x")
    directory = dir_of(node)[0]
    other = TWO if directory == ONE else ONE
    node.stop()
    disks.mkdir(f"{other}/t-0")
    for name in disks.list(f"{directory}/t-0"):
        path = f"{directory}/t-0/{name}"
        disks.write_atomically(f"{other}/t-0/{name}", disks.read(path))
        if lost and name.endswith(lost):
            disks.write_atomically(path, b"")
    node = machine.start()
    chosen, left = (other, directory) if lost else (directory, other)
    assert dir_of(node)[0] == chosen
    assert node.fetch("t") == [b"x"]
    assert [name[-6:] for name in disks.list(left) if name.startswith("t-0")] == ["-stray"]


def test_a_waiting_fetch_hears_of_the_failure_at_once(disks: Disks) -> None:
    node = machine_on(disks).start()
    node.create_topic("t", partitions=PARTITIONS)
    partition = next(partition for partition, directory in dir_of(node).items() if directory == TWO)
    request = node.fetch_request("t", partition=partition, max_wait_ms=30_000)
    waiting = node.send(request, FETCH_VERSION)
    disks.broken.append(TWO)
    write_everywhere(node, b"x")
    before_ms = node.world.monotonic_ms()
    response = node.answer(waiting, request, FetchResponse, FETCH_VERSION)
    assert response.responses[0].partitions[0].error_code == ErrorCode.KAFKA_STORAGE_ERROR
    assert node.world.monotonic_ms() - before_ms < 1000


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_directory_that_is_broken_at_the_start_keeps_its_records_until_it_is_repaired(
    disks: Disks, is_clean: bool
) -> None:
    machine = machine_on(disks)
    node = machine.start()
    node.create_topic("t", partitions=PARTITIONS)
    write_everywhere(node, b"before")
    where = dir_of(node)
    if is_clean:
        node.stop()

    disks.broken.append(TWO)
    node = machine.start()
    for partition, directory in where.items():
        expected = [b"before"] if directory == ONE else ErrorCode.KAFKA_STORAGE_ERROR
        assert node.fetch("t", partition=partition) == expected
    assert online_directories(node) == 1
    node.create_topic("new")
    assert node.produce("new", b"x") == ErrorCode.NONE
    node.stop()

    disks.broken.clear()
    node = machine.start()
    for partition in where:
        assert node.fetch("t", partition=partition) == [b"before"]
    assert online_directories(node) == 2


def test_a_directory_that_cannot_say_whose_it_is_stays_offline(disks: Disks) -> None:
    machine = machine_on(disks)
    node = machine.start()
    node.create_topic("t", partitions=PARTITIONS)
    where = dir_of(node)
    disks.broken.append(f"{TWO}/meta.properties")
    node = machine.start()
    for partition, code in write_everywhere(node, b"x").items():
        assert code == (ErrorCode.NONE if where[partition] == ONE else ErrorCode.KAFKA_STORAGE_ERROR)
    assert online_directories(node) == 1


def test_groups_on_the_other_directories_go_on(disks: Disks) -> None:
    node = machine_on(disks).start()
    node.create_topic("t", partitions=PARTITIONS)
    groups = [f"group{number}" for number in range(20)]
    for group in groups:
        find_coordinator(node, group)
        assert commit(node, group, "t", 1) == ErrorCode.NONE
    disks.broken.append(TWO)
    codes = [commit(node, group, "t", 2) for group in groups]
    assert set(codes) == {ErrorCode.NONE, ErrorCode.NOT_COORDINATOR}
    for group, code in zip(groups, codes, strict=True):
        if code == ErrorCode.NONE:
            assert committed(node, group, "t") == 2


def test_a_topic_with_offline_partitions_can_be_deleted_and_reconfigured(disks: Disks) -> None:
    node = machine_on(disks).start()
    node.create_topic("t", partitions=PARTITIONS)
    disks.broken.append(TWO)
    write_everywhere(node, b"x")
    request = DeleteTopicsRequest(topics=[DeleteTopicState(name="t")], timeout_ms=1000)
    response = node.ask(request, DeleteTopicsResponse)
    assert response.responses[0].error_code == ErrorCode.NONE
    node.create_topic("t", partitions=PARTITIONS)
    assert set(write_everywhere(node, b"y").values()) == {ErrorCode.NONE}


def test_the_failure_of_the_metadata_logs_directory_stops_the_node(disks: Disks) -> None:
    node = machine_on(disks).start()
    node.create_topic("t", partitions=PARTITIONS)
    disks.broken.append(ONE)
    write_everywhere(node, b"x")
    assert isinstance(node.fatal[0], StartError)
    assert ONE in str(node.fatal[0])
    assert "metadata log" in str(node.fatal[0])


def test_the_failure_of_the_last_directory_stops_the_node(disks: Disks) -> None:
    machine = Machine(disks, {"log.dirs": f"{ONE},{TWO}", "metadata.log.dir": "/metadata"})
    node = machine.start()
    node.create_topic("t", partitions=PARTITIONS)
    disks.broken.append(ONE)
    write_everywhere(node, b"x")
    assert node.fatal == []
    disks.broken.append(TWO)
    write_everywhere(node, b"x")
    assert "last log directory" in str(node.fatal[0])
    assert "\n" not in str(node.fatal[0])


def test_a_node_does_not_start_without_a_log_directory(disks: Disks) -> None:
    machine = Machine(disks, {"log.dirs": ONE, "metadata.log.dir": "/metadata"})
    machine.start().stop()
    disks.broken.append(ONE)
    with pytest.raises(KafkaError, match=r"no log directory can be used .*input/output error"):
        machine.start()


def test_a_node_does_not_start_without_its_metadata_log(disks: Disks) -> None:
    machine = machine_on(disks)
    machine.start().stop()
    disks.broken.append(ONE)
    with pytest.raises(StartError, match=r"the data directory cannot be used: .*/one/meta.properties"):
        machine.start()


def test_the_first_start_wants_all_directories(disks: Disks) -> None:
    disks.broken.append(TWO)
    with pytest.raises(StartError, match="cannot be used"):
        machine_on(disks).start()
