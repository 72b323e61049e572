import pytest
from confluent_kafka import Producer

from odradek.testing import EmbeddedKafka
from odradek.wire.messages.init_producer_id import InitProducerIdRequest
from odradek.wire.messages.produce import ProduceRequest


def new_producer(bootstrap_servers: str) -> Producer:  # your code
    return Producer({"bootstrap.servers": bootstrap_servers, "client.id": "till", "enable.idempotence": True})


@pytest.mark.kafka(topics=["payments"])
def test_payments_are_sent_safely(kafka_broker: EmbeddedKafka) -> None:
    producer = new_producer(kafka_broker.bootstrap_servers)
    producer.produce("payments", "30")
    producer.flush()

    (request,) = kafka_broker.requests.of(ProduceRequest).from_client("till").for_topic("payments")
    assert request.message.acks == -1
    assert request.error_codes == []
    assert len(kafka_broker.requests.of(InitProducerIdRequest).from_client("till")) == 1  # it is idempotent
