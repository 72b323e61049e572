"""A broker with two log directories: where replicas are put, and how they are moved from one to the other (KIP-113)."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

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
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from tests.support.apache import Unavailable, require, tools_libs
from tests.support.batches import batch, batches
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import code, connect, create_topic, fetch, fetch_request, list_offset, metadata, produce
from tests.support.wire import Connection

pytestmark = pytest.mark.owns_broker

SETTINGS = {
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
    # Apache Kafka removes the files of deleted logs from then on.
    "log.initial.task.delay.ms": "500",
    "log.retention.ms": "-1",
}
RATE = "replica.alter.log.dirs.io.max.bytes.per.second"
TOOL_TIMEOUT_S = 60.0


class Replica(NamedTuple):
    log_dir: str
    size: int
    lag: int
    is_future: bool


class Node:
    """A broker with two directories, and a connection to it."""

    def __init__(self, broker: BrokerProcess, one: Path, two: Path) -> None:
        self.broker = broker
        self.one = str(one)
        self.two = str(two)
        self.connection = connect(broker)

    def move(self, log_dir: str, *topics: str, partitions: tuple[int, ...] = (0,)) -> list[str]:
        """Ask replicas into a directory; the error of each."""
        wanted = [AlterReplicaLogDirTopic(name=topic, partitions=list(partitions)) for topic in topics]
        request = AlterReplicaLogDirsRequest(dirs=[AlterReplicaLogDir(path=log_dir, topics=wanted)])
        answer = self.connection.call(request, AlterReplicaLogDirsResponse)
        found = {
            (result.topic_name, partition.partition_index): code(partition.error_code)
            for result in answer.results
            for partition in result.partitions
        }
        return [found[topic, index] for topic in topics for index in partitions]

    def replicas(self, topic: str) -> list[Replica]:
        """What DescribeLogDirs tells of a topic."""
        answer = self.connection.call(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
        assert [result.log_dir for result in answer.results] == [self.one, self.two]
        return [
            Replica(result.log_dir, partition.partition_size, partition.offset_lag, partition.is_future_key)
            for result in answer.results
            for described in result.topics
            if described.name == topic
            for partition in described.partitions
        ]

    def create(self, topic: str, log_dir: str) -> None:
        """Create a topic in this directory."""
        assert self.move(log_dir, topic) == ["UNKNOWN_TOPIC_OR_PARTITION"]
        create_topic(self.connection, topic)
        assert [replica.log_dir for replica in self.replicas(topic)] == [log_dir]

    def set_rate(self, bytes_per_second: int | None) -> None:
        self.set_config("", RATE, None if bytes_per_second is None else str(bytes_per_second))

    def set_config(self, broker: str, name: str, value: str | None) -> None:
        config = AlterableConfig(name=name, config_operation=0 if value is not None else 1, value=value)
        resource = AlterConfigsResource(resource_type=4, resource_name=broker, configs=[config])
        request = IncrementalAlterConfigsRequest(resources=[resource])
        (result,) = self.connection.call(request, IncrementalAlterConfigsResponse).responses
        assert code(result.error_code) == "NONE", result.error_message

    def is_in(self, topic: str, log_dir: str) -> bool:
        """Whether the topic's only replica is there, and no other is on its way."""
        replicas = self.replicas(topic)
        return [(replica.log_dir, replica.is_future) for replica in replicas] == [(log_dir, False)]

    def await_in(self, topic: str, log_dir: str) -> None:
        wait_for(lambda: self.is_in(topic, log_dir), f"{topic} is in {log_dir}", 30.0)


@pytest.fixture
def node(own_broker: Callable[..., BrokerProcess], tmp_path: Path) -> Iterator[Node]:
    one, two = tmp_path / "one", tmp_path / "two"
    opened = Node(own_broker({**SETTINGS, "log.dirs": f"{one},{two}"}), one, two)
    yield opened
    opened.connection.close()


def values_of(connection: Connection, topic: str, offset: int = 0) -> list[bytes | None]:
    """All values from an offset on."""
    values: list[bytes | None] = []
    end = list_offset(connection, topic, -1).offset
    while offset + len(values) < end:
        answer = fetch(connection, fetch_request(topic, offset + len(values), partition_max_bytes=1 << 24))
        assert code(answer.error_code) == "NONE"
        for stored in batches(answer.records):
            assert stored.base_offset == offset + len(values)
            assert stored.crc_is_right
            values += stored.values
    return values


def fill(node: Node, topic: str, *, batches_of_10_kb: int) -> list[bytes | None]:
    values: list[bytes | None] = []
    for number in range(batches_of_10_kb):
        value = b"%06d" % number * 1700
        assert code(produce(node.connection, topic, batch([value])).error_code) == "NONE"
        values.append(value)
    return values


def test_replicas_are_put_where_the_fewest_are(node: Node, unique: Callable[[str], str]) -> None:
    """Also those of partitions that come later."""
    topic = unique("topic")
    create_topic(node.connection, topic, 4)
    assert sorted(replica.log_dir for replica in node.replicas(topic)) == [node.one] * 2 + [node.two] * 2


