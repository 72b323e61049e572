"""Nodes of ours as processes that form a cluster, and Kafka's clients: what was acknowledged outlives a node."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.cluster import Cluster
from tests.support.process import wait_for

TIMEOUT_S = 20.0
# Failures are noticed sooner than by default, so that the tests do not wait for it.
QUICK = {
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "3000",
    "controller.quorum.fetch.timeout.ms": "1000",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes; every test leaves all of them running."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), 3, QUICK)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


class Sent:
    """Records that are produced with acks=all, and which of them were acknowledged."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = topic
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self._count = 0
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "retry.backoff.ms": 50,
                "log_level": 0,
            }
        )

    def send(self, count: int) -> None:
        """Hand in records, without waiting."""
        for _ in range(count):
            value = str(self._count)
            self._count += 1
            self._producer.produce(self._topic, value, on_delivery=self._outcome(value))
            self._producer.poll(0)

    def wait(self) -> None:
        """Until all are acknowledged or have failed."""
        assert self._producer.flush(TIMEOUT_S) == 0

    def _outcome(self, value: str) -> Callable[[object, object], None]:
        def told(error: object, _message: object) -> None:
            (self.acknowledged if error is None else self.failed).append(value)

        return told


def read(bootstrap_servers: str, topic: str, group: str, count: int) -> list[str]:
    """At least `count` values of the topic from its beginning, as a member of a group."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"{topic}-{group}",
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    values: list[str] = []
    until_s = time.monotonic() + TIMEOUT_S
    with contextlib.closing(consumer):
        while len(values) < count and time.monotonic() < until_s:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                values.append((message.value() or b"").decode())
        consumer.commit(asynchronous=False)
    return values


def create(admin: AdminClient, topic: str) -> None:
    created = admin.create_topics([NewTopic(topic, 3, 3, config={"min.insync.replicas": "2"})])
    created[topic].result(TIMEOUT_S)


def in_sync(admin: AdminClient, topic: str) -> list[set[int]]:
    partitions = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
    return [set(partition.isrs) for partition in partitions.values()]


def leaders(admin: AdminClient, topic: str) -> set[int]:
    partitions = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
    return {partition.leader for partition in partitions.values()}


def only_these_lead(admin: AdminClient, topic: str, nodes: set[int]) -> bool:
    return leaders(admin, topic) <= nodes


def test_a_killed_node_costs_no_acknowledged_record_and_comes_back_into_sync(cluster: Cluster) -> None:
    servers = cluster.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    create(admin, "killed")
    assert set(admin.list_topics(timeout=TIMEOUT_S).brokers) == {1, 2, 3}
    wait_for(lambda: leaders(admin, "killed") == {1, 2, 3}, "each node leads a partition")
    sent = Sent(servers, "killed")
    sent.send(300)
    sent.wait()
    assert len(sent.acknowledged) == 300
    assert sorted(read(servers, "killed", "before", 300)) == sorted(sent.acknowledged)

    cluster.nodes[1].kill()
    sent.send(300)
    sent.wait()
    assert not sent.failed
    assert len(sent.acknowledged) == 600
    wait_for(lambda: in_sync(admin, "killed") == [{2, 3}] * 3, "the killed node is out of sync")
    assert sorted(read(servers, "killed", "during", 600)) == sorted(sent.acknowledged)

    cluster.nodes[1].start()
    wait_for(lambda: in_sync(admin, "killed") == [{1, 2, 3}] * 3, "the node is in sync again")
    cluster.nodes[2].kill()
    sent.send(300)
    sent.wait()
    assert not sent.failed
    assert sorted(read(servers, "killed", "after", 900)) == sorted(sent.acknowledged)
    cluster.nodes[2].start()


def test_a_node_that_is_told_to_stop_hands_over_first(cluster: Cluster) -> None:
    servers = cluster.bootstrap_servers
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    create(admin, "rolling")
    sent = Sent(servers, "rolling")
    for node_id in (1, 2, 3):
        sent.send(100)
        begun_s = time.monotonic()
        assert cluster.nodes[node_id].stop() == 0
        assert time.monotonic() - begun_s < 8
        others = {1, 2, 3} - {node_id}
        wait_for(partial(only_these_lead, admin, "rolling", others), "others lead")
        sent.send(100)
        sent.wait()
        cluster.nodes[node_id].start()
        wait_for(lambda: in_sync(admin, "rolling") == [{1, 2, 3}] * 3, "the node is in sync again")
    assert not sent.failed
    assert sorted(read(servers, "rolling", "g", 600)) == sorted(sent.acknowledged)


def test_brokers_and_controllers_may_be_different_nodes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, {1: "controller", 2: "broker", 3: "broker"}, QUICK)
    try:
        cluster.start()
        servers = ",".join(cluster.nodes[node_id].address for node_id in (2, 3))
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        admin.create_topics([NewTopic("roles", 2, 2)])["roles"].result(TIMEOUT_S)
        assert set(admin.list_topics(timeout=TIMEOUT_S).brokers) == {2, 3}
        wait_for(lambda: leaders(admin, "roles") == {2, 3}, "each broker leads a partition")
        sent = Sent(servers, "roles")
        sent.send(200)
        sent.wait()
        assert len(sent.acknowledged) == 200

        cluster.nodes[1].kill()
        sent.send(200)
        sent.wait()
        assert len(sent.acknowledged) == 400, "brokers go on without a controller"
        cluster.nodes[1].start()
        admin.create_topics([NewTopic("later", 1, 2)])["later"].result(TIMEOUT_S)
    finally:
        cluster.kill()


def test_nodes_that_are_all_told_to_stop_do_and_start_again_together(cluster: Cluster) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
    create(admin, "together")
    sent = Sent(cluster.bootstrap_servers, "together")
    sent.send(100)
    sent.wait()
    begun_s = time.monotonic()
    cluster.stop()
    assert time.monotonic() - begun_s < 10
    cluster.start()
    assert sorted(read(cluster.bootstrap_servers, "together", "g", 100)) == sorted(sent.acknowledged)
