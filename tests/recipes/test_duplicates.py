import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka


class Till:  # your code: knows which payments it has taken, as a database would
    def __init__(self) -> None:
        self.taken: dict[bytes, int] = {}

    def take(self, payment_id: bytes, amount: int) -> None:
        self.taken.setdefault(payment_id, amount)


def handle_next(bootstrap_servers: str, till: Till, *, crash: bool) -> None:
    settings = {"group.id": "till", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, **settings})
    consumer.subscribe(["payments"])
    message = consumer.poll(10)
    assert message is not None
    assert message.error() is None
    till.take(message.key() or b"", int(message.value() or b"0"))
    if not crash:
        consumer.commit(message=message, asynchronous=False)
    consumer.close()


@pytest.mark.kafka(topics=["payments"])
def test_a_payment_is_taken_once_although_it_comes_twice(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    producer.produce("payments", "30", key="payment 1")
    producer.flush()
    till = Till()

    handle_next(kafka_broker.bootstrap_servers, till, crash=True)
    assert kafka_broker.group("till").committed_offsets == {}
    handle_next(kafka_broker.bootstrap_servers, till, crash=False)

    assert till.taken == {b"payment 1": 30}
    assert kafka_broker.group("till").committed_offsets == {"payments": {0: 1}}
