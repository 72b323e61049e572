"""`EmbeddedKafka.topic` and `.transaction`: what is in the nodes, without a client that reads it."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from confluent_kafka import Producer, TopicPartition

from odradek.testing import (
    EmbeddedKafka,
    ErrorCode,
    KafkaError,
    PartitionInfo,
    Record,
    Topic,
    WaitTimeoutError,
    watching,
)
from odradek.testing.cluster import Cluster
from tests.unit.testing.clients import TIMEOUT_S, admin, config_of, produce


def transactional(kafka: EmbeddedKafka, transactional_id: str = "tx") -> Producer:
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": transactional_id, "log_level": 0}
    )
    producer.init_transactions(TIMEOUT_S)
    return producer


def test_records_are_those_that_were_produced() -> None:
    with EmbeddedKafka(topics={"t": 2}) as kafka:
        assert kafka.topics() == {"t": 2}
        assert kafka.topic("t").records() == []
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "compression.type": "gzip"})
        producer.produce("t", b'{"a": 1}', b"k", partition=1, timestamp=1234, headers=[("h", b"1"), ("n", None)])
        producer.produce("t", b"[2]", partition=1)
        producer.produce("t", None, "tombstone", partition=0)
        assert producer.flush(TIMEOUT_S) == 0
        assert kafka.topic("t").records() == [
            Record(partition=0, offset=0, key=b"tombstone", value=None, headers=()),
            Record(
                partition=1, offset=0, timestamp_ms=1234, key=b"k", value=b'{"a": 1}', headers={"h": b"1", "n": None}
            ),
            Record(partition=1, offset=1, key=None, value=b"[2]"),
        ]
        assert kafka.topic("t").values() == [None, b'{"a": 1}', b"[2]"]
        assert kafka.topic("t").values(json.loads) == [None, {"a": 1}, [2]]
        assert kafka.topic("t").values(partition=0) == [None]
        (first, *_) = kafka.topic("t").records(key=bytes.decode, value=json.loads, partition=1)
        assert (first.key, first.value) == ("k", {"a": 1})
        (first, *_) = kafka.topic("t").records(key=bytes.decode)
        assert (first.key, first.value) == ("tombstone", None)


def test_much_is_read_to_the_end_and_deleted_records_are_gone() -> None:
    with EmbeddedKafka(topics=[Topic("t", config={"segment.bytes": 1024 * 1024})]) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "linger.ms": 5})
        for number in range(3000):
            producer.produce("t", f"{number}".encode() + bytes(1000))
        assert producer.flush(TIMEOUT_S) == 0
        assert kafka.topic("t").values(lambda value: int(value.rstrip(b"\0"))) == list(range(3000))
        client = admin(kafka)
        for future in client.delete_records([TopicPartition("t", 0, 2990)]).values():
            future.result(TIMEOUT_S)
        assert [each.offset for each in kafka.topic("t").records()] == list(range(2990, 3000))
        assert kafka.topic("t").partitions[0].log_start_offset == 2990


def test_partitions_and_properties() -> None:
    with EmbeddedKafka(nodes=3, topics=[Topic("t", 2, config={"retention.ms": 1000})]) as kafka:
        produce(kafka.bootstrap_servers, "t", "v")
        topic = kafka.topic("t")
        assert [(each.partition, set(each.replicas), set(each.isr)) for each in topic.partitions] == [
            (0, {1, 2, 3}, {1, 2, 3}),
            (1, {1, 2, 3}, {1, 2, 3}),
        ]
        metadata = admin(kafka).list_topics(timeout=TIMEOUT_S).topics["t"].partitions
        assert [each.leader for each in topic.partitions] == [metadata[0].leader, metadata[1].leader]
        ends = [(each.high_watermark, each.last_stable_offset, each.log_end_offset) for each in topic.partitions]
        assert sorted(ends) == [(0, 0, 0), (1, 1, 1)]
        assert sum(each.size_bytes for each in topic.partitions) > 60
        assert topic.config["retention.ms"] == "1000"
        theirs = config_of(kafka, "topic", "t")
        assert {name: topic.config[name] for name in theirs} == theirs
        assert topic.values() == [b"v"]


def test_a_partition_without_a_leader_says_so() -> None:
    with EmbeddedKafka(nodes=2, topics=[Topic("t", 2, replication_factor=1)]) as kafka:
        lost = next(each.partition for each in kafka.topic("t").partitions if each.leader != 1)
        kafka._running().call(crash, 2).result(TIMEOUT_S)
        info = kafka.topic("t").partitions[lost]
        assert isinstance(info, PartitionInfo)
        assert (info.replicas, info.high_watermark) == ((2,), -1)
        with pytest.raises(KafkaError, match=f"no node leads partition {lost} of topic t") as raised:
            kafka.topic("t").records()
        assert raised.value.code is ErrorCode.LEADER_NOT_AVAILABLE
        assert kafka.topic("t").values(partition=1 - lost) == []
        with pytest.raises(WaitTimeoutError, match="no node leads"):
            kafka.topic("t").wait_for_records(0, timeout_s=0.05)


async def crash(cluster: Cluster, node_id: int) -> None:
    await cluster.nodes.pop(node_id).abandon()


def test_while_no_node_runs_nothing_is_there_yet() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        kafka._running().call(crash, 1).result(TIMEOUT_S)
        with pytest.raises(KafkaError, match="no node runs"):
            kafka.topics()
        with pytest.raises(WaitTimeoutError, match="no node runs"):
            kafka.topic("t").wait_for_records(timeout_s=0.05)
        again = threading.Timer(0.05, kafka.reset)
        again.start()
        kafka.topic("t").wait_for_records(0, timeout_s=TIMEOUT_S)
        again.join()


def test_what_does_not_exist() -> None:
    with EmbeddedKafka(topics=["orders"]) as kafka:
        topic = kafka.topic("order")
        assert not topic.exists
        assert kafka.topic("orders").exists
        with pytest.raises(KafkaError, match=r"there is no topic order; those that there are: orders") as raised:
            topic.records()
        assert raised.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        with pytest.raises(KafkaError, match=r"there is no topic order$"):
            _ = topic.partitions
        with pytest.raises(KafkaError, match="has no partition 1, but 1 partitions"):
            kafka.topic("orders").records(partition=1)
        with pytest.raises(ValueError, match="serializable is no isolation level"):
            kafka.topic("orders").records(isolation_level="serializable")  # type: ignore[call-overload]
        transaction = kafka.transaction("tx")
        assert not transaction.exists
        with pytest.raises(KafkaError, match="there is no transactional id tx"):
            _ = transaction.state
    with pytest.raises(RuntimeError, match="is not started"):
        topic.records()


def test_transactions_hide_what_is_not_committed() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        topic = kafka.topic("t")
        transaction = kafka.transaction("tx")
        producer = transactional(kafka)
        assert (kafka.transactions(), transaction.state) == ({"tx": "Empty"}, "Empty")
        for value, ends in [("a", producer.abort_transaction), ("b", producer.commit_transaction)]:
            producer.begin_transaction()
            producer.produce("t", value)
            assert producer.flush(TIMEOUT_S) == 0
            assert (transaction.state, transaction.partitions) == ("Ongoing", {"t": (0,)})
            ends(TIMEOUT_S)
        producer.begin_transaction()
        producer.produce("t", "open")
        assert producer.flush(TIMEOUT_S) == 0
        produce(kafka.bootstrap_servers, "t", "after it")
        assert topic.values() == [b"b"]
        assert topic.values(isolation_level="read_uncommitted") == [b"a", b"b", b"open", b"after it"]
        assert len(topic.wait_for_records(4, isolation_level="read_uncommitted", timeout_s=0)) == 4
        with pytest.raises(WaitTimeoutError, match="transactional id tx is Ongoing, and not CompleteAbort"):
            transaction.wait_for_state("CompleteAbort", timeout_s=0.05)
        producer.abort_transaction(TIMEOUT_S)
        info = transaction.wait_for_state("CompleteAbort", timeout_s=TIMEOUT_S)
        assert (info.transactional_id, info.producer_epoch >= 0, info.timeout_ms) == ("tx", True, 60_000)
        assert topic.values() == [b"b", b"after it"]
        assert asyncio.run(transaction.wait_for_state_async("CompleteAbort")) == info


def test_transactions_of_several_producers_are_told_apart() -> None:
    """Interleaved in one partition, where one is aborted and the other committed."""
    with EmbeddedKafka(topics=["t"]) as kafka:
        good, bad = transactional(kafka, "good"), transactional(kafka, "bad")
        for producer in (good, bad):
            producer.begin_transaction()
        for number in range(3):
            for name, producer in (("good", good), ("bad", bad)):
                producer.produce("t", f"{name} {number}")
                assert producer.flush(TIMEOUT_S) == 0
        good.commit_transaction(TIMEOUT_S)
        bad.abort_transaction(TIMEOUT_S)
        bad.begin_transaction()
        bad.produce("t", "better")
        bad.commit_transaction(TIMEOUT_S)
        assert kafka.topic("t").values(bytes.decode) == ["good 0", "good 1", "good 2", "better"]


def test_waiting_for_records_ends_when_they_come() -> None:
    with EmbeddedKafka() as kafka:
        late = threading.Timer(0.05, produce, (kafka.bootstrap_servers, "t", "a", "b"))
        late.start()
        assert kafka.topic("t").wait_for_records(2, timeout_s=TIMEOUT_S) == [Record(value=b"a"), Record(value=b"b")]
        late.join()

        async def wait() -> list[bytes | None]:
            waiting = asyncio.ensure_future(kafka.topic("t").wait_for_records_async(3, timeout_s=TIMEOUT_S))
            await asyncio.to_thread(produce, kafka.bootstrap_servers, "t", "c")
            return [each.value for each in await waiting]

        assert asyncio.run(wait()) == [b"a", b"b", b"c"]


def test_waiting_is_woken_by_what_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 10 * TIMEOUT_S)
    with EmbeddedKafka(topics=["t"]) as kafka:
        kafka.requests.pause()
        begun_s = time.monotonic()
        late = threading.Timer(0.05, produce, (kafka.bootstrap_servers, "t", "a"))
        late.start()
        kafka.topic("t").wait_for_records(timeout_s=5 * TIMEOUT_S)
        assert time.monotonic() - begun_s < TIMEOUT_S
        late.join()


def test_a_time_out_says_what_there_is() -> None:
    with EmbeddedKafka() as kafka:
        with pytest.raises(WaitTimeoutError, match="there is no topic t"):
            kafka.topic("t").wait_for_records(0, timeout_s=0.05)
        produce(kafka.bootstrap_servers, "t", *"abcdefg")
        with pytest.raises(WaitTimeoutError) as raised:
            kafka.topic("t").wait_for_records(8, partition=0, timeout_s=0)
        lines = str(raised.value).splitlines()
        assert lines[:2] == ["after 0 s t-0 has not 8 records, but 7:", "  (2 before these)"]
        assert [line.partition("value=")[2] for line in lines[2:]] == [f"b'{value}')" for value in "cdefg"]


def test_waiting_until_anything_is_so() -> None:
    with EmbeddedKafka() as kafka:
        late = threading.Timer(0.05, produce, (kafka.bootstrap_servers, "t", "a"))
        late.start()
        assert kafka.wait_until(kafka.topics, timeout_s=TIMEOUT_S) == {"t": 1}
        late.join()
        assert asyncio.run(kafka.wait_until_async(lambda: kafka.topic("t").exists))
        with pytest.raises(WaitTimeoutError, match=r"\.groups returns {}; there are topics {'t': 1}, groups {}"):
            kafka.wait_until(kafka.groups, timeout_s=0)
        later = threading.Timer(0.05, produce, (kafka.bootstrap_servers, "later", "a"))
        later.start()
        assert kafka.wait_until(lambda: kafka.topic("later").values()) == [b"a"]
        later.join()
        with pytest.raises(WaitTimeoutError, match="there is no topic never"):
            kafka.wait_until(lambda: kafka.topic("never").values(), timeout_s=0)
        with pytest.raises(KafkaError, match="of another kind"):
            kafka.wait_until(refuse)
        with pytest.raises(ZeroDivisionError):
            kafka.wait_until(lambda: 1 // 0)


def refuse() -> None:
    raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "of another kind")
