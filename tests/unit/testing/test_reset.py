"""`EmbeddedKafka.reset`: an empty Kafka at the same address."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # public, but not in the library's __all__

from odradek.testing import EmbeddedKafka, StartError
from odradek.testing.cluster import Cluster
from odradek.testing.defaults import BROKER
from odradek.testing.options import Options
from tests.unit.testing.clients import (
    TIMEOUT_S,
    admin,
    config_of,
    consume,
    consume_all,
    is_reachable,
    partitions,
    produce,
)
from tests.unit.testing.leaks import descriptors, nothing_left


def transact(kafka: EmbeddedKafka, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": "tx"})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    producer.produce(topic, "in a transaction")
    producer.commit_transaction(TIMEOUT_S)


def test_everything_is_as_at_the_beginning() -> None:
    with EmbeddedKafka(topics={"t": 3}, config={"num.partitions": 2}) as kafka:
        address = kafka.bootstrap_servers
        client = admin(kafka)
        beginning = config_of(kafka, "topic", "t")
        cluster_id = client.list_topics(timeout=TIMEOUT_S).cluster_id
        for future in client.create_topics([NewTopic("t2", 1, config={"retention.ms": "1"})]).values():
            future.result(TIMEOUT_S)
        for future in client.delete_topics(["t"]).values():
            future.result(TIMEOUT_S)
        produce(address, "auto", "v")
        consume(address, "auto", 1)
        transact(kafka, "auto")
        kafka.reset()
        assert kafka.bootstrap_servers == address
        assert partitions(kafka) == {"t": 3}
        assert config_of(kafka, "topic", "t") == beginning
        assert admin(kafka).list_topics(timeout=TIMEOUT_S).cluster_id != cluster_id
        assert consume_all(address) == []
        produce(address, "auto", "new")
        assert partitions(kafka)["auto"] == 2
        assert (kafka.topic("auto").values(), kafka.groups(), kafka.transactions()) == ([b"new"], {}, {})


def test_a_process_goes_on_with_new_nodes() -> None:
    with EmbeddedKafka(topics=["t"], process=True) as kafka:
        address = kafka.bootstrap_servers
        produce(address, "t", "old")
        kafka.reset()
        assert kafka.bootstrap_servers == address
        assert consume_all(address) == []
        produce(address, "t", "new")
        assert consume_all(address) == [b"new"]


def test_a_cluster_keeps_its_addresses_and_is_whole_again() -> None:
    with EmbeddedKafka(nodes=3, topics=["t"]) as kafka:
        address = kafka.bootstrap_servers
        produce(address, "t", "v")
        kafka.reset()
        assert kafka.bootstrap_servers == address
        (partition,) = admin(kafka).list_topics(timeout=TIMEOUT_S).topics["t"].partitions.values()
        assert sorted(partition.isrs) == [1, 2, 3]
        assert consume_all(address) == []


def test_connections_are_cut_and_new_ones_never_refused() -> None:
    with EmbeddedKafka() as kafka:
        host, _, port = kafka.bootstrap_servers.partition(":")
        with socket.create_connection((host, int(port)), TIMEOUT_S) as sock:
            kafka.reset()
            assert sock.recv(1) == b""
        assert is_reachable(kafka.bootstrap_servers)


def test_a_client_that_goes_on_finds_the_new_node() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
        producer.produce("t", "old")
        assert producer.flush(TIMEOUT_S) == 0
        kafka.reset()
        producer.produce("t", "new")
        assert producer.flush(TIMEOUT_S) == 0
        assert consume_all(kafka.bootstrap_servers) == [b"new"]


def test_nobody_who_waits_for_records_holds_it_up() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "g", "log_level": 0})
        consumer.subscribe(["t"])
        assert consumer.consume(1, 0.3) == []
        kafka.reset()
        consumer.close()
        kafka.reset()
        assert admin(kafka).list_consumer_groups().result(TIMEOUT_S).valid == []


def test_resets_leave_nothing() -> None:
    with EmbeddedKafka():
        pass  # what is imported stays
    with nothing_left(), EmbeddedKafka(topics=["t"]) as kafka:
        begun = threading.active_count(), len(descriptors())
        for _ in range(10):
            kafka.reset()
        # A node may have one thread for its disks.
        assert threading.active_count() <= begun[0] + 1
        assert len(descriptors()) == begun[1]


async def crash(cluster: Cluster, node_id: int) -> None:
    await cluster.nodes.pop(node_id).abandon()


def test_a_node_that_has_ended_is_there_again() -> None:
    async def use() -> None:
        cluster = Cluster(Options.of(3, ["t"], None, None, False), lambda: None)
        address = await cluster.start()
        await crash(cluster, 2)
        assert await cluster.reset() == address
        assert sorted(cluster.nodes) == [1, 2, 3]
        await cluster.stop()

    asyncio.run(use())


def test_nothing_is_remembered_of_nodes_and_topics_before() -> None:
    async def use() -> None:
        cluster = Cluster(Options.of(1, ["t"], None, None, False), lambda: None)
        await cluster.start()
        (topic_id,) = cluster.topic_names()
        cluster._failures.append(StartError("the disk failed"))
        await cluster.reset()
        assert list(cluster.topic_names().values()) == ["t"]
        assert topic_id not in cluster.topic_names()
        await cluster.stop()

    asyncio.run(use())


def test_other_addresses_keep_old_clients_out() -> None:
    async def use() -> None:
        cluster = Cluster(Options.of(1, (), None, None, False), lambda: None)
        address = await cluster.start()
        new = await cluster.reset(keep_addresses=False)
        assert new != address
        assert new == f"127.0.0.1:{cluster.nodes[1].port_of(BROKER)}"
        assert not await asyncio.to_thread(is_reachable, address)
        await cluster.stop()

    asyncio.run(use())


def test_no_time_out_is_part_of_it() -> None:
    """That is what keeps it at a few milliseconds, however slow the machine is."""

    async def use() -> None:
        loop = asyncio.get_running_loop()
        timers: list[float] = []
        later = loop.call_later

        def call_later(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
            def run() -> None:
                timers.append(delay)
                callback()

            return later(delay, run)

        cluster = Cluster(Options.of(1, ["t"], None, None, False), lambda: None)
        await cluster.start()
        loop.call_later = call_later  # type: ignore[method-assign, assignment]  # what each timer was set to
        await cluster.reset()
        assert timers == []
        await cluster.stop()

    asyncio.run(use())


def test_an_address_that_is_taken_meanwhile_is_told_of() -> None:
    async def use() -> None:
        cluster = Cluster(Options.of(1, (), None, None, False), lambda: None)
        address = await cluster.start()
        await crash(cluster, 1)
        host, _, port = address.partition(":")
        with socket.create_server((host, int(port))), pytest.raises(Exception, match="node 1 has no address"):
            await cluster.reset()
        assert cluster.nodes == {}
        await cluster.stop()

    with nothing_left():
        asyncio.run(use())


def test_what_cannot_be_reset_says_why(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(data_dir=tmp_path)
    with pytest.raises(RuntimeError, match="is not started"):
        kafka.reset()
    with kafka, pytest.raises(RuntimeError, match="in memory"):
        kafka.reset()
    with pytest.raises(RuntimeError, match="is not started"):
        kafka.reset()
