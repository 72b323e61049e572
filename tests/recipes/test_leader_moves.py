import pytest
from confluent_kafka import Producer

from odradek.testing import EmbeddedKafka


def new_producer(bootstrap_servers: str) -> Producer:  # your code
    settings = {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 0}
    return Producer({**settings, "retry.backoff.ms": 10})


@pytest.mark.kafka(topics=["orders"])
def test_a_producer_follows_the_leader(kafka_cluster: EmbeddedKafka) -> None:
    producer = new_producer(kafka_cluster.bootstrap_servers)
    producer.produce("orders", "to the first leader")
    assert producer.flush(10) == 0
    before = kafka_cluster.topic("orders").partitions[0].leader

    with kafka_cluster.faults.move_leader("orders"):  # by the controller, to another replica
        producer.produce("orders", "to the second")
        assert producer.flush(10) == 0
        assert kafka_cluster.topic("orders").partitions[0].leader != before
        assert kafka_cluster.topic("orders").values() == [b"to the first leader", b"to the second"]


@pytest.mark.kafka(topics=["orders"])
def test_a_producer_asks_again_who_leads(kafka_broker: EmbeddedKafka) -> None:
    producer = new_producer(kafka_broker.bootstrap_servers)
    with kafka_broker.faults.fail("Produce", "NOT_LEADER_OR_FOLLOWER", topic="orders", times=2) as fault:
        producer.produce("orders", "soup")  # the same with one node, and the error alone
        assert producer.flush(10) == 0
        assert fault.hits == 2
    assert kafka_broker.topic("orders").values() == [b"soup"]
