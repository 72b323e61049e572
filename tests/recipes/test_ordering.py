import pytest
from confluent_kafka import Producer

from odradek.testing import EmbeddedKafka


def send(bootstrap_servers: str, steps: list[tuple[str, str]]) -> None:  # your code
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    for order, step in steps:
        producer.produce("steps", step, key=order)
    producer.flush()


@pytest.mark.kafka(topics={"steps": 6})
def test_the_steps_of_an_order_stay_in_order(kafka_broker: EmbeddedKafka) -> None:
    orders = [f"order {number}" for number in range(20)]
    send(kafka_broker.bootstrap_servers, [(order, step) for step in ("cooked", "served", "paid") for order in orders])

    records = kafka_broker.topic("steps").records(key=bytes.decode, value=bytes.decode)
    assert len({record.partition for record in records}) > 1
    for order in orders:
        mine = [record for record in records if record.key == order]
        assert [record.value for record in mine] == ["cooked", "served", "paid"]
        assert len({record.partition for record in mine}) == 1
