import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from odradek.testing import EmbeddedKafka, Record, Topic

COMPACTED: dict[str, str | int] = {"cleanup.policy": "compact", "segment.ms": 60_000, "min.cleanable.dirty.ratio": 0}


def load_table(bootstrap_servers: str) -> dict[bytes | None, bytes | None]:  # your code
    """The latest price of each dish that is on the card."""
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "-", "enable.auto.commit": False}
    consumer = Consumer({**settings, "enable.partition.eof": True})
    consumer.assign([TopicPartition("prices", 0, 0)])
    table = {}
    while (message := consumer.poll(10)) is not None and not message.error():
        table[message.key()] = message.value()
    consumer.close()
    return {key: value for key, value in table.items() if value is not None}


@pytest.mark.kafka(topics=[Topic("prices", config=COMPACTED)])
def test_the_table_is_the_same_before_and_after_compaction(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for dish, price in [("soup", "3"), ("rice", "5"), ("soup", "4"), ("rice", None), ("tea", "2")]:
        producer.produce("prices", price, dish)
    producer.flush()
    assert load_table(kafka_broker.bootstrap_servers) == {b"soup": b"4", b"tea": b"2"}

    kafka_broker.clock.advance(minutes=2)
    later_ms = kafka_broker.clock.now_ms
    producer.produce("prices", "2", "tea", timestamp=later_ms)  # begins a new segment: what is before it is compacted
    producer.flush()
    kafka_broker.clock.advance(minutes=1)

    assert kafka_broker.topic("prices").records() == [
        Record(offset=2, key=b"soup", value=b"4"),
        Record(offset=3, key=b"rice", value=None),  # kept for delete.retention.ms
        Record(offset=4, key=b"tea", value=b"2"),
        Record(offset=5, key=b"tea", value=b"2"),
    ]
    assert load_table(kafka_broker.bootstrap_servers) == {b"soup": b"4", b"tea": b"2"}
