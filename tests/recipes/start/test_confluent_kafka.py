from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka


def order(bootstrap_servers: str, drink: str) -> None:  # your code
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce("orders", drink)
    producer.flush()


def test_an_order_gets_to_the_kitchen(kafka_broker: EmbeddedKafka) -> None:
    order(kafka_broker.bootstrap_servers, "tea")
    assert kafka_broker.topic("orders").values() == [b"tea"]  # without a client; or with one:

    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers, "group.id": "kitchen"}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    message = consumer.poll(10)
    consumer.close()
    assert message is not None
    assert message.value() == b"tea"
