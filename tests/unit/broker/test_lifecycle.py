"""A broker's standing with the controller: registration, heartbeats, and what it does when they are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import pytest

from odradek.broker.lifecycle import BrokerLifecycle, LifecycleOptions
from odradek.ports import Promise
from odradek.server.context import RequestContext
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

Resp = TypeVar("Resp", bound=Message)
INTERVAL_MS = 2_000


class Controller:
    """Answers as the test says; remembers what it was asked."""

    def __init__(self) -> None:
        self.epochs = iter((10, 20, 30))
        self.registrations = 0
        self.heartbeats: list[BrokerHeartbeatRequest] = []
        self.refusal: ErrorCode | None = None
        self.heartbeat: Callable[[], BrokerHeartbeatResponse | KafkaError | None] = lambda: BrokerHeartbeatResponse(
            is_fenced=False
        )

    def send(self, request: Message, response: type[Resp], _context: RequestContext | None = None) -> Promise[Resp]:
        answer: Message | KafkaError | None
        if isinstance(request, BrokerRegistrationRequest):
            self.registrations += 1
            answer = (
                BrokerRegistrationResponse(error_code=self.refusal)
                if self.refusal is not None
                else BrokerRegistrationResponse(broker_epoch=next(self.epochs))
            )
        else:
            assert isinstance(request, BrokerHeartbeatRequest)
            self.heartbeats.append(request)
            answer = self.heartbeat()
        if answer is None:
            return Promise()
        return Promise.failed(answer) if isinstance(answer, KafkaError) else Promise.of(cast("Resp", answer))


class Scene:
    """A broker that starts."""

    def __init__(self) -> None:
        self.world = FakeWorld()
        self.controller = Controller()
        self.lifecycle = BrokerLifecycle(
            1,
            lambda: BrokerRegistrationRequest(broker_id=1),
            self.controller,
            self.world,
            LifecycleOptions(INTERVAL_MS),
            lambda: 7,
        )

    def start(self) -> None:
        self.lifecycle.start()
        self.lifecycle.ready()


def test_a_broker_registers_and_sends_heartbeats_with_its_epoch() -> None:
    scene = Scene()
    scene.start()
    assert scene.lifecycle.registered.result() == 10
    assert scene.lifecycle.unfenced.done
    scene.world.advance(3 * INTERVAL_MS)
    assert [beat.broker_epoch for beat in scene.controller.heartbeats] == [10] * 4
    assert scene.controller.heartbeats[0].current_metadata_offset == 7


def test_a_broker_that_cannot_be_reached_yet_asks_for_nothing_but_its_registration() -> None:
    scene = Scene()
    scene.lifecycle.start()
    scene.lifecycle.metadata_moved()
    scene.lifecycle.dirs_changed()
    scene.world.advance(3 * INTERVAL_MS)
    assert scene.lifecycle.registered.result() == 10
    assert scene.controller.heartbeats == []
    scene.lifecycle.ready()
    assert scene.lifecycle.unfenced.done


def test_a_registration_that_is_refused_is_tried_again_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.controller.refusal = ErrorCode.DUPLICATE_BROKER_REGISTRATION
    scene.start()
    scene.world.advance(5_000)
    assert scene.controller.registrations > 20
    assert len(caplog.records) == 1
    scene.controller.refusal = None
    scene.world.advance(200)
    assert scene.lifecycle.registered.done
    assert scene.controller.heartbeats


def test_a_broker_whose_epoch_the_controller_does_not_know_registers_again() -> None:
    scene = Scene()
    scene.start()
    scene.controller.heartbeat = lambda: BrokerHeartbeatResponse(error_code=ErrorCode.STALE_BROKER_EPOCH)
    scene.world.advance(INTERVAL_MS)
    scene.controller.heartbeat = lambda: BrokerHeartbeatResponse(is_fenced=False)
    scene.world.advance(INTERVAL_MS)
    assert scene.controller.registrations == 2
    assert scene.lifecycle.epoch == 20
    assert scene.controller.heartbeats[-1].broker_epoch == 20


def test_heartbeats_go_on_when_no_controller_answers() -> None:
    scene = Scene()
    scene.start()
    scene.controller.heartbeat = lambda: KafkaError(ErrorCode.REQUEST_TIMED_OUT)
    scene.world.advance(INTERVAL_MS + 1_000)
    assert len(scene.controller.heartbeats) >= 10
    assert scene.controller.registrations == 1


def test_a_broker_that_leaves_asks_until_it_may() -> None:
    scene = Scene()
    scene.start()
    left = scene.lifecycle.stop()
    scene.world.advance(500)
    assert not left.done
    assert scene.controller.heartbeats[-1].want_shut_down
    scene.controller.heartbeat = lambda: BrokerHeartbeatResponse(is_fenced=True, should_shut_down=True)
    scene.world.advance(100)
    assert left.done
    count = len(scene.controller.heartbeats)
    scene.world.advance(10_000)
    assert len(scene.controller.heartbeats) == count


def test_a_broker_that_leaves_does_not_register_any_more() -> None:
    scene = Scene()
    scene.start()
    scene.controller.heartbeat = lambda: BrokerHeartbeatResponse(error_code=ErrorCode.STALE_BROKER_EPOCH)
    left = scene.lifecycle.stop()
    scene.world.advance(1_000)
    assert not left.done
    assert scene.controller.registrations == 1
    assert scene.lifecycle.answers == 1
