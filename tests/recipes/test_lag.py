import threading

import pytest
from confluent_kafka import Consumer, Producer

from odradek.testing import EmbeddedKafka


def cook(bootstrap_servers: str, stop: threading.Event) -> None:  # your code, on a thread of its own
    settings = {"bootstrap.servers": bootstrap_servers, "group.id": "kitchen", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe(["orders"])
    while not stop.is_set():
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            consumer.commit(message=message, asynchronous=False)
    consumer.close()


@pytest.mark.kafka(topics={"orders": 3})
def test_the_kitchen_gets_all_orders_done(kafka_broker: EmbeddedKafka) -> None:
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap_servers})
    for number in range(30):
        producer.produce("orders", str(number), partition=number % 3)
    producer.flush()

    stop = threading.Event()
    thread = threading.Thread(target=cook, args=(kafka_broker.bootstrap_servers, stop))
    thread.start()
    try:
        group = kafka_broker.group("kitchen").wait_for_lag(at_most=0)
    finally:
        stop.set()
        thread.join()
    assert group.committed_offsets == {"orders": {0: 10, 1: 10, 2: 10}}
