import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka
from odradek.wire.messages.fetch import FetchRequest


@pytest.mark.parametrize(("release", "fetch"), [("2.8", 12), ("3.9", 17)])
def test_it_works_with_the_kafka_that_we_have(release: str, fetch: int) -> None:
    with EmbeddedKafka(topics=["orders"], max_versions=release) as kafka:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        producer.produce("orders", "soup")
        producer.flush()
        consumer = Consumer(
            {"bootstrap.servers": kafka.bootstrap_servers, "group.id": "kitchen", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe(["orders"])
        message = consumer.poll(10)
        consumer.close()

        assert message is not None
        assert message.value() == b"soup"
        assert max(request.version for request in kafka.requests.of(FetchRequest)) <= fetch
