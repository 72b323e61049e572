import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka, Topic

HOURS_MS = 3_600_000


@pytest.mark.kafka(topics=[Topic("orders", config={"retention.ms": 24 * HOURS_MS})])
def test_a_consumer_that_comes_late_misses_what_is_too_old(kafka_broker: EmbeddedKafka) -> None:
    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers}
    producer = Producer(settings)
    producer.produce("orders", "of yesterday", timestamp=kafka_broker.clock.now_ms)
    producer.flush()
    kafka_broker.clock.advance(hours=25)
    producer.produce("orders", "of today", timestamp=kafka_broker.clock.now_ms)
    producer.flush()

    late = Consumer({**settings, "group.id": "late", "auto.offset.reset": "earliest"})
    late.subscribe(["orders"])
    message = late.poll(10)
    late.close()
    assert message is not None
    assert (message.offset(), message.value()) == (1, b"of today")
