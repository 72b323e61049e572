from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka, Record

ATTEMPTS = 3


def handle_next(consumer: Consumer, producer: Producer, pay: Callable[[bytes], None]) -> None:  # your code
    """Handle a payment. One that fails is tried again behind the others, and given up after the third time."""
    message = consumer.poll(10)
    assert message is not None
    assert message.error() is None
    value, attempt = message.value() or b"", int(dict(message.headers() or []).get("attempt") or b"1")
    try:
        pay(value)
    except ConnectionError:
        topic = "payments.retry" if attempt < ATTEMPTS else "payments.dead"
        producer.produce(topic, value, message.key(), headers={"attempt": str(attempt + 1)})
        producer.flush()
    consumer.commit(message=message, asynchronous=False)


@pytest.mark.kafka(topics=["payments", "payments.retry", "payments.dead"])
def test_a_payment_is_given_up_after_three_attempts(kafka_broker: EmbeddedKafka) -> None:
    tried = []

    def pay(value: bytes) -> None:
        tried.append(value)
        if value == b"declined":
            raise ConnectionError

    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers}
    producer = Producer(settings)
    producer.produce("payments", "declined")
    producer.produce("payments", "fine")
    producer.flush()
    consumer = Consumer({**settings, "group.id": "till", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe(["payments", "payments.retry"])
    for _ in range(4):
        handle_next(consumer, producer, pay)
    consumer.close()

    assert sorted(tried) == [b"declined", b"declined", b"declined", b"fine"]
    assert kafka_broker.topic("payments.dead").records() == [Record(value=b"declined", headers={"attempt": b"4"})]
    assert kafka_broker.group("till").total_lag == 0
