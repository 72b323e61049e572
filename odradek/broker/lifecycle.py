"""A broker's standing with the controller: it registers, is unfenced, sends heartbeats, and asks to leave (KIP-631)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.broker.controller_client import ControllerClient
from odradek.ports import Promise, Scheduler, TimerHandle
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import BrokerRegistrationRequest, BrokerRegistrationResponse
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

UNKNOWN_EPOCH = -1
RETRY_MS = 100
"""How soon a registration that failed is tried again."""


class LifecycleOptions(NamedTuple):
    """`broker.heartbeat.interval.ms`; the ids of directories that failed, and of those that get no new partitions.

    The latter are None where the metadata's version has no place for them: controllers of that time do not know them.
    """

    heartbeat_interval_ms: int
    offline_dirs: Callable[[], Sequence[Uuid]] = tuple
    cordoned_dirs: Callable[[], Sequence[Uuid] | None] = lambda: None


class BrokerLifecycle:
    """Registers, then sends heartbeats until the controller lets the broker go.

    It registers again if the controller does not know its epoch.
    """

    def __init__(
        self,
        broker_id: int,
        registration: Callable[[], BrokerRegistrationRequest],
        controller: ControllerClient,
        scheduler: Scheduler,
        options: LifecycleOptions,
        metadata_offset: Callable[[], int],
    ) -> None:
        """`registration` says who this broker is; it is asked when the broker registers, with its logs open."""
        self.epoch = UNKNOWN_EPOCH
        self.registered: Promise[int] = Promise()
        """Settles with the broker epoch."""
        self.unfenced: Promise[None] = Promise()
        """Settles once clients may use this broker."""
        self.answers = 0
        """How many heartbeats the controller has taken."""
        self._may_stop: Promise[None] = Promise()
        self._broker_id = broker_id
        self._registration = registration
        self._controller = controller
        self._scheduler = scheduler
        self._options = options
        self._metadata_offset = metadata_offset
        self._timer: TimerHandle | None = None
        self._refusal: ErrorCode | None = None
        """What the last registration was refused with, so that it is logged once."""
        self._in_flight = False
        self._again = False
        """There is news that the heartbeat under way does not carry."""
        self._is_ready = False
        self._stopping = False
        self._closed = False

    def start(self) -> None:
        """Register, and go on until `close`; heartbeats are sent from `ready` on."""
        self._controller.send(self._registration(), BrokerRegistrationResponse).on_done(self._registration_answered)

    def ready(self) -> None:
        """This broker can be reached now: the controller may have others use it."""
        self._is_ready = True
        self._heartbeat_if_known()

    def stop(self) -> Promise[None]:
        """Ask the controller to move leaders away; settles once this broker may go."""
        self._stopping = True
        if self.epoch == UNKNOWN_EPOCH:
            self._may_stop.resolve(None)
        else:
            self._heartbeat()
        return self._may_stop

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def metadata_moved(self) -> None:
        """The image has moved on: while fenced, tell the controller at once, for it waits for that."""
        if not self.unfenced.done:
            self._heartbeat_if_known()

    def dirs_changed(self) -> None:
        """A log directory failed, or is cordoned or not any more: tell the controller at once."""
        self._heartbeat_if_known()

    def _heartbeat_if_known(self) -> None:
        if self._is_ready and self.epoch != UNKNOWN_EPOCH:
            self._heartbeat()

    def _registration_answered(self, answer: Promise[BrokerRegistrationResponse]) -> None:
        if self._closed:
            return
        code = ErrorCode.NOT_CONTROLLER if answer.error is not None else ErrorCode(answer.result().error_code)
        if code is not ErrorCode.NONE:
            if code is not self._refusal:
                _log.warning("the controller did not register this broker (%s); trying again", code.name)
                self._refusal = code
            self._timer = self._scheduler.call_later(RETRY_MS, self.start)
            return
        self._refusal = None
        self.epoch = answer.result().broker_epoch
        self.registered.resolve(self.epoch)
        self._heartbeat_if_known()

    def _heartbeat(self) -> None:
        if self._closed:
            return
        if self._in_flight:
            self._again = True
            return
        if self._timer is not None:
            self._timer.cancel()
        self._in_flight = True
        cordoned = self._options.cordoned_dirs()
        request = BrokerHeartbeatRequest(
            broker_id=self._broker_id,
            broker_epoch=self.epoch,
            current_metadata_offset=self._metadata_offset(),
            want_fence=False,
            want_shut_down=self._stopping,
            offline_log_dirs=list(self._options.offline_dirs()),
            cordoned_log_dirs=None if cordoned is None else list(cordoned),
        )
        self._controller.send(request, BrokerHeartbeatResponse).on_done(self._heartbeat_answered)

    def _heartbeat_answered(self, answer: Promise[BrokerHeartbeatResponse]) -> None:
        self._in_flight = False
        if self._closed:
            return
        delay_ms: float = self._options.heartbeat_interval_ms
        code = ErrorCode.NONE if answer.error is not None else ErrorCode(answer.result().error_code)
        if answer.error is not None or code is not ErrorCode.NONE:
            _log.warning("a heartbeat failed: %s", answer.error or code.name)
            delay_ms = RETRY_MS
            if code is ErrorCode.STALE_BROKER_EPOCH and not self._stopping:
                # The controller knows another start of this broker, or none: only a registration can mend that.
                self._timer = self._scheduler.call_later(RETRY_MS, self.start)
                return
        else:
            self.answers += 1
            response = answer.result()
            if not response.is_fenced:
                self.unfenced.resolve(None)
            if response.should_shut_down:
                self._may_stop.resolve(None)
                return
            if self._stopping:
                delay_ms = RETRY_MS
        if self._again:
            self._again = False
            self._heartbeat()
            return
        self._timer = self._scheduler.call_later(delay_ms, self._heartbeat)
