import pytest
from confluent_kafka import KafkaError, Message, Producer

from odradek.testing import EmbeddedKafka, Topic


def send(bootstrap_servers: str, value: str) -> list[str]:  # your code
    """Send a payment, and wait until it is safe; returns the names of the errors."""
    errors: list[str] = []

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            errors.append(error.name())

    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all", "retries": 0})
    producer.produce("payments", value, on_delivery=on_delivery)
    producer.flush(10)
    return errors


@pytest.mark.kafka(nodes=2, topics=[Topic("payments", config={"min.insync.replicas": 2})])
def test_a_payment_is_refused_while_it_would_not_be_safe(kafka_cluster: EmbeddedKafka) -> None:
    payments = kafka_cluster.topic("payments")
    leader = payments.partitions[0].leader
    assert leader is not None
    follower = 3 - leader

    with kafka_cluster.faults.shrink_isr(follower, topic="payments"):
        assert payments.partitions[0].isr == (leader,)
        assert send(kafka_cluster.bootstrap_servers, "30") == ["NOT_ENOUGH_REPLICAS"]

    assert send(kafka_cluster.bootstrap_servers, "40") == []
    assert payments.values() == [b"40"]
