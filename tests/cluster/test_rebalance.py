"""A broker that is added to a running cluster takes its share, while producers and consumers go on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from tests.support.cluster import Cluster
from tests.support.odradek import ROOT

COMBINED = "broker,controller"
PARTITIONS = 8
TIMEOUT_S = 60.0


def replicas_by_broker(bootstrap_servers: str) -> dict[int, int]:
    found: dict[int, int] = {}
    metadata = AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=TIMEOUT_S)
    for partition in metadata.topics["moved"].partitions.values():
        assert len(partition.replicas) == 2
        assert partition.leader in partition.replicas
        for broker in partition.replicas:
            found[broker] = found.get(broker, 0) + 1
    return found


def rebalance(bootstrap_servers: str, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "odradek", "cluster", "rebalance", "-b", bootstrap_servers, *options]
    return subprocess.run(
        argv, capture_output=True, text=True, check=True, timeout=TIMEOUT_S, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def throttles(admin: AdminClient) -> dict[str, str]:
    """What is left of limits on replication."""
    resources = [ConfigResource(ConfigResource.Type.TOPIC, "moved")]
    resources += [ConfigResource(ConfigResource.Type.BROKER, str(node_id)) for node_id in (1, 2, 3, 4)]
    described = [answer.result() for each in resources for answer in admin.describe_configs([each]).values()]
    entries = [entry for configs in described for entry in configs.values()]
    return {entry.name: entry.value for entry in entries if "throttled" in entry.name and not entry.is_default}


class SteadyProducer(threading.Thread):
    """Sends numbered records to all partitions until it is told to stop."""

    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.errors: list[str] = []
        self._ended = threading.Event()
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 5})

    def run(self) -> None:
        while not self._ended.wait(0.002):
            self._producer.produce("moved", str(self.sent), partition=self.sent % PARTITIONS, on_delivery=self._done)
            self.sent += 1
            self._producer.poll(0)
        self._producer.flush(TIMEOUT_S)

    def end(self) -> None:
        self._ended.set()
        self.join(TIMEOUT_S)

    def _done(self, error: object, _message: object) -> None:
        if error is not None:
            self.errors.append(str(error))


def read_all(bootstrap_servers: str, count: int) -> list[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition("moved", partition, 0) for partition in range(PARTITIONS)])
    numbers: list[int] = []
    while len(numbers) < count:
        messages = consumer.consume(count, timeout=TIMEOUT_S)
        assert messages, f"{len(numbers)} of {count} records were read"
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            numbers.append(int(message.value() or b""))
    consumer.close()
    return numbers


def test_an_added_broker_takes_its_share_while_records_are_sent(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, {1: COMBINED, 2: COMBINED, 3: COMBINED, 4: "broker"})
    try:
        for node_id in (1, 2, 3):
            cluster.nodes[node_id].launch()
        for node_id in (1, 2, 3):
            cluster.nodes[node_id].await_ready()
        servers = cluster.nodes[1].address
        admin = AdminClient({"bootstrap.servers": servers})
        (created,) = admin.create_topics([NewTopic("moved", PARTITIONS, 2)]).values()
        created.result(TIMEOUT_S)
        producer = SteadyProducer(servers)
        producer.start()
        cluster.nodes[4].start()
        assert "with 4 replicas that move" in rebalance(servers, "--dry-run").stderr
        assert replicas_by_broker(servers).get(4) is None
        assert "with 4 replicas that move" in rebalance(servers).stderr
        assert set(replicas_by_broker(servers).values()) == {2 * PARTITIONS // 4}
        assert rebalance(servers, "--dry-run").stdout == ""
        drained = rebalance(servers, "--drain", "4", "--throttle", "50000000")
        assert drained.stderr.endswith("with 4 replicas that move.\n")
        assert set(replicas_by_broker(servers)) == {1, 2, 3}
        assert throttles(admin) == {}
        producer.end()
        assert producer.errors == []
        assert producer.sent > 0
        assert sorted(read_all(servers, producer.sent)) == list(range(producer.sent))
    finally:
        for node in cluster.nodes.values():
            node.close()
