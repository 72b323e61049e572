"""What clients that people use do about failing requests."""

from __future__ import annotations

import asyncio
import warnings

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from confluent_kafka import KafkaError, Producer

from odradek.testing import EmbeddedKafka
from tests.unit.testing.clients import TIMEOUT_S, consume_all, produce

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it reads its resources in an old way
    from kafka import KafkaProducer  # type: ignore[import-untyped]

FAST = {"retry.backoff.ms": 10, "reconnect.backoff.ms": 10, "log_level": 0}


def confluent(kafka: EmbeddedKafka, value: str, **properties: object) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "acks": "all", **FAST, **properties})
    producer.produce("b", value)
    assert producer.flush(TIMEOUT_S) == 0


def kafka_python(kafka: EmbeddedKafka, value: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", retries=5, retry_backoff_ms=10)
    producer.send("b", value.encode()).get(TIMEOUT_S)
    producer.close()


def aiokafka(kafka: EmbeddedKafka, value: str) -> None:
    async def run() -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, enable_idempotence=True, retry_backoff_ms=10
        ) as producer:
            await producer.send_and_wait("b", value.encode())

    asyncio.run(run())


PRODUCERS = pytest.mark.parametrize("send", [confluent, kafka_python, aiokafka])


@PRODUCERS
def test_producers_try_again_where_the_partition_has_no_leader_here(kafka: EmbeddedKafka, send: object) -> None:
    assert callable(send)
    with kafka.faults.fail("Produce", "NOT_LEADER_OR_FOLLOWER", topic="b", times=2) as fault:
        send(kafka, "v")
        assert fault.hits == 2
    assert consume_all(kafka.bootstrap_servers, "b") == [b"v"]


def test_a_lost_response_makes_a_duplicate_unless_the_producer_is_idempotent(kafka: EmbeddedKafka) -> None:
    for value, is_idempotent in (("twice", False), ("once", True)):
        with kafka.faults.lose_response("Produce", times=1) as fault:
            confluent(kafka, value, **{"enable.idempotence": is_idempotent})
            assert fault.hits == 1
    assert consume_all(kafka.bootstrap_servers, "b") == [b"twice", b"twice", b"once"]


def test_aiokafkas_idempotent_producer_makes_no_duplicate_either(kafka: EmbeddedKafka) -> None:
    with kafka.faults.lose_response("Produce", times=1) as fault:
        aiokafka(kafka, "once")
        assert fault.hits == 1
    assert consume_all(kafka.bootstrap_servers, "b") == [b"once"]


def test_an_error_that_no_retry_helps_against_is_told(kafka: EmbeddedKafka) -> None:
    errors: list[KafkaError | None] = []
    with kafka.faults.fail("Produce", "TOPIC_AUTHORIZATION_FAILED"):
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, **FAST})
        producer.produce("b", "v", on_delivery=lambda error, _message: errors.append(error))
        assert producer.flush(TIMEOUT_S) == 0
    assert [error and error.name() for error in errors] == ["TOPIC_AUTHORIZATION_FAILED"]


async def consume(kafka: EmbeddedKafka, count: int, group: str | None = None) -> list[bytes | None]:
    async with AIOKafkaConsumer(
        "b", bootstrap_servers=kafka.bootstrap_servers, group_id=group, auto_offset_reset="earliest",
        retry_backoff_ms=10, heartbeat_interval_ms=50,
    ) as consumer:  # fmt: skip
        return [(await asyncio.wait_for(consumer.getone(), TIMEOUT_S)).value for _ in range(count)]


def test_a_consumer_goes_on_after_failed_fetches_and_loses_nothing(kafka: EmbeddedKafka) -> None:
    produce(kafka.bootstrap_servers, "b", "1", "2", "3")
    with kafka.faults.fail("Fetch", "NOT_LEADER_OR_FOLLOWER", topic="b", times=2) as fault:
        assert asyncio.run(consume(kafka, 3)) == [b"1", b"2", b"3"]
        assert fault.hits == 2


def test_a_member_whose_coordinator_says_no_looks_for_it_again(kafka: EmbeddedKafka) -> None:
    produce(kafka.bootstrap_servers, "b", "v")
    with (
        kafka.faults.fail("JoinGroup", "NOT_COORDINATOR", group="g", times=1) as joined,
        kafka.faults.fail("FindCoordinator", "COORDINATOR_NOT_AVAILABLE", times=1) as found,
        kafka.faults.fail("SyncGroup", "REBALANCE_IN_PROGRESS", times=1) as synced,
    ):
        assert asyncio.run(consume(kafka, 1, "g")) == [b"v"]
        assert [joined.hits, found.hits, synced.hits] == [1, 1, 1]


def test_a_client_that_can_await_lifts_without_holding_up_its_loop(kafka: EmbeddedKafka) -> None:
    async def run() -> list[bool]:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, retry_backoff_ms=10) as producer:
            async with kafka.faults.stall("Produce"):
                future = await producer.send("b", b"v")
                done, _pending = await asyncio.wait([future], timeout=0.05)
            await asyncio.wait_for(future, TIMEOUT_S)
            return [bool(done), future.done()]

    assert asyncio.run(run()) == [False, True]
