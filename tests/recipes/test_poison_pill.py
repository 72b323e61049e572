import json

import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka, Record


def cook(bootstrap_servers: str, orders: int) -> list[str]:  # your code
    """Handle so many orders; what cannot be read goes to another topic, with the reason."""
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "kitchen", "auto.offset.reset": "earliest"}
    consumer, producer = Consumer(settings), Producer({"bootstrap.servers": bootstrap_servers})
    consumer.subscribe(["orders"])
    cooked = []
    for message in consumer.consume(orders, timeout=10):
        try:
            cooked.append(json.loads(message.value() or b"")["dish"])
        except ValueError as error:
            producer.produce(
                "orders.dead",
                message.value(),
                message.key(),
                headers={"error": type(error).__name__, "offset": str(message.offset())},
            )
    producer.flush()
    consumer.close()
    return cooked


@pytest.mark.kafka(topics=["orders", "orders.dead"])
def test_an_order_that_cannot_be_read_stops_no_other(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for value in ['{"dish": "soup"}', "{broken", '{"dish": "rice"}']:
        producer.produce("orders", value, "table 4")
    producer.flush()

    assert cook(kafka_broker.bootstrap_servers, 3) == ["soup", "rice"]
    assert kafka_broker.topic("orders.dead").records() == [
        Record(key=b"table 4", value=b"{broken", headers={"error": b"JSONDecodeError", "offset": b"1"})
    ]
    assert kafka_broker.group("kitchen").total_lag == 0
