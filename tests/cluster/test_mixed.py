"""A first proof that peers need not be ours: a broker of one kind under a controller of the other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.apache import ApacheKafka, Unavailable
from tests.support.cluster import CLUSTER_ID, Cluster, Node
from tests.support.process import HOST, free_port, wait_for

TOPIC = "shared"
TIMEOUT_S = 20.0
ONE_REPLICA = {"offsets.topic.replication.factor": "1"}
PROTOCOLS = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[ApacheBroker]:
    directory = tmp_path / "apache"
    directory.mkdir()
    try:
        kafka = ApacheBroker(directory, {})
    except Unavailable as missing:
        pytest.skip(str(missing))
    try:
        yield kafka
    finally:
        kafka.close()


class ApacheBroker(ApacheKafka):
    """A broker-only node of Apache Kafka."""

    def join(self, node_id: int, cluster: Cluster) -> None:
        """Format and start it, and wait until it answers."""
        self.port = free_port()
        properties = {
            "process.roles": "broker",
            "node.id": str(node_id),
            "listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "listener.security.protocol.map": PROTOCOLS,
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": cluster.controllers,
            "log.dirs": str(self.data_dir),
            **ONE_REPLICA,
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        formatting = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties))
        subprocess.run(formatting, check=True, capture_output=True, timeout=60)
        self._spawn(self._java("kafka.Kafka", str(self._properties)), pipe_stdout=False)
        self._await_metadata()


def check_that_records_pass(servers: str, nodes: set[int]) -> None:
    """Both brokers are known and unfenced, lead a partition each, and are in sync with each other."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    wait_for(lambda: set(admin.list_topics(timeout=TIMEOUT_S).brokers) == nodes, "both brokers are there")
    described = admin.describe_cluster().result(TIMEOUT_S)
    assert {node.id for node in described.nodes} == nodes
    admin.create_topics([NewTopic(TOPIC, 2, 2, config={"min.insync.replicas": "2"})])[TOPIC].result(TIMEOUT_S)

    def leaders() -> set[int]:
        topic = admin.list_topics(TOPIC, timeout=TIMEOUT_S).topics[TOPIC]
        return {partition.leader for partition in topic.partitions.values()}

    wait_for(lambda: leaders() == nodes, "each broker leads a partition")
    acknowledged: list[tuple[object, object]] = []
    producer = Producer({"bootstrap.servers": servers, "acks": "all", "log_level": 0})
    for number in range(20):
        producer.produce(
            TOPIC,
            str(number),
            partition=number % 2,
            on_delivery=lambda error, message: acknowledged.append((message.partition(), error or message.value())),
        )
    assert producer.flush(TIMEOUT_S) == 0
    sent = [(number % 2, str(number).encode()) for number in range(20)]
    assert set(acknowledged) == set(sent)
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "unused", "enable.auto.commit": False, "log_level": 0}
    )
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in (0, 1)])
    read = consumer.consume(20, TIMEOUT_S)
    consumer.close()
    assert {(each.partition(), each.value()) for each in read} == set(sent)


def broker_under(directory: Path, controller: ApacheBroker) -> Node:
    """Node 2, ours, which is not formatted yet."""
    port = free_port()
    ours = Node(
        directory,
        2,
        {
            "process.roles": "broker",
            "listeners": f"PLAINTEXT://{HOST}:{port}",
            "listener.security.protocol.map": PROTOCOLS,
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"{HOST}:{controller.controller_port}",
        },
    )
    ours.port = port
    return ours


def test_our_broker_under_an_apache_controller(tmp_path: Path, apache: ApacheBroker) -> None:
    apache.start()
    ours = broker_under(tmp_path / "ours", apache)
    ours.format()
    try:
        ours.start()
        check_that_records_pass(ours.address, {1, 2})
        check_metadata = AdminClient({"bootstrap.servers": apache.bootstrap, "log_level": 0})
        assert set(check_metadata.list_topics(timeout=TIMEOUT_S).brokers) == {1, 2}
        assert ours.stop() == 0
    finally:
        ours.close()


def test_an_apache_broker_under_our_controller(tmp_path: Path, apache: ApacheBroker) -> None:
    cluster = Cluster(tmp_path / "ours", {1: "controller", 3: "broker"}, ONE_REPLICA)
    try:
        cluster.start()
        apache.join(2, cluster)
        check_that_records_pass(apache.bootstrap, {2, 3})
    finally:
        cluster.kill()
