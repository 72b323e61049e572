import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from odradek.testing import EmbeddedKafka


def next_value(bootstrap_servers: str, reset: str) -> bytes | None:
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "kitchen", "enable.auto.commit": False}
    consumer = Consumer({**settings, "auto.offset.reset": reset})
    consumer.subscribe(["orders"])
    try:
        message = consumer.poll(10)
        assert message is not None
        error = message.error()
        if error is not None:
            raise LookupError(error.str())
        return message.value()
    finally:
        consumer.close()


@pytest.mark.kafka(topics=["orders"])
def test_a_group_whose_offset_is_gone_goes_on_where_it_is_told(kafka_broker: EmbeddedKafka) -> None:
    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers}
    producer = Producer(settings)
    for number in range(10):
        producer.produce("orders", str(number))
    producer.flush()
    Consumer({**settings, "group.id": "kitchen"}).commit(offsets=[TopicPartition("orders", 0, 2)], asynchronous=False)

    assert next_value(kafka_broker.bootstrap_servers, "error") == b"2"
    admin = AdminClient({"bootstrap.servers": kafka_broker.bootstrap_servers})
    (deleted,) = admin.delete_records([TopicPartition("orders", 0, 5)]).values()
    deleted.result(10)  # as retention would, while the group was away

    assert next_value(kafka_broker.bootstrap_servers, "earliest") == b"5"
    with pytest.raises(LookupError):
        next_value(kafka_broker.bootstrap_servers, "error")
