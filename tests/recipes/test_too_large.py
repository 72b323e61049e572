import pytest
from confluent_kafka import KafkaError, Message, Producer

from odradek.testing import EmbeddedKafka, Topic


def send(bootstrap_servers: str, values: list[bytes]) -> list[bytes]:  # your code
    """Send them, and return those that the broker does not take."""
    refused: list[bytes] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            refused.append(message.value() or b"")

    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 0})
    for value in values:
        producer.produce("pictures", value, on_delivery=on_delivery)
        producer.flush()
    return refused


@pytest.mark.kafka(topics=[Topic("pictures", config={"max.message.bytes": 10_000})])
def test_what_is_too_large_is_told(kafka_broker: EmbeddedKafka) -> None:
    small, large = bytes(1_000), bytes(20_000)
    assert send(kafka_broker.bootstrap_servers, [small, large, small]) == [large]
    assert kafka_broker.topic("pictures").values() == [small, small]
