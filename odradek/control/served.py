"""`odradek serve --control`: the node of `odradek serve`, or several, with all that can be done to embedded ones."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from odradek.config import BrokerConfig, ConfigError, ProcessRole
from odradek.control.server import ControlServer
from odradek.net.files import OsFileSystem
from odradek.net.listener import bound_socket
from odradek.node.start_error import StartError, unusable_address
from odradek.node.starting import has_started
from odradek.storage.memory_files import MemoryFileSystem
from odradek.testing.cluster import Cluster, Prepared
from odradek.testing.options import Options

NODE_ID = 1
"""Of the one node, as `odradek serve` has it."""

P = ParamSpec("P")
T = TypeVar("T")


class ControlOptions(NamedTuple):
    """Where the controls are, and for whom."""

    host: str
    port: int
    token: str | None = None


NewCluster = Callable[[Callable[[], None]], Cluster]
"""Makes the nodes; the function that is passed ends the process, for they cannot go on."""


def one_node(config: BrokerConfig, *, in_memory: bool) -> NewCluster:
    """The node of `odradek serve`; raises ConfigError for one that has others."""
    if config.node_id != NODE_ID or len(config.process_roles) != len(ProcessRole):
        raise ConfigError("node.id", f"--control is for a node alone: node.id={NODE_ID}, and broker and controller")
    return lambda on_failure: ServedCluster(config, in_memory=in_memory, on_failure=on_failure)


def several_nodes(count: int, properties: Mapping[str, str]) -> NewCluster:
    """Nodes in memory, as `EmbeddedKafka` has them: each goes its way, and others go on where one cannot.

    Raises ConfigError for a property that each node has its own of.
    """
    options = Options.of(count, (), properties, None, kafka_defaults=False)
    return lambda _on_failure: Cluster(options, _nothing)


def check_access(options: ControlOptions) -> None:
    """Raise ConfigError for an address that others reach, if there is no token."""
    if options.token is None and not _is_loopback(options.host):
        raise ConfigError("", f"--control {options.host}: others reach this address, so that --control-token is needed")
    if options.token is not None and not options.token.strip():
        raise ConfigError("", "--control-token: the token is empty")


class ServedCluster(Cluster):
    """One node with the properties, sockets and files of `odradek serve`."""

    def __init__(self, config: BrokerConfig, *, in_memory: bool, on_failure: Callable[[], None]) -> None:
        """`on_failure` is called when the node cannot go on."""
        data_dir = None if in_memory else config.log_dirs[0]
        super().__init__(Options(1, (), {}, data_dir, kafka_defaults=True), _nothing)
        self._config = config
        self._on_failure = on_failure

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT of the first listener for clients."""
        listener = (self._config.broker_listeners or self._config.listeners)[0]
        host = listener.host or "localhost"
        return ",".join(
            f"{f'[{host}]' if ':' in host else host}:{node.port_of(listener.name)}" for node in self.nodes.values()
        )

    async def stop(self) -> None:
        """Stop the node as `odradek serve` does; raises StartError if it could not go on."""
        self._end_faults()
        nodes, self.nodes = list(self.nodes.values()), {}
        for node in nodes:
            await node.stop()
        await super().stop()

    def node_failed(self, error: StartError) -> None:
        """The process ends, as it would without controls."""
        super().node_failed(error)
        self._on_failure()

    def prepare(self, take_socket: Callable[[int, str], socket.socket], undo: ExitStack) -> list[Prepared]:
        """The one node; raises StartError."""
        sockets = {}
        for listener in self._config.listeners:
            try:
                sockets[listener.name] = take_socket(0, listener.name)
            except OSError as error:
                raise unusable_address(error) from error
            undo.callback(sockets[listener.name].close)
        in_memory = self._options.data_dir is None
        return [Prepared(self._config, MemoryFileSystem() if in_memory else OsFileSystem(), sockets)]

    def bind(self, listener: str, port: int) -> socket.socket:
        """The address of a listener; raises OSError, which names it."""
        wanted = next(each for each in self._config.listeners if each.name == listener)
        try:
            return bound_socket(wanted.host, wanted.port or port)
        except OSError as error:
            where = f"{wanted.host or '*'}:{wanted.port or port}"
            raise OSError(error.errno, f"cannot listen on {where} ({error.strerror})") from error


class LoopHost:
    """Implements `Host` for nodes on a loop that others run."""

    def __init__(self, loop: asyncio.AbstractEventLoop, cluster: Cluster) -> None:
        self.ready: Future[str] = Future()
        self.stopped: Future[None] = Future()
        self._loop = loop
        self._cluster = cluster

    def call(
        self, action: Callable[Concatenate[Cluster, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run `action` on the loop."""

        async def run() -> T:
            return await action(self._cluster, *args, **kwargs)

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    def start(self) -> None:
        """Nothing: who runs the loop has started the nodes."""

    def request_stop(self) -> None:
        """Nothing: who runs the loop stops the nodes."""

    def join(self) -> None:
        """Nothing: who runs the loop waits for them."""


async def serve(
    new_cluster: NewCluster,
    control: ControlOptions,
    *,
    on_ready: Callable[[str], None],
    on_control: Callable[[str], None],
    stop: asyncio.Event,
) -> int:
    """`odradek.node.serve` with controls; `on_control` gets their URL before `on_ready` is called."""
    loop = asyncio.get_running_loop()
    cluster = new_cluster(stop.set)
    host = LoopHost(loop, cluster)
    try:
        server = ControlServer(lambda: host, control.host, control.port, control.token)
    except OSError as error:
        raise StartError(f"--control {control.host}:{control.port}: {error.strerror or error}") from error
    try:
        starting = asyncio.ensure_future(cluster.start())
        if not await has_started(starting, stop):
            return 0
        address = starting.result()
        server.start()
        on_control(f"http://{f'[{control.host}]' if ':' in control.host else control.host}:{server.port}")
        on_ready(address)
        await stop.wait()
    finally:
        # What it asks of the nodes has to be answered meanwhile.
        await loop.run_in_executor(None, server.stop)
    await cluster.stop()
    return 0


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _nothing() -> None:
    """Threads that work for the node need no preparation."""
