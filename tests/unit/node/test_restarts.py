"""What a node keeps from one start to the next, and whose directories it refuses."""

from __future__ import annotations

import json

import pytest

from odradek.config import parse_properties
from odradek.metadata.delta import MetadataDelta
from odradek.node import StartError
from odradek.ports import spawn
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.broker_registration import BrokerRegistrationRequest
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
from tests.unit.broker.scene import batch_of
from tests.unit.node.machine import DATA_DIR, START_MS, Machine, RunningNode, commit, committed, find_coordinator

TOPIC_RESOURCE = 2
MARKER = f"{DATA_DIR}/.kafka_cleanshutdown"
META_PROPERTIES = f"{DATA_DIR}/meta.properties"
FIRST_PRODUCER = 1000


def cluster_id(node: RunningNode) -> str:
    return node.ask(DescribeClusterRequest(), DescribeClusterResponse).cluster_id


def topics(node: RunningNode) -> dict[str | None, tuple[bytes, int]]:
    response = node.ask(MetadataRequest(topics=None), MetadataResponse)
    return {topic.name: (topic.topic_id, len(topic.partitions)) for topic in response.topics}


def retention(node: RunningNode, topic: str) -> str | None:
    wanted = DescribeConfigsResource(
        resource_type=TOPIC_RESOURCE, resource_name=topic, configuration_keys=["retention.ms"]
    )
    response = node.ask(DescribeConfigsRequest(resources=[wanted]), DescribeConfigsResponse)
    return response.results[0].configs[0].value


def test_the_first_start_formats_the_directory() -> None:
    machine = Machine()
    node = machine.start()
    properties = parse_properties(machine.files.read(META_PROPERTIES).decode())
    assert properties["node.id"] == "1"
    assert properties["version"] == "1"
    assert properties["cluster.id"] == cluster_id(node)
    assert properties["directory.id"]
    assert "00000000000000000000-0000000000.checkpoint" in machine.files.list(f"{DATA_DIR}/__cluster_metadata-0")


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_restart_keeps_everything(is_clean: bool) -> None:
    machine = Machine()
    node = machine.start()
    cluster = cluster_id(node)
    topic_id = node.create_topic("kept", partitions=3, configs={"retention.ms": "123456"})
    assert node.produce("kept", b"a", b"b", partition=1) == ErrorCode.NONE
    assert node.produce("kept", b"c", partition=1) == ErrorCode.NONE
    find_coordinator(node, "group")
    assert commit(node, "group", "kept", 42) == ErrorCode.NONE
    if is_clean:
        node.stop()

    node = machine.start()
    assert cluster_id(node) == cluster
    assert topics(node)["kept"] == (topic_id, 3)
    assert retention(node, "kept") == "123456"
    assert node.fetch("kept", partition=1) == [b"a", b"b", b"c"]
    find_coordinator(node, "group")
    assert committed(node, "group", "kept") == 42
    assert node.produced("kept", b"d", partition=1).base_offset == 3


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_repeated_batch_is_recognised_after_a_restart(is_clean: bool) -> None:
    machine = Machine()
    node = machine.start()
    node.create_topic("kept")
    batch = batch_of(
        b"once", timestamp_ms=node.world.now_ms(), producer_id=FIRST_PRODUCER, producer_epoch=0, base_sequence=0
    )
    assert node.produced("kept", batch=batch).base_offset == 0
    if is_clean:
        node.stop()

    node = machine.start()
    again = node.produced("kept", batch=batch)
    assert (again.error_code, again.base_offset) == (ErrorCode.NONE, 0)
    assert node.fetch("kept") == [b"once"]


def test_a_deleted_topic_stays_deleted_after_a_crash() -> None:
    machine = Machine()
    node = machine.start()
    node.create_topic("gone")
    node.produce("gone", b"old")
    node.ask(DeleteTopicsRequest(topics=[DeleteTopicState(name="gone")], timeout_ms=1000), DeleteTopicsResponse)

    node = machine.start()
    assert topics(node) == {}
    node.create_topic("gone")
    assert node.fetch("gone") == []


def test_many_restarts_of_both_kinds_lose_nothing() -> None:
    machine = Machine()
    node = machine.start()
    node.create_topic("kept")
    written: list[bytes | None] = []
    for number in range(6):
        value = b"%d" % number
        assert node.produce("kept", value) == ErrorCode.NONE
        written.append(value)
        if number % 2:
            node.stop()
        node = machine.start()
        assert node.fetch("kept") == written


