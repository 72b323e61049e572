"""One node: controller and broker in one process, from open listeners to a clean stop, without sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from odradek.config import BrokerConfig, Listener
from odradek.metadata.features import SUPPORTED
from odradek.node.broker_part import BrokerCallbacks, BrokerIdentity, BrokerPart
from odradek.node.controller_part import ControllerPart
from odradek.node.data_dirs import DataDirs, open_data_dirs
from odradek.node.ports import Ports
from odradek.node.start_error import StartError
from odradek.ports import Turns
from odradek.ports.network import FrameHandler
from odradek.security.acl import AllowAll
from odradek.server.api_versions import ApiVersionsHandler, Features
from odradek.server.dispatcher import Dispatcher
from odradek.server.handlers import AnyHandler, erase
from odradek.server.lane import Lane
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_pool import FilePool

CONTROLLED_SHUTDOWN_MS = 500
"""How long a stop waits for the controller to move leaders away; on a single node there is nowhere to move them."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ports in use, by listener: what is advertised where the configuration asked for any free one."""

    ports: Mapping[str, int]

    def advertised(self, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        """The listeners with the port that is in use in place of 0."""
        return tuple(
            listener._replace(port=listener.port or self.ports.get(listener.name, 0)) for listener in listeners
        )


class Node:
    """Put together from a configuration and ports; `broker_frames` and `controller_frames` answer requests."""

    def __init__(
        self,
        config: BrokerConfig,
        ports: Ports,
        endpoints: Endpoints,
        on_fatal: Callable[[StartError], None],
        on_config: Callable[[BrokerConfig], None],
    ) -> None:
        """Open (or format) the data directories; raises StartError, OSError, CorruptFileError.

        `on_fatal` is told why the node cannot go on, `on_config` the properties whenever some are set at run time.
        """
        self.config = config
        self._ports = ports

        def metadata_log_failed(error: BaseException) -> None:
            on_fatal(StartError(f"the node has stopped, for its metadata log failed: {error}"))

        self.dirs: DataDirs = open_data_dirs(config, ports.files, ports.clock, ports.random)
        environment = LogEnvironment(
            FilePool(ports.files),
            ports.clock,
            ports.scheduler,
            ports.executor,
            ports.random,
            lambda _directory, error: metadata_log_failed(error),
        )
        self.controller = ControllerPart(config, ports, self.dirs, environment, endpoints.ports, metadata_log_failed)
        self.broker = BrokerPart(
            config,
            ports,
            BrokerIdentity(self.dirs, endpoints.advertised(config.advertised_listeners)),
            self.controller,
            self.controller.handler,
            BrokerCallbacks(on_config, on_fatal),
        )
        self.broker_handlers = self._with_api_versions(self.broker.handlers())
        turns, lane = Turns(ports.clock, ports.scheduler), Lane()
        self.broker_frames: FrameHandler = Dispatcher(self.broker_handlers, AllowAll(), turns, lane).handle
        self.controller_frames: FrameHandler = Dispatcher(
            self._with_api_versions(self.controller.handlers), AllowAll(), turns, lane
        ).handle

    async def start(self) -> None:
        """Elect, replay, open the logs and register; returns when clients may come. Driven by `ports.spawn`."""
        await self.controller.start()
        self.broker.load(self.controller.loader.image)
        self.controller.loader.add_publisher(self.broker.publish)
        self.broker.lifecycle.start()
        await self.broker.lifecycle.unfenced

    async def stop(self) -> None:
        """Leave the cluster and write everything out. Driven by `ports.spawn`."""
        stopped = self.broker.lifecycle.stop()
        timer = self._ports.scheduler.call_later(CONTROLLED_SHUTDOWN_MS, lambda: stopped.resolve(None))
        await stopped
        timer.cancel()
        await self.broker.logs.close_later()
        self.close()

    def close(self) -> None:
        """Write everything out, without asking anybody."""
        self.broker.close()
        self.controller.close()

    def _with_api_versions(self, handlers: list[AnyHandler]) -> list[AnyHandler]:
        versions = ApiVersionsHandler(handlers, self._features, self.dirs.cluster_id, self.config.node_id)
        return [*handlers, erase(versions.handler())]

    def _features(self) -> Features:
        image = self.controller.loader.image
        finalized = {**image.features.finalized, "kraft.version": self.controller.raft.kraft_version}
        return Features(SUPPORTED, finalized, image.offset)
