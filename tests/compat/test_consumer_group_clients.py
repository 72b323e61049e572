"""Consumer groups of KIP-848 with the clients that speak its protocol: Java's and librdkafka."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import confluent_kafka as ck
import pytest

from tests.support.consumer_groups import describe_consumers
from tests.support.drivers.base import ConsumerSettings, Driver, ProducerSettings, Record, TopicPartition, collect
from tests.support.polling import Member, group_of
from tests.support.process import wait_for
from tests.support.requests import code, create_topic
from tests.support.targets import Target
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
FIRST_WITH_EXPRESSIONS = 0x020A0000


@pytest.fixture(params=["java", "librdkafka"])
def modern(request: pytest.FixtureRequest, drivers: Callable[[str], Driver]) -> Driver:
    """The client libraries that speak the protocol."""
    return drivers(request.param)


def settings(group: str, **changes: object) -> ConsumerSettings:
    return ConsumerSettings(group=group, protocol="consumer", **{"assignor": "uniform", **changes})  # type: ignore[arg-type]  # fields by name


def produce(driver: Driver, topic: str, count: int, partitions: int = 1) -> None:
    records = [Record(value=str(index).encode(), partition=index % partitions) for index in range(count)]
    assert not [ack for ack in driver.produce(topic, records, ProducerSettings()) if ack.error]


def shares(*members: Member) -> list[int]:
    return sorted(len(member.assignment) for member in members)


def test_a_group_reads_on_where_it_was(modern: Driver, new_topic: NewTopic, unique: Unique) -> None:
    """Offsets are committed with member epochs, and fetched by the next member."""
    topic, group = new_topic(partitions=1), unique("group")
    produce(modern, topic, 10)
    consumer = modern.subscribe([topic], settings(group))
    assert [record.value for record in collect(consumer, 10)] == [str(index).encode() for index in range(10)]
    consumer.commit({(topic, 0): 6})
    consumer.close()
    consumer = modern.subscribe([topic], settings(group))
    assert [record.offset for record in collect(consumer, 4)] == [6, 7, 8, 9]
    assert consumer.committed((topic, 0)) == 6
    consumer.close()


@pytest.mark.parametrize("assignor", ["uniform", "range"])
def test_members_share_partitions(
    modern: Driver, connection: Connection, new_topic: NewTopic, unique: Unique, assignor: str
) -> None:
    """Nobody reads what another one does, and who is left gets everything."""
    topic, group = new_topic(partitions=4), unique("group")
    with group_of(modern.subscribe([topic], settings(group, assignor=assignor)) for _ in range(2)) as (first, second):
        wait_for(lambda: shares(first, second) == [2, 2], "both have two partitions", 30)
        assert not first.assignment & second.assignment
        produce(modern, topic, 40, partitions=4)
        wait_for(lambda: len(first.records) + len(second.records) >= 40, "all records", 30)
        read: Counter[TopicPartition] = Counter((record.topic, record.offset) for record in first.records)
        assert sum(read.values()) == 20
        assert describe_consumers(connection, group).assignor_name == assignor
        second.leave()
        wait_for(lambda: shares(first) == [4], "the other one is left with all", 30)


def test_the_broker_resolves_regular_expressions(modern: Driver, connection: Connection, unique: Unique) -> None:
    """SubscriptionPattern in Java, a topic with ^ in librdkafka."""
    if modern.name == "librdkafka" and ck.libversion()[1] < FIRST_WITH_EXPRESSIONS:
        pytest.skip(f"librdkafka {ck.libversion()[0]} resolves expressions itself")
    stem, group = unique("t"), unique("group")
    for name in ("a1", "a2", "b"):
        create_topic(connection, f"{stem}-{name}", 1)
    with group_of([modern.subscribe([f"^{stem}-a\\d"], settings(group))]) as (member,):
        expected = {(f"{stem}-a1", 0), (f"{stem}-a2", 0)}
        wait_for(lambda: member.assignment == expected, "what the expression matches", 30)
        (described,) = describe_consumers(connection, group).members
        assert f"^{stem}-a\\d" in (described.subscribed_topic_regex or "")


def test_a_static_member_comes_back(
    modern: Driver, connection: Connection, new_topic: NewTopic, unique: Unique
) -> None:
    """Closing keeps its place: the other member is left alone."""
    topic, group = new_topic(partitions=4), unique("group")
    consumers = (modern.subscribe([topic], settings(group, instance_id=f"i{index}")) for index in range(2))
    with group_of(consumers) as (first, second):
        wait_for(lambda: shares(first, second) == [2, 2], "both have two partitions", 30)
        had, kept = first.assignment, second.assignment
        first.leave()
        epoch = describe_consumers(connection, group).group_epoch
        again = Member(modern.subscribe([topic], settings(group, instance_id="i0")))
        wait_for(lambda: again.assignment == had, "what it had", 30)
        assert second.assignment == kept
        assert describe_consumers(connection, group).group_epoch == epoch
        again.leave()


@pytest.mark.parametrize("classic", ["java", "librdkafka", "kafka-python"])
def test_a_rolling_upgrade_and_back(
    drivers: Callable[[str], Driver], connection: Connection, new_topic: NewTopic, unique: Unique, classic: str
) -> None:
    """Members of both protocols in one group; the group is what its members make of it."""
    topic, group = new_topic(partitions=4), unique("group")
    old, new = drivers(classic), drivers("java")
    first = Member(old.subscribe([topic], ConsumerSettings(group=group)))
    wait_for(lambda: shares(first) == [4], "the classic member has everything", 30)
    second = Member(new.subscribe([topic], settings(group)))
    try:
        wait_for(lambda: shares(first, second) == [2, 2], "they share", 40)
        assert not first.assignment & second.assignment
        assert code(describe_consumers(connection, group).error_code) == "NONE"
        second.leave()
        wait_for(lambda: shares(first) == [4], "the classic member has everything again", 40)
        assert code(describe_consumers(connection, group).error_code) == "GROUP_ID_NOT_FOUND"
    finally:
        second.leave()
        first.leave()


def test_offsets_in_transactions_carry_member_epochs(target: Target, new_topic: NewTopic, unique: Unique) -> None:
    """What a consumer of the protocol has read is committed by a producer, and fenced with the member's epoch."""
    topic, group = new_topic(partitions=1), unique("group")
    producer = ck.Producer({"bootstrap.servers": target.bootstrap, "transactional.id": unique("txn")})
    consumer = ck.Consumer(
        {
            "bootstrap.servers": target.bootstrap,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        producer.init_transactions(30)
        producer.begin_transaction()
        for index in range(5):
            producer.produce(topic, str(index).encode())
        producer.commit_transaction(30)
        consumer.subscribe([topic])
        seen: list[object] = []

        def has_read() -> bool:
            seen.extend(consumer.consume(10, 0.2))
            return len(seen) >= 5

        wait_for(has_read, "the records", 30)
        offsets = [ck.TopicPartition(topic, 0, 5)]
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        assert consumer.committed([ck.TopicPartition(topic, 0)], timeout=20)[0].offset == 5
        left = consumer.consumer_group_metadata()
        consumer.close()
        producer.begin_transaction()
        with pytest.raises(ck.KafkaException) as caught:
            producer.send_offsets_to_transaction(offsets, left, 30)
        assert caught.value.args[0].txn_requires_abort()
        producer.abort_transaction(30)
    finally:
        consumer.close()
