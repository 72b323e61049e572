import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from odradek.testing import EmbeddedKafka

IMPATIENT = {"session.timeout.ms": 500, "heartbeat.interval.ms": 100, "max.poll.interval.ms": 500}


def consumer(bootstrap_servers: str, **settings: object) -> Consumer:
    common = {"group.id": "kitchen", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    made = Consumer({"bootstrap.servers": bootstrap_servers, **common, **settings})
    made.subscribe(["orders"])
    return made


@pytest.mark.kafka(topics=["orders"], config={"group.min.session.timeout.ms": 100})
def test_a_consumer_that_takes_too_long_loses_its_work(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    producer.produce("orders", "a banquet")
    producer.flush()

    slow = consumer(kafka_broker.bootstrap_servers, **IMPATIENT)
    message = slow.poll(10)
    assert message is not None
    kafka_broker.group("kitchen").wait_for_state("Empty")  # it is still cooking, and has not polled again

    other = consumer(kafka_broker.bootstrap_servers)
    again = other.poll(10)
    assert again is not None
    assert again.value() == message.value()
    with pytest.raises(KafkaException):
        slow.commit(message=message, asynchronous=False)
    other.commit(message=again, asynchronous=False)
    assert kafka_broker.group("kitchen").committed_offsets == {"orders": {0: 1}}
    other.close()
    slow.close()
