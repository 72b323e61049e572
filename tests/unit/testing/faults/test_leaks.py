"""What is left of faults when all is over; apart from tests with nodes that run on."""

from __future__ import annotations

from odradek.testing import EmbeddedKafka
from tests.unit.testing.clients import produce
from tests.unit.testing.leaks import nothing_left


def test_crashes_and_pauses_leave_nothing() -> None:
    with EmbeddedKafka() as kafka, kafka.faults.crash():
        pass  # what is imported stays
    with nothing_left():
        kafka = EmbeddedKafka(3, topics=["t"]).start()
        kafka.faults.hang_transaction("t")
        with kafka.faults.crash(2):
            produce(kafka.bootstrap_servers, "t", "v")
        kafka.faults.pause(2)
        kafka.faults.crash(3, noticed=False)
        kafka.faults.isolate(1)
        kafka.stop()
