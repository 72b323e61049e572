import pytest
from confluent_kafka import Consumer, TopicPartition

from odradek.testing import EmbeddedKafka


@pytest.mark.kafka(topics=["orders"])
def test_a_commit_finds_the_new_coordinator(kafka_cluster: EmbeddedKafka) -> None:
    settings = {"bootstrap.servers": kafka_cluster.bootstrap_servers, "retry.backoff.ms": 10}
    consumer = Consumer({**settings, "group.id": "kitchen"})  # your code
    consumer.commit(offsets=[TopicPartition("orders", 0, 6)], asynchronous=False)

    with kafka_cluster.faults.move_coordinator(group="kitchen"):
        consumer.commit(offsets=[TopicPartition("orders", 0, 7)], asynchronous=False)
        assert kafka_cluster.group("kitchen").committed_offsets == {"orders": {0: 7}}
    consumer.close()


@pytest.mark.kafka(topics=["orders"])
def test_a_commit_is_tried_again(kafka_broker: EmbeddedKafka) -> None:
    consumer = Consumer({"bootstrap.servers": kafka_broker.bootstrap_servers, "group.id": "kitchen"})
    with kafka_broker.faults.fail("OffsetCommit", "NOT_COORDINATOR", group="kitchen", times=1) as fault:
        consumer.commit(offsets=[TopicPartition("orders", 0, 7)], asynchronous=False)
        assert fault.hits == 1  # the same with one node, and the error alone
    consumer.close()
    assert kafka_broker.group("kitchen").committed_offsets == {"orders": {0: 7}}