def test_a_replica_is_moved_and_its_records_stay(node: Node, unique: Callable[[str], str]) -> None:
    """Also through a restart, and with producers and readers that know nothing of it."""
    topic = unique("topic")
    node.create(topic, node.one)
    values = fill(node, topic, batches_of_10_kb=300)
    written: list[bytes | None] = []
    stop = threading.Event()

    def write() -> None:
        with connect(node.broker) as connection:
            while not stop.is_set():
                value = b"during the move %d" % len(written)
                assert code(produce(connection, topic, batch([value])).error_code) == "NONE"
                written.append(value)

    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: len(written) > 10, "writes")
    try:
        assert node.move(node.two, topic) == ["NONE"]
        while not node.is_in(topic, node.two):
            assert values_of(node.connection, topic)[: len(values)] == values
    finally:
        count = len(written)
        wait_for(lambda: len(written) > count + 10 or not writer.is_alive(), "more writes")
        stop.set()
        writer.join(20)
    assert values_of(node.connection, topic) == values + written
    assert node.move(node.two, topic) == ["NONE"]
    names = {path.name for path in (Path(node.two) / f"{topic}-0").iterdir()}
    assert {"00000000000000000000.log", "partition.metadata", "leader-epoch-checkpoint"} <= names
    wait_for(lambda: not any(Path(node.one).glob(f"{topic}*")), "the old log is removed", 60.0)
    node.connection.close()
    node.broker.restart()
    node.connection = connect(node.broker)
    wait_for(lambda: metadata(node.connection, topic).error_code == 0, "the topic is there")
    node.await_in(topic, node.two)
    assert values_of(node.connection, topic) == values + written


def test_a_future_replica_is_described_until_the_move_is_called_off(node: Node, unique: Callable[[str], str]) -> None:
    """It has a directory whose name ends in -future, a lag, and a size of its own; moving back ends it."""
    topic = unique("topic")
    node.create(topic, node.one)
    values = fill(node, topic, batches_of_10_kb=300)
    node.set_rate(1)
    assert node.move(node.two, topic) == ["NONE"]
    current, future = node.replicas(topic)
    assert current == Replica(node.one, current.size, 0, False)
    assert future.log_dir == node.two
    assert future.is_future
    assert 0 < future.lag <= 300
    assert future.size < current.size
    (directory,) = Path(node.two).glob(f"{topic}*")
    stem, _, unique_id = directory.name.removesuffix("-future").rpartition(".")
    assert directory.name.endswith("-future")
    assert (stem, len(unique_id)) == (f"{topic}-0", 32)
    assert node.move(node.two, topic) == ["NONE"]
    assert len(node.replicas(topic)) == 2
    assert node.move(node.one, topic) == ["NONE"]
    assert node.is_in(topic, node.one)
    node.set_rate(None)
    wait_for(lambda: not any(Path(node.two).glob(f"{topic}*")), "the copy is removed", 60.0)
    assert values_of(node.connection, topic) == values


def test_a_move_that_a_kill_interrupts_goes_on(node: Node, unique: Callable[[str], str]) -> None:
    """The future log is found by its name."""
    topic = unique("topic")
    node.create(topic, node.one)
    values = fill(node, topic, batches_of_10_kb=300)
    node.set_rate(1)
    assert node.move(node.two, topic) == ["NONE"]
    node.connection.close()
    node.broker.restart(kill=True)
    node.connection = connect(node.broker)
    wait_for(lambda: len(node.replicas(topic)) == 2, "the future replica is there", 30.0)
    node.set_rate(None)
    node.await_in(topic, node.two)
    assert values_of(node.connection, topic) == values


def test_deleted_records_and_a_deleted_topic_during_a_move(node: Node, unique: Callable[[str], str]) -> None:
    """The answer to DeleteRecords waits for the future replica, too."""
    topic, doomed = unique("topic"), unique("doomed")
    node.create(topic, node.one)
    node.create(doomed, node.one)
    values = fill(node, topic, batches_of_10_kb=150)
    fill(node, doomed, batches_of_10_kb=150)
    node.set_rate(1)
    assert node.move(node.two, topic, doomed) == ["NONE", "NONE"]
    partition = DeleteRecordsPartition(partition_index=0, offset=100)
    deletion = DeleteRecordsRequest(topics=[DeleteRecordsTopic(name=topic, partitions=[partition])], timeout_ms=100)
    (result,) = node.connection.call(deletion, DeleteRecordsResponse).topics[0].partitions
    assert (code(result.error_code), result.low_watermark) == ("REQUEST_TIMED_OUT", 0)
    assert list_offset(node.connection, topic, -2).offset == 100
    deletion.timeout_ms = 20_000
    waiting = connect(node.broker)
    correlation_id = waiting.send(deletion, 2)
    delete = DeleteTopicsRequest(topics=[DeleteTopicState(name=doomed)], timeout_ms=10_000)
    node.connection.call(delete, DeleteTopicsResponse)
    wait_for(lambda: node.replicas(doomed) == [], "the topic is gone")
    node.set_rate(None)
    node.await_in(topic, node.two)
    # Apache Kafka looks at who waits for a partition when something is written to it.
    values += fill(node, topic, batches_of_10_kb=1)
    (result,) = waiting.receive(DeleteRecordsResponse, 2, correlation_id).topics[0].partitions
    assert (code(result.error_code), result.low_watermark) == ("NONE", 100)
    waiting.close()
    assert list_offset(node.connection, topic, -2).offset == 100
    assert values_of(node.connection, topic, 100) == values[100:]
    for log_dir in (node.one, node.two):
        wait_for(lambda log_dir=log_dir: not any(Path(log_dir).glob(f"{doomed}*")), "its files are gone", 60.0)  # type: ignore[misc] # bound now


