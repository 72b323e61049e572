import pytest
from confluent_kafka import KafkaException, Producer

from odradek.testing import EmbeddedKafka


def transactional(bootstrap_servers: str) -> Producer:
    producer = Producer(
        {"bootstrap.servers": bootstrap_servers, "transactional.id": "till", "transaction.timeout.ms": 60_000}
    )
    producer.init_transactions(10)
    return producer


@pytest.mark.kafka(topics=["payments"])
def test_a_zombie_cannot_commit(kafka_broker: EmbeddedKafka) -> None:
    zombie = transactional(kafka_broker.bootstrap_servers)
    zombie.begin_transaction()
    zombie.produce("payments", "of the zombie")
    zombie.flush()

    successor = transactional(kafka_broker.bootstrap_servers)
    successor.begin_transaction()
    successor.produce("payments", "of the successor")
    successor.commit_transaction(10)

    with pytest.raises(KafkaException) as refused:
        zombie.commit_transaction(10)
    assert refused.value.args[0].fatal()
    assert kafka_broker.topic("payments").values() == [b"of the successor"]


@pytest.mark.kafka(topics=["payments"])
def test_a_transaction_that_takes_too_long_is_aborted(kafka_broker: EmbeddedKafka) -> None:
    slow = transactional(kafka_broker.bootstrap_servers)
    slow.begin_transaction()
    slow.produce("payments", "late")
    slow.flush()
    assert kafka_broker.transaction("till").state == "Ongoing"

    kafka_broker.clock.advance(minutes=2)

    assert kafka_broker.transaction("till").state == "CompleteAbort"
    with pytest.raises(KafkaException):
        slow.commit_transaction(10)
    assert kafka_broker.topic("payments").values() == []