def test_a_clean_stop_tells_the_controller_that_nothing_was_lost() -> None:
    machine = Machine()
    node = machine.start()
    node.stop()
    marked = json.loads(machine.files.read(MARKER))["brokerEpoch"]
    assert marked == node.node.broker.lifecycle.epoch > 0

    node = machine.start()
    assert not machine.files.exists(MARKER)
    assert registration(node).previous_broker_epoch == marked
    assert node.node.broker.lifecycle.epoch > marked


def test_after_a_crash_there_is_no_previous_epoch() -> None:
    machine = Machine()
    machine.start().stop()
    machine.start()
    node = machine.start()
    assert registration(node).previous_broker_epoch == -1


def test_a_start_after_a_crash_does_not_go_on_as_the_start_before_that_the_metadata_speaks_of() -> None:
    machine = Machine()
    node = machine.start()
    node.create_topic("kept")
    assert node.produce("kept", b"a") == ErrorCode.NONE

    node = machine.boot()
    partitions: list[object] = []
    broker, loader = node.node.broker, node.node.quorum.loader
    broker.lifecycle.registered.on_done(
        lambda _epoch: partitions.append(
            (list(loader.image.topics.by_name), list(broker.replicas.image.topics.by_name))
        )
    )
    node.settled(spawn(node.node.open()), START_MS)
    assert partitions == [(["kept"], [])], "before it was registered, it neither led nor followed"
    assert list(broker.replicas.image.topics.by_name) == ["kept"]
    assert broker.replicas.image.cluster.brokers[1].epoch == broker.lifecycle.epoch
    assert broker.replicas.image.cluster.brokers[1].fenced, "nobody is sent here before the listener is open"
    node.settled(spawn(node.node.join()), START_MS)
    assert node.fetch("kept") == [b"a"]


def test_a_topic_that_is_deleted_while_a_start_waits_for_its_registration_leaves_no_log() -> None:
    machine = Machine()
    node = machine.start()
    node.create_topic("gone")
    assert node.produce("gone", b"a") == ErrorCode.NONE

    node = machine.boot()
    broker, quorum = node.node.broker, node.node.quorum
    quorum.start()
    node.settled(spawn(quorum.catch_up(node.node.active_controller)), START_MS)
    image = quorum.loader.image
    broker.open_logs(image)
    assert [log.topic_partition.topic for log in broker.logs.logs()] == ["gone"]
    deletion = MetadataDelta(image)
    deletion.replay(RemoveTopicRecord(topic_id=image.topics.by_name["gone"].id))
    broker.take_over(deletion.apply(image.offset + 1, image.epoch))
    assert broker.logs.logs() == []


def test_a_node_that_is_closed_before_it_opened_its_logs_leaves_them_as_they_are() -> None:
    machine = Machine()
    node = machine.start()
    node.create_topic("kept")
    node.stop()
    node = machine.start()
    node.produce("kept", b"x")
    before = {
        name: machine.files.read(f"{DATA_DIR}/{name}") for name in machine.files.list(DATA_DIR) if "-point-" in name
    }
    assert before
    machine.boot().node.close()
    assert not machine.files.exists(MARKER)
    assert {name: machine.files.read(f"{DATA_DIR}/{name}") for name in before} == before
    assert machine.start().fetch("kept") == [b"x"]


def registration(node: RunningNode) -> BrokerRegistrationRequest:
    """What the broker says of itself when it registers."""
    return node.node.broker.registration()


def test_another_nodes_directory_is_refused() -> None:
    machine = Machine()
    machine.start().stop()
    with pytest.raises(StartError, match=r"/data belongs to node 1, and this is node 2: correct node.id"):
        machine.boot({"node.id": "2"})


def test_directories_of_two_clusters_are_refused() -> None:
    machine = Machine(settings={"log.dirs": "/one"})
    machine.start().stop()
    other = Machine(machine.files, {"log.dirs": "/two"})
    other.boots = 10
    other.start().stop()
    with pytest.raises(StartError, match="several clusters"):
        machine.boot({"log.dirs": "/one,/two"})


@pytest.mark.parametrize(
    ("content", "problem"),
    [("version=1\nnode.id=1\n", "lacks cluster.id"), ("version=9\n", "version 9"), ("", "lacks version")],
)
def test_a_damaged_meta_properties_is_one_clear_line(content: str, problem: str) -> None:
    machine = Machine()
    machine.start().stop()
    machine.files.write_atomically(META_PROPERTIES, content.encode())
    with pytest.raises(StartError, match=problem) as refused:
        machine.boot()
    assert META_PROPERTIES in str(refused.value)
    assert "\n" not in str(refused.value)
