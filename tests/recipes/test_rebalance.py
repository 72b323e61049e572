import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from odradek.testing import EmbeddedKafka


class Worker:  # your code: it commits what it has done before it gives partitions up
    def __init__(self, bootstrap_servers: str) -> None:
        self.done: list[bytes | None] = []
        self.uncommitted: dict[int | None, Message] = {}
        settings = {"bootstrap.servers": bootstrap_servers, "group.id": "workers", "heartbeat.interval.ms": 100}
        self.consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.auto.commit": False})
        self.consumer.subscribe(["orders"], on_revoke=self.commit)

    def step(self) -> None:
        message = self.consumer.poll(0.05)
        if message is not None and not message.error():
            self.done.append(message.value())
            self.uncommitted[message.partition()] = message

    def commit(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        for message in self.uncommitted.values():
            self.consumer.commit(message=message, asynchronous=False)
        self.uncommitted.clear()


@pytest.mark.kafka(topics={"orders": 2})
def test_nothing_is_done_twice_when_another_worker_comes(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for number in range(20):
        producer.produce("orders", str(number), partition=number % 2)
    producer.flush()

    first = Worker(kafka_broker.bootstrap_servers)
    while len(first.done) < 5:
        first.step()  # it has both partitions, and is in the middle of them
    second = Worker(kafka_broker.bootstrap_servers)
    while len(first.done) + len(second.done) < 20:
        first.step()
        second.step()

    assert len(first.consumer.assignment()) == len(second.consumer.assignment()) == 1
    assert sorted(int(value or b"") for value in first.done + second.done) == list(range(20))

    first.consumer.close()
    while len(second.consumer.assignment()) < 2:
        second.step()  # and takes over what the first one had
    second.consumer.close()
    assert len(second.done) + len(first.done) == 20
