"""Consumer groups that go from one broker to the other in their log: nobody notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from odradek.wire.messages.consumer_group_describe import DescribedGroup
from tests.kafka_files.dump import complaints, dump, files_of, tools_or_skip
from tests.kafka_files.nodes import QUICK_RETURN, OdradekOver
from tests.support.apache import ApacheKafka, Unavailable
from tests.support.consumer_groups import RawConsumer, describe_consumers
from tests.support.process import BrokerProcess, wait_for
from tests.support.requests import await_coordinator, connect, create_topic, serves
from tests.support.wire import Connection

SETTINGS = {
    **QUICK_RETURN,
    "broker.rack": "rack-1",
    "group.consumer.assignment.interval.ms": "0",
    "offsets.topic.num.partitions": "1",
}
TOPICS = {"orders": 3, "order-items": 2, "bills": 1}


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[ApacheKafka]:
    try:
        node = ApacheKafka(tmp_path, SETTINGS)
    except Unavailable as error:
        pytest.skip(f"Apache Kafka cannot be run: {error}")
    yield node
    node.close()


@pytest.fixture
def odradek(kafka: ApacheKafka) -> Iterator[OdradekOver]:
    kafka.start()
    node = OdradekOver(kafka)
    yield node
    node.close()


def normal(group: DescribedGroup) -> DescribedGroup:
    """With everything in an order that does not depend on the broker."""
    group.members.sort(key=lambda member: member.member_id)
    for member in group.members:
        for assignment in (member.assignment, member.target_assignment):
            assignment.topic_partitions.sort(key=lambda topic: topic.topic_name)
            for topic in assignment.topic_partitions:
                topic.partitions.sort()
    return group


def form(connection: Connection) -> list[RawConsumer]:
    """A group with a static member, an expression, and one that is on its way; topics have racks."""
    await_coordinator(connection, "g")
    for topic, partitions in TOPICS.items():
        create_topic(connection, topic, partitions)
    members = [
        RawConsumer(connection, "g", "orders", "bills", instance="one"),
        RawConsumer(connection, "g", "bills", regex="order.*"),
    ]
    for member in members:
        member.join(server_assignor="range")
    wait_for(lambda: _beat(members) == sum(TOPICS.values()), "all partitions have owners")
    members[0].settle(*members[1:])
    late = RawConsumer(connection, "g", "orders")
    late.join()
    return [*members, late]


def _beat(members: list[RawConsumer]) -> int:
    for member in members:
        member.beat()
    return sum(member.count() for member in members)


def go_on(connection: Connection, members: list[RawConsumer], before: DescribedGroup) -> None:
    """The group is as it was, and its members' heartbeats find the same topics: no new epoch."""
    await_coordinator(connection, "g")
    for topic, partitions in TOPICS.items():
        wait_for(lambda topic=topic, count=partitions: serves(connection, topic, count), f"{topic} is served")  # type: ignore[misc]  # bound now
    assert normal(describe_consumers(connection, "g")) == before
    for member in members:
        member.connection = connection
    members[0].settle(*members[1:])
    assert sum(member.count() for member in members) == sum(TOPICS.values())
    after = describe_consumers(connection, "g")
    assert (after.group_epoch, after.group_state) == (before.group_epoch, "Stable")


@pytest.mark.parametrize("first", ["kafka", "odradek"])
def test_a_group_goes_on_with_the_other_broker(kafka: ApacheKafka, odradek: OdradekOver, first: str) -> None:
    order: list[BrokerProcess] = [kafka, odradek]
    if first == "odradek":
        order.reverse()
        kafka.stop()
        odradek.start()
    with connect(order[0]) as connection:
        members = form(connection)
        before = normal(describe_consumers(connection, "g"))
    order[0].stop()
    order[1].start()
    with connect(order[1]) as connection:
        go_on(connection, members, before)


def test_kafkas_tool_reads_our_records(kafka: ApacheKafka, odradek: OdradekOver) -> None:
    libs = tools_or_skip()
    kafka.stop()
    odradek.start()
    with connect(odradek) as connection:
        members = form(connection)
        for member in members:
            member.leave()
    odradek.stop()
    text = dump(libs, files_of(kafka.data_dir / "__consumer_offsets-0"), "--offsets-decoder")
    assert complaints(text) == []
    for kind in ("3", "5", "6", "7", "8", "16"):
        assert f'"type":"{kind}"' in text
    assert '"subscribedTopicRegex":"order.*"' in text
