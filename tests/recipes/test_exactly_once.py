import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka


class Doubler:  # your code: consume, transform, produce
    def __init__(self, bootstrap_servers: str) -> None:
        settings = {"bootstrap.servers": bootstrap_servers}
        self.consumer = Consumer(
            {**settings, "group.id": "doubler", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        )
        self.consumer.subscribe(["numbers"])
        self.producer = Producer({**settings, "transactional.id": "doubler"})
        self.producer.init_transactions(10)

    def begin(self) -> None:
        message = self.consumer.poll(10)
        assert message is not None
        assert message.error() is None
        self.producer.begin_transaction()
        self.producer.produce("doubled", str(2 * int(message.value() or b"0")))

    def commit(self) -> None:
        offsets = self.consumer.position(self.consumer.assignment())
        self.producer.send_offsets_to_transaction(offsets, self.consumer.consumer_group_metadata(), 10)
        self.producer.commit_transaction(10)


@pytest.mark.kafka(topics=["numbers", "doubled"])
def test_what_a_crash_has_left_open_is_done_once(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for number in range(1, 4):
        producer.produce("numbers", str(number))
    producer.flush()

    first = Doubler(kafka_broker.bootstrap_servers)
    first.begin()
    first.commit()
    first.begin()
    first.producer.flush()  # a 4 is in the topic, and then it "crashes"
    first.consumer.close()

    second = Doubler(kafka_broker.bootstrap_servers)  # aborts what the first has left open
    for _ in range(2):
        second.begin()
        second.commit()
    second.consumer.close()

    doubled = kafka_broker.topic("doubled")
    assert doubled.values() == [b"2", b"4", b"6"]
    assert doubled.values(isolation_level="read_uncommitted") == [b"2", b"4", b"4", b"6"]
    assert kafka_broker.group("doubler").total_lag == 0
