import pytest
from confluent_kafka import Producer

from odradek.testing import EmbeddedKafka


@pytest.mark.kafka(topics=["orders"])
def test_what_a_full_disk_has_refused_is_sent_again(kafka_broker: EmbeddedKafka) -> None:
    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers, "reconnect.backoff.ms": 10}
    producer = Producer({**settings, "reconnect.backoff.max.ms": 50, "enable.idempotence": True})  # your code
    producer.produce("orders", "fits")
    producer.flush()

    with kafka_broker.faults.disk_full() as full:
        producer.produce("orders", "does not fit")
        full.wait()  # the broker has met it, and goes down, as Apache Kafka does
        assert producer.flush(0.2) == 1
    assert producer.flush(10) == 0  # there is room again, and the broker is up

    assert kafka_broker.topic("orders").values() == [b"fits", b"does not fit"]
