import json
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka

Order = dict[str, object]


def read_old(order: Order) -> str:  # the release that runs today
    return f"{order['dish']}"


def read_new(order: Order) -> str:  # the next one: knows how many, and that older orders do not say so
    return f"{order.get('count', 1)} {order['dish']}"


OLD: Order = {"dish": "soup"}
NEW: Order = {"dish": "soup", "count": 2}


@pytest.mark.kafka(topics=["orders"])
@pytest.mark.parametrize(
    ("written", "read", "understood"),
    [(OLD, read_new, "1 soup"), (NEW, read_old, "soup"), (NEW, read_new, "2 soup")],
    ids=["new code, old data", "old code, new data", "new code, new data"],
)
def test_each_release_reads_the_others_orders(
    kafka_broker: EmbeddedKafka, written: Order, read: Callable[[Order], str], understood: str
) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    producer.produce("orders", json.dumps(written))
    producer.flush()

    settings = {"bootstrap.servers": kafka_broker.bootstrap_servers, "group.id": "kitchen"}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.subscribe(["orders"])
    message = consumer.poll(10)
    consumer.close()
    assert message is not None
    assert read(json.loads(message.value() or b"")) == understood