def test_what_cannot_be_moved(node: Node, unique: Callable[[str], str]) -> None:
    """Errors, and in which order they are looked for."""
    topic, missing = unique("topic"), unique("missing")
    node.create(topic, node.one)
    longest = "x" * (255 - len("-0.-future") - 32)
    create_topic(node.connection, longest)
    create_topic(node.connection, longest + "x")
    assert node.move("/no/such", topic, missing) == ["LOG_DIR_NOT_FOUND"] * 2
    assert node.move(node.two + "/", topic) == ["LOG_DIR_NOT_FOUND"]
    assert node.move("", topic) == ["LOG_DIR_NOT_FOUND"]
    assert node.move("/no/such", longest + "x") == ["INVALID_TOPIC_EXCEPTION"]
    assert node.move(node.two, topic, partitions=(0, 1, -1)) == ["NONE", *["UNKNOWN_TOPIC_OR_PARTITION"] * 2]
    for log_dir in (node.one, node.two):
        assert node.move(log_dir, longest) == ["NONE"]
    node.await_in(topic, node.two)


def test_of_two_wishes_in_one_request_the_last_counts(node: Node, unique: Callable[[str], str]) -> None:
    topic = unique("topic")
    node.create(topic, node.one)
    wanted = [AlterReplicaLogDirTopic(name=topic, partitions=[0])]
    request = AlterReplicaLogDirsRequest(
        dirs=[AlterReplicaLogDir(path=path, topics=wanted) for path in ("/no/such", node.two)]
    )
    answer = node.connection.call(request, AlterReplicaLogDirsResponse)
    assert [[code(each.error_code) for each in result.partitions] for result in answer.results] == [["NONE"]]
    node.await_in(topic, node.two)


def test_a_cordoned_directory_gets_no_replicas(node: Node, unique: Callable[[str], str]) -> None:
    """KIP-1066: neither new ones nor moved ones; what is there stays."""
    topic = unique("topic")
    node.create(topic, node.one)
    node.set_config("1", "cordoned.log.dirs", node.two)

    def cordoned() -> list[bool]:
        answer = node.connection.call(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)
        return [result.is_cordoned for result in answer.results]

    wait_for(lambda: cordoned() == [False, True], "the directory is cordoned")
    assert node.move(node.two, topic) == ["INVALID_REPLICA_ASSIGNMENT"]
    another = unique("another")
    create_topic(node.connection, another, 3)
    assert [replica.log_dir for replica in node.replicas(another)] == [node.one] * 3
    node.set_config("1", "cordoned.log.dirs", "*")
    wait_for(lambda: cordoned() == [True, True], "both directories are cordoned")
    node.set_config("1", "cordoned.log.dirs", None)
    wait_for(lambda: cordoned() == [False, False], "no directory is cordoned")
    assert node.move(node.two, topic) == ["NONE"]
    node.await_in(topic, node.two)


def test_kafkas_reassignment_tool_moves_a_replica(node: Node, unique: Callable[[str], str], tmp_path: Path) -> None:
    """`--execute` with log directories, then `--verify` until it is done."""
    try:
        require("java")
        libs = tools_libs()
    except Unavailable as missing:
        pytest.skip(f"Apache Kafka's tools cannot be run: {missing}")
    topic = unique("topic")
    node.create(topic, node.one)
    values = fill(node, topic, batches_of_10_kb=50)
    plan = {"topic": topic, "partition": 0, "replicas": [1], "log_dirs": [node.two]}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"version": 1, "partitions": [plan]}))

    def tool(action: str) -> str:
        command = ["java", "-cp", f"{libs}/*", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"]
        command += ["--bootstrap-server", node.broker.bootstrap, "--reassignment-json-file", str(path), action]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Successfully started moving log directory" in tool("--execute")
    node.await_in(topic, node.two)
    assert f"Reassignment of replica {topic}-0-1 completed successfully." in tool("--verify")
    assert values_of(node.connection, topic) == values
