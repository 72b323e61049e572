"""A node on an event loop, with real sockets: what `serve` runs, and what is embedded into other programs."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import NamedTuple

from odradek.config import BrokerConfig, ConfigError, Listener
from odradek.net.files import OsFileSystem
from odradek.net.job_process import SubprocessJobs
from odradek.net.limits import NetworkLimits
from odradek.net.listener import Endpoint, Network
from odradek.net.locks import LOCK_FILE, DirectoryInUseError, DirectoryLock
from odradek.net.real import LoopScheduler, RealClock, SystemRandom, ThreadExecutor
from odradek.node.node import Endpoints, Node
from odradek.node.ports import Ports
from odradek.node.start_error import StartError, unusable_address
from odradek.node.support import check_supported, properties_without_effect
from odradek.ports import FileSystem, Promise, Timing, spawn
from odradek.ports.network import FrameHandler, RunHandler
from odradek.server.peers import Peers
from odradek.storage.checkpoints import CorruptFileError
from odradek.wire.errors import KafkaError, ProtocolError

_log = logging.getLogger(__name__)

STOP_GRACE_MS = 1_000
"""How long replies in flight may take when the node stops."""


Frames = tuple[FrameHandler, RunHandler | None]
"""What a listener passes its frames to, and those that arrive together."""


class Surroundings(NamedTuple):
    """What a node finds where it runs."""

    files: FileSystem | None = None
    """Where its files are; None: on the system's disks, where it locks its directories."""
    sockets: Mapping[str, socket.socket] = {}
    """Sockets that are bound already, by listener; the node closes them. Other listeners are bound by their address."""
    on_worker: Callable[[], None] | None = None
    """Called on each thread that works for the node, before anything else."""
    ports: Callable[[Ports], Ports] | None = None
    """What becomes of the real ports, before the node is made."""
    frames: Callable[[Frames], Frames] | None = None
    """What is put before the handlers of each listener."""
    jobs_give_way: bool = True
    """Whether its other processes take what others leave of the processors; not where somebody waits for them."""


