import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka

QUICK = {"reconnect.backoff.ms": 10, "reconnect.backoff.max.ms": 50, "retry.backoff.ms": 10}


@pytest.mark.kafka(topics=["orders"])
def test_nothing_is_lost_while_the_broker_is_down(kafka_broker: EmbeddedKafka) -> None:
    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers, **QUICK}
    producer = Producer({**settings, "enable.idempotence": True})  # your code
    producer.produce("orders", "before")
    producer.flush()

    with kafka_broker.faults.crash():  # as kill -9; it is started again at the end of the block
        producer.produce("orders", "meanwhile")
        assert producer.flush(0.2) == 1  # it waits in the client
    assert producer.flush(10) == 0

    assert kafka_broker.topic("orders").values() == [b"before", b"meanwhile"]


@pytest.mark.kafka(topics=["orders"])
def test_a_consumer_goes_on_where_it_was(kafka_broker: EmbeddedKafka) -> None:
    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers, **QUICK}
    producer = Producer(settings)
    consumer = Consumer({**settings, "group.id": "kitchen", "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    read: list[bytes | None] = []
    for value in ("first", "second"):
        producer.produce("orders", value)
        assert producer.flush(10) == 0
        while len(read) < 1 + (value == "second"):
            message = consumer.poll(0.1)
            if message is not None and not message.error():
                read.append(message.value())
        if value == "first":
            kafka_broker.faults.crash().lift()  # down, and up again
    consumer.close()
    assert read == [b"first", b"second"]
