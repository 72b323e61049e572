import pytest
from confluent_kafka import KafkaError, Message, Producer

from odradek.testing import EmbeddedKafka


def send(bootstrap_servers: str, value: str) -> KafkaError | None:  # your code
    """Send something; returns the error, if it is not delivered within a second."""
    errors: list[KafkaError | None] = []

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        errors.append(error)

    producer = Producer({"bootstrap.servers": bootstrap_servers, "delivery.timeout.ms": 1000, "linger.ms": 0})
    producer.produce("orders", value, on_delivery=on_delivery)
    producer.flush()
    return errors[0]


@pytest.mark.kafka(topics=["orders"])
def test_a_broker_that_does_not_answer_is_given_up(kafka_broker: EmbeddedKafka) -> None:
    with kafka_broker.faults.stall("Produce", topic="orders", applied=True):
        error = send(kafka_broker.bootstrap_servers, "soup")
    assert error is not None
    assert error.code() == KafkaError._MSG_TIMED_OUT
    assert kafka_broker.topic("orders").values() == [b"soup"]  # all the same: nobody can tell that it is not there
