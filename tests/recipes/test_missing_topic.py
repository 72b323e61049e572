import pytest
from confluent_kafka import KafkaError, Message, Producer

from odradek.testing import EmbeddedKafka


def send(bootstrap_servers: str, topic: str) -> list[int]:  # your code
    """Send something; returns the codes of the errors."""
    errors: list[int] = []

    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            errors.append(error.code())

    producer = Producer({"bootstrap.servers": bootstrap_servers, "topic.metadata.propagation.max.ms": 1000})
    producer.produce(topic, b"soup", on_delivery=on_delivery)
    producer.flush()
    return errors


@pytest.mark.kafka(topics=["orders"], config={"auto.create.topics.enable": False})
def test_a_topic_that_is_not_there_is_an_error(kafka_broker: EmbeddedKafka) -> None:
    assert send(kafka_broker.bootstrap_servers, "orders") == []
    assert send(kafka_broker.bootstrap_servers, "oders") == [KafkaError.UNKNOWN_TOPIC_OR_PART]
    assert kafka_broker.topics() == {"orders": 1}


@pytest.mark.kafka(config={"num.partitions": 3})
def test_or_it_is_created(kafka_broker: EmbeddedKafka) -> None:
    assert send(kafka_broker.bootstrap_servers, "oders") == []
    assert kafka_broker.topics() == {"oders": 3}
