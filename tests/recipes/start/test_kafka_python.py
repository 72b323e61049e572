from kafka import KafkaConsumer, KafkaProducer

from odradek.testing import EmbeddedKafka


def order(bootstrap_servers: str, drink: str) -> None:  # your code
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers)
    producer.send("orders", drink.encode())
    producer.close()


def test_an_order_gets_to_the_kitchen(kafka_broker: EmbeddedKafka) -> None:
    order(kafka_broker.bootstrap_servers, "tea")

    consumer = KafkaConsumer(
        "orders",
        bootstrap_servers=kafka_broker.bootstrap_servers,
        group_id="kitchen",
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    message = next(consumer)
    consumer.close()
    assert message.value == b"tea"