class RunningNode:
    """A node on an event loop: its sockets, its files, and its stop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: BrokerConfig,
        *,
        on_fatal: Callable[[StartError], None],
        surroundings: Surroundings = Surroundings(),  # noqa: B008 - a tuple
    ) -> None:
        """Nothing is opened before `start`. `on_fatal` is told when the node, once started, cannot go on."""
        self._loop = loop
        self._config = config
        self._surroundings = surroundings
        self._on_disks = surroundings.files is None
        self._locks: list[DirectoryLock] = []
        self._files: FileSystem = OsFileSystem() if surroundings.files is None else surroundings.files
        self._executor = ThreadExecutor(loop, on_thread=surroundings.on_worker)
        self._network = Network(
            loop,
            NetworkLimits.from_config(config),
            inter_broker_listener=config.inter_broker_listener_name,
            executor=self._executor,
        )
        self._ports: dict[str, int] = {}
        self._on_fatal = on_fatal
        self._failure: Promise[None] = Promise()
        """Fails with StartError when the node cannot go on."""
        self._node: Node | None = None
        self._between_nodes: Timing | None = None

    def port_of(self, listener: str) -> int:
        """The port in use of a listener."""
        return self._ports[listener]

    @property
    def node(self) -> Node:
        """The node once it is being started; LookupError before."""
        if self._node is None:
            raise LookupError("the node is not started")
        return self._node

    def half_close(self, connection_id: str) -> None:
        """Send nothing more over a connection, and go on to read from it; one that is gone is fine."""
        self._network.half_close(connection_id)

    def cut_connections(self, listener: str) -> int:
        """Close all connections of a listener at once, and return how many those were."""
        return self._network.cut_connections(listener)

    async def start(self) -> None:
        """Bind, open everything, and accept clients; raises ConfigError, StartError."""
        check_supported(self._config)
        ignored = properties_without_effect(self._config)
        if ignored:
            _log.warning("these properties have no effect: %s", ", ".join(ignored))
        try:
            self._lock_dirs()
            await self._start()
        except (StartError, asyncio.CancelledError):
            await self.abandon()
            raise
        except (OSError, CorruptFileError, ProtocolError, KafkaError) as error:
            await self.abandon()
            raise StartError(f"the node cannot start: {error}") from error

    async def _start(self) -> None:
        config = self._config
        listeners = []
        for listener in config.listeners:
            endpoint = Endpoint(listener.name, listener.security_protocol.name, listener.host, listener.port)
            try:
                bound = self._network.bind(
                    endpoint, _group(config, listener), self._surroundings.sockets.get(listener.name)
                )
            except OSError as error:
                raise unusable_address(error) from error
            self._ports[listener.name] = bound.port
            listeners.append(bound)
        ports = Ports(
            RealClock(), LoopScheduler(self._loop, self._network.context.run), self._executor, SystemRandom(),
            self._files, self._new_jobs if self._on_disks else None, self._new_peers,
        )  # fmt: skip
        if self._surroundings.ports is not None:
            ports = self._surroundings.ports(ports)
        self._between_nodes = ports.between_nodes
        node = Node(config, ports, Endpoints(self._ports), self._failed, self._configured)
        self._node = node
        controllers = [each for each in listeners if each.endpoint.listener in config.controller_listener_names]
        for bound in controllers:
            bound.start(*self._intercepted((node.controller_frames, None)))
        await self._settled(spawn(node.open()), self._failure)
        for bound in listeners:
            if bound not in controllers:
                bound.start(*self._intercepted((node.broker_frames, node.broker_runs)))
        await self._settled(spawn(node.join()), self._failure)

    def _intercepted(self, frames: Frames) -> Frames:
        return frames if self._surroundings.frames is None else self._surroundings.frames(frames)

    def _new_jobs(self) -> SubprocessJobs:
        return SubprocessJobs(self._loop, gives_way=self._surroundings.jobs_give_way)

    def _new_peers(self, _listener: str, purpose: str) -> Peers:
        """Connections for a purpose; every listener speaks PLAINTEXT (`check_supported`)."""
        from odradek.net.peers import LoopPeers, PeerLimits

        limits = PeerLimits(connect_timeout_ms=self._config.int_("socket.connection.setup.timeout.ms"))
        return LoopPeers(self._loop, f"odradek-{self._config.node_id}-{purpose}", limits, self._between_nodes)

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight, leave the cluster and write everything out.

        Raises StartError if the node stops because it cannot go on.
        """
        node = self._node
        if node is not None and not self._failure.done and node.has_others:
            # While the leaders move, this node still answers: followers catch up, and clients hear who leads.
            await self._settled(spawn(node.leave()), self._failure)
        await self._network.stop(STOP_GRACE_MS)
        if node is not None:
            try:
                if self._failure.done:
                    node.close()
                else:
                    await self._settled(spawn(node.stop()))
            except KafkaError as error:
                _log.error("the node is not stopped cleanly: %s", error)
        self._release()
        if self._failure.error is not None:
            raise self._failure.error

    async def abandon(self) -> None:
        """Stop at once: write everything out, but ask nobody, and let no reply be waited for."""
        await self._network.stop(0)
        if self._node is not None:
            try:
                self._node.close()
            except KafkaError as error:
                _log.error("the node is not stopped cleanly: %s", error)
        self._release()

    async def crash(self) -> None:
        """End as if the process were killed: nothing is written out, and nobody is told.

        Nothing of the node may run any more, which is up to who gave it its `Surroundings.ports`.
        """
        await self._network.stop(0)
        self._release()

    def _lock_dirs(self) -> None:
        """Take the node's directories; one that has no disk to hold a lock is left for the node to find."""
        if not self._on_disks:
            return
        for path in dict.fromkeys((*self._config.log_dirs, self._config.metadata_log_dir)):
            try:
                self._locks.append(DirectoryLock(path))
            except DirectoryInUseError:
                raise StartError(
                    f"{path} is in use: another node holds its {LOCK_FILE}; stop that one, or use another directory"
                ) from None
            except OSError as error:
                _log.warning("%s is not locked: %s", path, error)

    def _release(self) -> None:
        self._executor.shutdown()
        for lock in self._locks:
            lock.release()
        self._locks.clear()
        for sock in self._surroundings.sockets.values():
            sock.close()

    def _configured(self, config: BrokerConfig) -> None:
        """Properties were set at run time."""
        try:
            limits = NetworkLimits.from_config(config)
        except ConfigError as error:
            _log.warning("the limits of connections stay as they are: %s", error)
            return
        if limits != self._network.context.limits:
            self._network.update_limits(limits)

    def _failed(self, error: StartError) -> None:
        if not self._failure.done:
            self._failure.reject(error)
            self._on_fatal(error)

    async def _settled(self, *promises: Promise[None]) -> None:
        """Wait for the first of them."""
        future: asyncio.Future[None] = self._loop.create_future()

        def settle(settled: Promise[None]) -> None:
            if future.done():
                return
            if settled.error is not None:
                future.set_exception(settled.error)
            else:
                future.set_result(None)

        for promise in promises:
            promise.on_done(settle)
        await future


def _group(config: BrokerConfig, listener: Listener) -> str:
    """Whose limits of connections a listener is under: the broker's, or those of the controller beside it."""
    return "controller" if listener.name in config.controller_listener_names else "broker"
