import pytest
from confluent_kafka import Producer, ThrottleEvent

from odradek.testing import EmbeddedKafka


class Sender:  # your code: it slows down when the cluster asks for it
    def __init__(self, bootstrap_servers: str) -> None:
        self.throttled_ms = 0
        self.producer = Producer({"bootstrap.servers": bootstrap_servers, "throttle_cb": self._throttled})

    def _throttled(self, event: ThrottleEvent) -> None:
        self.throttled_ms += round(event.throttle_time * 1000)


@pytest.mark.kafka(topics=["orders"])
def test_a_sender_hears_that_it_is_throttled(kafka_broker: EmbeddedKafka) -> None:
    sender = Sender(kafka_broker.bootstrap_servers)
    with kafka_broker.faults.throttle("Produce", ms=80, times=1):
        sender.producer.produce("orders", "soup")
        sender.producer.flush(10)
        kafka_broker.wait_until(lambda: sender.producer.poll(0.01) or sender.throttled_ms)
    assert sender.throttled_ms == 80
    assert kafka_broker.topic("orders").values() == [b"soup"]
