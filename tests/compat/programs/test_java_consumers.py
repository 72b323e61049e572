"""Kafka's VerifiableProducer and VerifiableConsumer (KafkaProducer and KafkaConsumer) in both group protocols."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.process import BrokerProcess, wait_for
from tests.support.program import Program
from tests.support.requests import connect, create_topic

pytestmark = pytest.mark.owns_broker

PARTITIONS = 4
MESSAGES = 5000
SESSIONS = {
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "500",
}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_reads_everything_while_members_come_die_and_go(
    protocol: str,
    own_broker: Callable[..., BrokerProcess],
    unique: Callable[[str], str],
    start_tool: Callable[..., Program],
) -> None:
    """No record is missed, and none that was committed is delivered again."""
    broker, topic, group = own_broker(SESSIONS), unique("topic"), unique("group")
    with connect(broker) as connection:
        create_topic(connection, topic, PARTITIONS)
    place = ("--bootstrap-server", broker.bootstrap, "--topic", topic)
    session = ("--session-timeout", "4000") if protocol == "classic" else ()
    member = ("VerifiableConsumer", *place, "--group-id", group, "--group-protocol", protocol, "--verbose", *session)
    load = ("--max-messages", str(MESSAGES), "--throughput", "500", "--repeating-keys", "100")
    producer = start_tool("VerifiableProducer", *place, *load, name="producer")
    first, second = (start_tool(*member, name=name) for name in ("first", "second"))
    members = [first, second]

    def consumed(program: Program, at_least: int) -> Callable[[], bool]:
        def enough() -> bool:
            for each in (producer, *members):
                each.check()
            return bool(sum(event["count"] for event in _events(program, "records_consumed")) >= at_least)

        return enough

    wait_for(consumed(first, 200), "the first member reads", 40)
    wait_for(consumed(second, 200), "the second member reads", 40)
    first.kill()
    members.append(start_tool(*member, name="third"))
    wait_for(consumed(members[2], 200), "a member that came later reads", 40)
    assert second.stop() in (0, 143)
    wait_for(lambda: len(_events(producer, "producer_send_success")) == MESSAGES, "all is sent", 40)
    ends = dict.fromkeys(range(PARTITIONS), 0)
    for event in _events(producer, "producer_send_success"):
        ends[event["partition"]] = max(ends[event["partition"]], event["offset"] + 1)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    wait_for(lambda: _committed(admin, group, topic) == ends, "everything is committed", 40)
    assert members[2].stop() in (0, 143)

    seen = {(record["partition"], record["offset"]) for each in members for record in _events(each, "record_data")}
    assert seen == {(number, offset) for number, end in ends.items() for offset in range(end)}
    assert list(_read_again(members)) == []


def _events(program: Program, name: str) -> list[dict[str, Any]]:
    """Events of a name that the program has printed whole."""
    lines = program.output.split("\n")[:-1]
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in events if event["name"] == name]


def _committed(admin: AdminClient, group: str, topic: str) -> dict[int, int]:
    asked = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    (future,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, asked)]).values()
    return {place.partition: place.offset for place in future.result(20).topic_partitions}


def _read_again(members: list[Program]) -> Iterator[tuple[int, int]]:
    """(partition, offset) of what was delivered after its commit was known to have succeeded."""
    commits: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for member in members:
        for event in _events(member, "offsets_committed"):
            if event["success"]:
                for place in event["offsets"]:
                    commits[place["partition"]].append((event["timestamp"], place["offset"]))
    for member in members:
        for event in _events(member, "records_consumed"):
            for place in event["partitions"]:
                for timestamp, offset in commits[place["partition"]]:
                    if timestamp < event["timestamp"] and place["minOffset"] < offset:
                        yield place["partition"], place["minOffset"]
