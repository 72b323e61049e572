"""How a node gives up, and how it leaves."""

from __future__ import annotations

import pytest

from odradek.metadata.cluster_delta import FENCE
from odradek.node.node import LOOK_MS, OTHERS_LEAVE_MS, SIGNALS_MS, SILENCE_MS
from odradek.node.start_error import StartError
from odradek.ports import spawn
from odradek.wire.persistent.metadata.broker_registration_change_record import BrokerRegistrationChangeRecord
from odradek.wire.persistent.metadata.register_broker_record import RegisterBrokerRecord
from tests.unit.node.machine import Machine, RunningNode

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


def test_what_comes_between_the_metadata_and_the_registration_may_take_as_long_as_it_likes() -> None:
    node = Machine(settings={"initial.broker.registration.timeout.ms": "5000"}).boot()
    opening = spawn(node.node.open())
    node.world.advance(60_000)
    assert opening.done
    assert node.fatal == []


def test_a_broker_whose_registration_is_refused_gives_up() -> None:
    from odradek.metadata.image import MetadataImage

    node = Machine(settings={"initial.broker.registration.timeout.ms": "5000"}).boot()
    broker, controller = node.node.broker, node.node.controller.controller
    open_logs = broker.open_logs

    def lose_the_controller(image: MetadataImage) -> None:
        open_logs(image)
        controller.close()

    broker.open_logs = lose_the_controller  # type: ignore[method-assign] # at the one moment that counts
    opening = spawn(node.node.open())
    node.world.advance(6_000)
    assert not opening.done
    assert len(node.fatal) == 1


def test_a_broker_that_is_registered_does_not_give_up_later() -> None:
    node = Machine(settings={"initial.broker.registration.timeout.ms": "5000"}).start()
    node.world.advance(6_000)
    assert node.fatal == []


@pytest.mark.parametrize("enabled", [True, False])
def test_a_broker_asks_to_leave_unless_it_shall_not(enabled: bool) -> None:
    node = Machine(settings={"controlled.shutdown.enable": str(enabled).lower()}).start()
    node.stop()
    assert node.node.quorum.loader.image.cluster.brokers[1].fenced is enabled


def with_another_broker() -> RunningNode:
    """A single voter, and a broker that is alive on another node."""
    node = Machine().start()
    other = RegisterBrokerRecord(broker_id=2, broker_epoch=7, fenced=False)
    node.node.quorum.raft.append([(other, 3)], atomic=True)
    node.world.advance(10)
    node.node.controller.controller.state.sessions.touch(2, 7, node.world.monotonic_ms())
    return node


def change(node: RunningNode, *, fenced: int = 0, leaving: bool = False) -> None:
    """What the controller notes of the other broker."""
    record = BrokerRegistrationChangeRecord(
        broker_id=2, broker_epoch=7, fenced=fenced, in_controlled_shutdown=int(leaving)
    )
    node.node.quorum.raft.append([(record, 1)], atomic=True)


def test_a_voter_stays_for_a_broker_that_is_leaving_too() -> None:
    node = with_another_broker()
    leaving = spawn(node.node.leave())
    node.world.advance(SIGNALS_MS / 2)
    change(node, leaving=True)
    node.world.advance(OTHERS_LEAVE_MS / 2)
    assert not leaving.done
    change(node, fenced=FENCE)
    node.world.advance(LOOK_MS)
    assert leaving.done


def test_a_voter_does_not_stay_for_ever() -> None:
    node = with_another_broker()
    change(node, leaving=True)
    leaving = spawn(node.node.leave())
    node.world.advance(OTHERS_LEAVE_MS - 100)
    assert not leaving.done
    node.world.advance(1_000)
    assert leaving.done


def test_a_voter_does_not_stay_for_brokers_that_go_on() -> None:
    node = with_another_broker()
    leaving = spawn(node.node.leave())
    node.world.advance(2 * SIGNALS_MS)
    assert leaving.done


def test_a_voter_does_not_stay_where_there_is_no_controller_to_let_others_go() -> None:
    node = with_another_broker()
    change(node, leaving=True)
    node.world.advance(10)
    raft = node.node.quorum.raft
    raft.resign(raft.epoch)
    leaving = spawn(node.node.leave())
    node.world.advance(SILENCE_MS + SIGNALS_MS)
    assert leaving.done
