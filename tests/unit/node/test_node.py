"""How a node gives up, and how it leaves."""

from __future__ import annotations

import pytest

from odradek.node.start_error import StartError
from odradek.ports import spawn
from tests.unit.node.machine import Machine

LONELY = {
    "process.roles": "broker",
    "listeners": "PLAINTEXT://localhost:9092",
    "controller.quorum.bootstrap.servers": "localhost:1",
    "initial.broker.registration.timeout.ms": "5000",
}


def test_a_broker_that_no_controller_registers_gives_up() -> None:
    machine = Machine(settings=LONELY)
    machine.format(standalone=False)
    node = machine.boot()
    starting = spawn(node.node.start())
    node.world.advance(4_999)
    assert node.fatal == []
    assert not starting.done
    node.world.advance(1)
    (error,) = node.fatal
    assert isinstance(error, StartError)
    assert str(error) == (
        "no controller has registered this broker within 5000 ms (initial.broker.registration.timeout.ms)"
    )


def test_a_broker_that_is_registered_does_not_give_up_later() -> None:
    node = Machine(settings={"initial.broker.registration.timeout.ms": "5000"}).start()
    node.world.advance(6_000)
    assert node.fatal == []


@pytest.mark.parametrize("enabled", [True, False])
def test_a_broker_asks_to_leave_unless_it_shall_not(enabled: bool) -> None:
    node = Machine(settings={"controlled.shutdown.enable": str(enabled).lower()}).start()
    node.stop()
    assert node.node.quorum.loader.image.cluster.brokers[1].fenced is enabled
