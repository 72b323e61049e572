import pytest
from confluent_kafka import Consumer

from odradek.testing import EmbeddedKafka


def member(bootstrap_servers: str, instance: str) -> Consumer:  # your code
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "kitchen", "heartbeat.interval.ms": 100}
    consumer = Consumer({**settings, "group.instance.id": instance})
    consumer.subscribe(["orders"])
    return consumer


@pytest.mark.kafka(topics={"orders": 4})
def test_a_member_that_is_restarted_gets_its_partitions_back(kafka_broker: EmbeddedKafka) -> None:
    group = kafka_broker.group("kitchen")
    members = [member(kafka_broker.bootstrap_servers, name) for name in ("pod-1", "pod-2")]

    def assigned() -> list[list[int]]:
        for each in members:
            each.poll(0.05)
        found = [[place.partition for place in each.assignment()] for each in members]
        return found if [len(each) for each in found] == [2, 2] else []

    before = kafka_broker.wait_until(assigned)
    generation = group.wait_for_stable(members=2).generation
    members[0].close()
    members[0] = member(kafka_broker.bootstrap_servers, "pod-1")

    assert kafka_broker.wait_until(assigned) == before
    assert group.describe().generation == generation  # nobody else was disturbed
    for each in members:
        each.close()
