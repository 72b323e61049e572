"""A node's controller: the decisions over the quorum, and its registration with whichever controller is active."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from odradek.broker.controller_client import ControllerClient
from odradek.config import BrokerConfig
from odradek.controller.api import controller_handlers
from odradek.controller.controller import Controller
from odradek.controller.state import ControllerIdentity
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.features import METADATA_VERSION
from odradek.metadata.image import MetadataImage
from odradek.metadata.versions import CONTROLLERS_SINCE
from odradek.node.data_dirs import DataDirs
from odradek.node.in_process import InProcess
from odradek.node.ports import Ports
from odradek.node.quorum_part import QuorumPart
from odradek.node.registration import controller_registration_request
from odradek.ports import Promise, TimerHandle
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.controller_registration import ControllerRegistrationResponse

_log = logging.getLogger(__name__)

RETRY_MS = 1_000
"""How soon a registration that was refused is tried again."""


class ControllerPart:
    """Everything that a controller does beside the quorum, but for sockets."""

    def __init__(
        self, config: BrokerConfig, ports: Ports, dirs: DataDirs, quorum: QuorumPart, listener_ports: Mapping[str, int]
    ) -> None:
        self._scheduler = ports.scheduler
        self.raft = quorum.raft
        self.loader = quorum.loader
        self.controller = new_controller(config, ports, dirs, quorum)
        quorum.raft.add_listener(self.controller)
        self.handlers = controller_handlers(self.controller)
        self.in_process = InProcess("controller", ports, self.handlers)
        self._registration = controller_registration_request(config, ports.random.uuid(), listener_ports)
        self._timer: TimerHandle | None = None
        self._active: ControllerClient | None = None
        self._is_known = False
        """Whether the metadata has this controller."""
        self._waits_for_version: Callable[[], None] | None = None
        """Registers this controller once metadata.version knows controllers."""
        self._closed = False
        quorum.loader.add_publisher(self._metadata_changed)

    def register(self, active: ControllerClient) -> None:
        """Tell the active controller where this one is reached (KIP-919), now and whenever that is forgotten."""
        self._active = active
        active.send(self._registration, ControllerRegistrationResponse).on_done(
            lambda answer: self._registered(answer, lambda: self.register(active))
        )

    def close(self) -> None:
        """Decide no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.controller.close()

    def _metadata_changed(self, _delta: MetadataDelta, image: MetadataImage) -> None:
        was_known = self._is_known
        self._is_known = self._registration.controller_id in image.cluster.controllers
        if was_known and not self._is_known and self._active is not None and not self._closed:
            _log.warning("this controller was unregistered while it runs; it registers again")
            self.register(self._active)
        again = self._waits_for_version
        if again is not None and image.features.finalized.get(METADATA_VERSION, 0) >= CONTROLLERS_SINCE:
            self._waits_for_version = None
            again()

    def _registered(self, answer: Promise[ControllerRegistrationResponse], again: Callable[[], None]) -> None:
        if self._closed or (answer.error is None and not answer.result().error_code):
            return
        if answer.error is None and answer.result().error_code == ErrorCode.UNSUPPORTED_VERSION:
            self._waits_for_version = again
            return
        reason = answer.error or ErrorCode(answer.result().error_code).name
        _log.warning("the active controller did not register this one (%s); trying again", reason)
        self._timer = self._scheduler.call_later(RETRY_MS, again)


def new_controller(config: BrokerConfig, ports: Ports, dirs: DataDirs, quorum: QuorumPart) -> Controller:
    """A controller that decides once it is a listener of the quorum and this node leads."""
    return Controller(
        ControllerIdentity(dirs.cluster_id, config.node_id),
        config,
        quorum.raft,
        quorum.loader,
        ports.clock,
        ports.scheduler,
        ports.random,
    )
