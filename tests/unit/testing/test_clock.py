"""`EmbeddedKafka.clock` as clients see it: what should be due is done when `advance` returns."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaException, Producer, TopicPartition

from odradek.net.connection import Connection
from odradek.testing import EmbeddedKafka, Topic
from odradek.testing.cluster import Cluster
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from tests.unit.testing.clients import TIMEOUT_S, consume, produce

MODES = pytest.mark.parametrize("process", [False, True], ids=["thread", "process"])
HOUR_MS = 3_600_000


@contextmanager
def consumer_of(kafka: EmbeddedKafka, **options: object) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "g",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
            **options,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def start_offset(kafka: EmbeddedKafka, topic: str = "t") -> int:
    return kafka.topic(topic).partitions[0].log_start_offset


def members(kafka: EmbeddedKafka) -> int:
    return len(kafka.group("g").members)


def in_sync(kafka: EmbeddedKafka) -> list[set[int]]:
    return [set(each.isr) for each in kafka.topic("t").partitions]


def join(consumer: Consumer, topic: str = "t") -> None:
    assigned: list[object] = []
    consumer.subscribe([topic], on_assign=lambda _consumer, partitions: assigned.append(partitions))
    until_s = time.monotonic() + TIMEOUT_S
    while not assigned:
        assert time.monotonic() < until_s
        consumer.poll(0.05)


@MODES
def test_the_clock_says_what_time_it_is(process: bool) -> None:
    with EmbeddedKafka(process=process) as kafka:
        clock = kafka.clock
        assert abs(clock.now - datetime.now(UTC)) < timedelta(seconds=10)
        clock.freeze()
        assert clock.is_frozen
        before = clock.now_ms
        clock.advance(weeks=1, days=1, hours=1, minutes=1, seconds=1, ms=1)
        assert clock.now_ms - before == 694_861_001
        assert round(clock.now.timestamp() * 1000) == clock.now_ms
        clock.resume()
        assert not clock.is_frozen


def test_time_that_cannot_be_is_refused() -> None:
    kafka = EmbeddedKafka()
    clock = kafka.clock
    with pytest.raises(RuntimeError, match="not started"):
        clock.advance(hours=1)
    with kafka, pytest.raises(ValueError, match="does not run backwards"):
        clock.advance(hours=-1)


def test_a_reset_takes_the_clock_back_to_real_time() -> None:
    with EmbeddedKafka() as kafka:
        kafka.clock.freeze()
        kafka.clock.advance(days=300)
        kafka.reset()
        assert not kafka.clock.is_frozen
        assert abs(kafka.clock.now - datetime.now(UTC)) < timedelta(seconds=10)


def test_records_get_the_time_of_the_clock() -> None:
    topic = Topic("t", config={"message.timestamp.type": "LogAppendTime"})
    with EmbeddedKafka(topics=[topic]) as kafka, consumer_of(kafka) as consumer:
        kafka.clock.freeze()
        expected = []
        for _ in range(3):
            kafka.clock.advance(hours=1)
            expected.append((TIMESTAMP_LOG_APPEND_TIME, kafka.clock.now_ms))
            produce(kafka.bootstrap_servers, "t", "v")
        consumer.assign([TopicPartition("t", 0, 0)])
        assert [message.timestamp() for message in consumer.consume(3, TIMEOUT_S)] == expected
        found = consumer.offsets_for_times([TopicPartition("t", 0, expected[1][1])], TIMEOUT_S)
        assert found[0].offset == 1


@pytest.mark.parametrize(("nodes", "process"), [(1, False), (1, True), (3, False)])
def test_records_are_deleted_when_their_time_has_come(nodes: int, process: bool) -> None:
    topic = Topic("t", config={"retention.ms": HOUR_MS})
    with EmbeddedKafka(nodes, topics=[topic], process=process) as kafka:
        kafka.clock.freeze()
        produce(kafka.bootstrap_servers, "t", "old", "old")
        kafka.clock.advance(minutes=59)
        assert start_offset(kafka) == 0
        produce(kafka.bootstrap_servers, "t", "older than the others, as clients think")
        kafka.clock.advance(minutes=2)
        assert start_offset(kafka) == 3
        produce(kafka.bootstrap_servers, "t", "new")
        assert start_offset(kafka) == 3


def children() -> list[int]:
    """The processes that this one has started."""
    return [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]


def test_files_on_disk_are_deleted_and_compacted_as_well(tmp_path: object) -> None:
    topics = [
        Topic("t", config={"retention.ms": HOUR_MS}),
        Topic("c", config={"cleanup.policy": "compact", "segment.ms": HOUR_MS, "min.cleanable.dirty.ratio": 0.01}),
    ]
    with EmbeddedKafka(topics=topics, data_dir=str(tmp_path)) as kafka:
        kafka.clock.freeze()
        produce(kafka.bootstrap_servers, "t", "old")
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        for value in ("old", "new"):
            producer.produce("c", value, "key")
        producer.flush(TIMEOUT_S)
        kafka.clock.advance(hours=2)
        now_ms = kafka.clock.now_ms
        producer.produce("c", "last", "other key", timestamp=now_ms)
        producer.flush(TIMEOUT_S)
        kafka.clock.advance(hours=1)
        assert start_offset(kafka) == 1
        if sys.platform == "linux":
            assert {os.sched_getscheduler(pid) for pid in children()} == {os.SCHED_OTHER}, (
                "others may fill the processors"
            )
        with consumer_of(kafka) as consumer:
            consumer.assign([TopicPartition("c", 0, 0)])
            assert [message.value() for message in consumer.consume(2, TIMEOUT_S)] == [b"new", b"last"]


@pytest.mark.parametrize(("protocol", "nodes"), [("classic", 1), ("consumer", 1), ("classic", 3)])
def test_a_member_that_is_not_heard_of_is_expelled(protocol: str, nodes: int) -> None:
    options: dict[str, object] = {"group.protocol": protocol}
    if protocol == "classic":
        options |= {"session.timeout.ms": 45_000, "heartbeat.interval.ms": 40_000}
    with EmbeddedKafka(nodes, topics=["t"]) as kafka, consumer_of(kafka, **options) as consumer:
        join(consumer)
        kafka.clock.advance(seconds=30)
        assert members(kafka) == 1
        kafka.clock.advance(seconds=16)
        assert members(kafka) == 0


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_transaction_is_aborted_when_its_time_is_over(nodes: int) -> None:
    with EmbeddedKafka(nodes, topics=["t"]) as kafka:
        producer = Producer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "transactional.id": "x",
                "transaction.timeout.ms": 60_000,
                "log_level": 0,
            }
        )
        kafka.clock.freeze()
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
        producer.produce("t", "aborted")
        assert producer.flush(TIMEOUT_S) == 0
        produce(kafka.bootstrap_servers, "t", "behind it")
        with consumer_of(kafka, **{"isolation.level": "read_committed"}) as consumer:
            consumer.assign([TopicPartition("t", 0, 0)])
            kafka.clock.advance(seconds=50)
            assert consumer.poll(0.2) is None
            kafka.clock.advance(seconds=11)
            (message,) = consumer.consume(1, TIMEOUT_S)
            assert message.value() == b"behind it"
        with pytest.raises(KafkaException) as caught:
            producer.commit_transaction(TIMEOUT_S)
        assert caught.value.args[0].fatal()


def test_offsets_and_groups_expire() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        produce(kafka.bootstrap_servers, "t", "v")
        assert consume(kafka.bootstrap_servers, "t", 1) == ["v"]
        with consumer_of(kafka) as consumer:
            partition = TopicPartition("t", 0)
            kafka.clock.advance(days=6)
            assert consumer.committed([partition], TIMEOUT_S)[0].offset == 1
            kafka.clock.advance(days=2)
            assert consumer.committed([partition], TIMEOUT_S)[0].offset < 0


async def parked(cluster: Cluster) -> int:
    replicas = [node.node.broker.replicas for node in cluster.nodes.values()]
    return sum(len(each.waiting) + each.readers.count for each in replicas)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_fetch_that_waits_for_records_comes_back(frozen: bool) -> None:
    partition = FetchPartition(partition=0, partition_max_bytes=1000)
    request = FetchRequest(
        max_wait_ms=60_000, min_bytes=1, max_bytes=1000, topics=[FetchTopic(topic="t", partitions=[partition])]
    )

    async def read(kafka: EmbeddedKafka) -> None:
        async def count() -> int:
            return await asyncio.wrap_future(kafka._running().call(parked))

        host, _, port = kafka.bootstrap_servers.partition(":")
        connection = await Connection.open(host, int(port))
        try:
            fetching = asyncio.ensure_future(connection.send(request, FetchResponse, version=12))
            while not await count():
                await asyncio.sleep(0.001)
            await kafka.clock.advance_async(seconds=50)
            assert await count() == 1
            await kafka.clock.advance_async(seconds=10)
            assert await count() == 0
            await fetching
        finally:
            connection.close()

    with EmbeddedKafka(topics=["t"]) as kafka:
        if frozen:
            kafka.clock.freeze()
        asyncio.run(asyncio.wait_for(read(kafka), TIMEOUT_S))


def test_clients_go_on_while_time_stands_still() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        kafka.clock.freeze()
        produce(kafka.bootstrap_servers, "t", "a", "b")
        assert consume(kafka.bootstrap_servers, "t", 2) == ["a", "b"]
        assert members(kafka) == 0


def test_a_cluster_stays_whole_however_much_time_passes() -> None:
    with EmbeddedKafka(3, topics={"t": 6}) as kafka:
        log = len(kafka.log)
        for span in ({"seconds": 5}, {"minutes": 3}, {"hours": 5}, {"days": 30}):
            kafka.clock.advance(**span)
        assert in_sync(kafka) == [{1, 2, 3}] * 6
        assert [line for line in kafka.log[log:] if "epoch" in line or "fenced" in line] == []
        produce(kafka.bootstrap_servers, "t", "v")


async def deciding(cluster: Cluster) -> int:
    """Which node is the active controller."""
    return next(node_id for node_id, node in cluster.nodes.items() if node.node.quorum.raft.is_leader)


@pytest.mark.parametrize("fault", ["pause", "isolate", "crash"])
def test_nodes_that_are_not_heard_of_lose_their_session_and_come_back(fault: str) -> None:
    with EmbeddedKafka(3, topics={"t": 3}) as kafka:
        all_nodes = in_sync(kafka)
        # The next one, for without a controller it takes until there is another one, and that counts anew.
        gone = kafka._running().call(deciding).result() % 3 + 1
        others = {1, 2, 3} - {gone}
        absent = getattr(kafka.faults, fault)(gone, noticed=False)
        kafka.clock.advance(seconds=5)
        assert in_sync(kafka) == all_nodes
        kafka.clock.advance(seconds=6)
        assert in_sync(kafka) == [others] * 3
        assert {each.leader for each in kafka.topic("t").partitions} == others
        kafka.clock.advance(days=3)
        assert in_sync(kafka) == [others] * 3
        absent.lift()
        kafka.clock.advance(seconds=20)
        assert in_sync(kafka) == all_nodes


def test_replicas_that_lag_leave_the_isr_although_their_node_lives() -> None:
    with EmbeddedKafka(3, topics={"t": 1}, config={"replica.lag.time.max.ms": 4000}) as kafka:
        (leader,) = {each.leader for each in kafka.topic("t").partitions}
        assert leader is not None
        follower = next(each for each in (1, 2, 3) if each != leader)
        with kafka.faults.fail("Fetch", "REQUEST_TIMED_OUT", topic="t", node=leader, internal=True):
            producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": 1})
            # The first record answers fetches that wait already.
            for value in ("what they get", "what they lack"):
                producer.produce("t", value)
                assert producer.flush(TIMEOUT_S) == 0
                kafka.clock.advance(ms=1)
            kafka.clock.advance(seconds=3)
            assert in_sync(kafka) == [{1, 2, 3}]
            kafka.clock.advance(seconds=4)
            assert in_sync(kafka) == [{leader}]
        kafka.clock.advance(seconds=2)
        assert follower in in_sync(kafka)[0]
        assert not [line for line in kafka.log if "fenced" in line]
