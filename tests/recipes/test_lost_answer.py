import pytest
from confluent_kafka import Producer

from odradek.testing import EmbeddedKafka


def send(bootstrap_servers: str, value: str, *, idempotent: bool) -> None:  # your code
    settings = {"bootstrap.servers": bootstrap_servers, "enable.idempotence": idempotent, "retry.backoff.ms": 10}
    producer = Producer({**settings, "reconnect.backoff.ms": 10})
    producer.produce("payments", value)
    assert producer.flush(10) == 0


@pytest.mark.kafka(topics=["payments"])
@pytest.mark.parametrize(("idempotent", "written"), [(False, 2), (True, 1)])
def test_a_retry_is_written_twice_unless_the_producer_is_idempotent(
    kafka_broker: EmbeddedKafka, idempotent: bool, written: int
) -> None:
    with kafka_broker.faults.lose_response("Produce", topic="payments", times=1) as fault:
        send(kafka_broker.bootstrap_servers, "30", idempotent=idempotent)
        assert fault.hits == 1
    assert kafka_broker.topic("payments").values() == [b"30"] * written
