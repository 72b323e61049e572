import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from odradek.testing import EmbeddedKafka


def replay(bootstrap_servers: str, since_ms: int) -> list[bytes | None]:  # your code
    """All orders since a time, in milliseconds since the Unix epoch."""
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "-", "enable.auto.commit": False}
    consumer = Consumer({**settings, "enable.partition.eof": True})
    consumer.assign(consumer.offsets_for_times([TopicPartition("orders", 0, since_ms)], 10))
    found = []
    while (message := consumer.poll(10)) is not None and not message.error():
        found.append(message.value())
    consumer.close()
    return found


@pytest.mark.kafka(topics=["orders"], config={"log.message.timestamp.type": "LogAppendTime"})
def test_the_orders_of_the_last_hour_can_be_replayed(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for order in ("breakfast", "lunch", "dinner"):
        producer.produce("orders", order)
        producer.flush()
        kafka_broker.clock.advance(hours=5)

    seven_hours_ago = kafka_broker.clock.now_ms - 7 * 3_600_000
    assert replay(kafka_broker.bootstrap_servers, seven_hours_ago) == [b"dinner"]
    assert replay(kafka_broker.bootstrap_servers, 0) == [b"breakfast", b"lunch", b"dinner"]
