"""Embedded nodes on one event loop: their sockets, files and formatting, their start and their stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from odradek.config import BrokerConfig, ProcessRole
from odradek.metadata.image import MetadataImage
from odradek.net.files import OsFileSystem
from odradek.net.listener import bound_socket
from odradek.net.real import RealClock, SystemRandom
from odradek.node.data_dirs import read_meta_properties
from odradek.node.formatting import FormatError, FormatOptions, format_directories
from odradek.node.running import Frames, RunningNode, Surroundings
from odradek.node.start_error import StartError
from odradek.ports import FileSystem, Promise, spawn
from odradek.storage.memory_files import MemoryFileSystem
from odradek.testing.defaults import BROKER, CONTROLLER, HOST, node_properties
from odradek.testing.disk import Disk
from odradek.testing.ground import Ground
from odradek.testing.interception import Interception
from odradek.testing.links import Links
from odradek.testing.options import Options, Topic, property_text
from odradek.testing.releases import offer_of
from odradek.testing.virtual_time import VirtualTime
from odradek.testing.watching import Watch
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.uuids import uuid_to_string

if TYPE_CHECKING:
    from odradek.testing.faults.engine import FaultEngine

T = TypeVar("T")

_MEMORY_DIR = "/odradek-in-memory"
"""The path that files in memory are under; nothing of that name is created."""
_NODE_DIR = "node-"
_OTHERS_FILE = "cluster.properties"
_MAX_REPLICAS = 3


class Prepared(NamedTuple):
    """A node before it runs."""

    config: BrokerConfig
    files: FileSystem
    sockets: Mapping[str, socket.socket]


class Cluster:
    """The nodes of one `EmbeddedKafka`. Belongs to the thread of its loop."""

    def __init__(self, options: Options, on_worker: Callable[[], None]) -> None:
        """`on_worker` is called on every thread that works for a node."""
        self._options = options
        self._on_worker = on_worker
        self.nodes: dict[int, RunningNode] = {}
        """Those that run, by id."""
        self.watch = Watch()
        self.interceptions: dict[int, Interception] = {}
        """Of each node, by id; a node that is started again has another one."""
        self._sockets: list[Mapping[str, socket.socket]] = []
        """What each node listens on, by listener."""
        self._ports: list[Mapping[str, int]] = []
        self._topic_names: dict[bytes, str] = {}
        self._prepared: dict[int, Prepared] = {}
        self.links = Links()
        """Which nodes reach each other."""
        self.disks: dict[int, Disk] = {}
        """By node."""
        self.grounds: dict[int, Ground] = {}
        """Of each node, by id; a node that is started again has another one."""
        self._time: VirtualTime | None = None
        self._faults: FaultEngine | None = None
        self._endings: list[asyncio.Task[None]] = []
        self._failures: list[StartError] = []
        self._is_abandoned = False

    @property
    def time(self) -> VirtualTime:
        """The clocks of all nodes; RuntimeError before `start`."""
        if self._time is None:
            raise RuntimeError("no node was started")
        return self._time

    @property
    def faults(self) -> FaultEngine:
        """What has been made to go wrong."""
        if self._faults is None:
            from odradek.testing.faults.engine import FaultEngine

            self._faults = FaultEngine(self, self._options.seed)
        return self._faults

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT of every node that runs, separated by commas."""
        return ",".join(f"{HOST}:{node.port_of(BROKER)}" for node in self.nodes.values())

    async def start(self) -> str:
        """Start all nodes, and create the topics; returns what clients take as `bootstrap.servers`.

        Raises ConfigError, StartError, and KafkaError for a topic that cannot be. Then nothing is left running.
        """
        return await self._start(self._new_socket)

    async def reset(self, *, keep_addresses: bool = True) -> str:
        """Begin anew with nothing but what the options say; returns what `start` returns.

        Who is connected is cut off. With `keep_addresses` who connects meanwhile waits for the new nodes. Nodes that
        could not go on are started again, too. Raises RuntimeError for nodes that keep their files, and StartError if
        the address of a node that did not run is taken; then nothing is left running.
        """
        if self._options.data_dir is not None:
            raise RuntimeError("reset() is for nodes in memory: these ones keep their data in data_dir")
        self._end_faults()
        with ExitStack() as undo:
            kept = self._keep_sockets(undo) if keep_addresses else []
            await self._abandon()
            await asyncio.gather(*self._endings)
            self._close_sockets()
            self.time.close()
            self._endings.clear()
            self._failures.clear()
            self.watch.reset()
            self._topic_names.clear()

            def take(node: int, listener: str) -> socket.socket:
                if not kept:
                    return self._new_socket(node, listener)
                return kept[node].get(listener) or self.bind(listener, self._ports[node][listener])

            address = await self._start(take)
            undo.pop_all()
        return address

    async def crash(self, node_id: int, *, power_cut: bool) -> None:
        """End a node as if its process were killed, or had lost power. Its ports are kept, and refuse connections."""
        node = self.nodes.pop(node_id)
        self.grounds[node_id].kill()
        await node.crash()
        if power_cut:
            self.disks[node_id].lose_unsynced(self._prepared[node_id].files)
        self._sockets[node_id - 1] = self._listening(node_id)

    async def restart(self, node_id: int) -> None:
        """Start a node again that does not run, with its files and ports; raises StartError."""
        if node_id in self.nodes:
            return
        await asyncio.gather(*self._endings)
        sockets = self._sockets[node_id - 1] = self._listening(node_id)
        node = self._new_node(asyncio.get_running_loop(), node_id, self._prepared[node_id]._replace(sockets=sockets))
        await node.start()
        self.nodes[node_id] = node

    def is_well(self, node_id: int) -> bool:
        """Whether a node runs, and reaches the others."""
        return node_id in self.nodes and self.grounds[node_id].gate.is_open and not self.links.is_off(node_id)

    def has_majority_without(self, node_id: int) -> bool:
        """Whether the controllers can decide without this one."""
        well = [each for each in self.nodes if each != node_id and self.is_well(each)]
        return len(well) > self._options.nodes // 2

    def _listening(self, node_id: int) -> dict[str, socket.socket]:
        """What a node listens on; what it has closed is bound again. Raises StartError."""
        sockets = self._sockets[node_id - 1]

        def again(_node: int, listener: str) -> socket.socket:
            sock = sockets[listener]
            return sock if sock.fileno() >= 0 else self.bind(listener, self._ports[node_id - 1][listener])

        return {listener: _taken(again, node_id - 1, listener) for listener in sockets}

    def image(self) -> MetadataImage:
        """The newest metadata that any node has; raises KafkaError BROKER_NOT_AVAILABLE if no node runs."""
        images = [node.node.quorum.loader.image for node in self.nodes.values()]
        if not images:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, "no node runs")
        return max(images, key=lambda image: image.offset)

    def topic_names(self) -> dict[bytes, str]:
        """The names of all topics by their ids; those of deleted ones, too, as far as somebody asked before."""
        if self.nodes:
            self._topic_names.update((topic.id, topic.name) for topic in self.image().topics.by_name.values())
        return self._topic_names

    def _keep_sockets(self, undo: ExitStack) -> list[dict[str, socket.socket]]:
        """Second descriptors of all sockets that listen, which go on doing so when a node closes its own."""
        kept: list[dict[str, socket.socket]] = []
        for sockets in self._sockets:
            kept.append({})
            for listener, sock in sockets.items():
                if sock.fileno() >= 0:
                    kept[-1][listener] = sock.dup()
                    undo.callback(kept[-1][listener].close)
        return kept

    def _new_socket(self, _node: int, listener: str) -> socket.socket:
        """A socket with a port that is free, or the one that the options name; raises OSError."""
        return self.bind(listener, self._options.port if listener == BROKER else 0)

    def bind(self, _listener: str, port: int) -> socket.socket:
        """A socket with a port for a listener; 0 is any free one. Raises OSError, which names the address."""
        try:
            return bound_socket(HOST, port)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {HOST}:{port} ({error.strerror})") from error

    async def _start(self, take_socket: Callable[[int, str], socket.socket]) -> str:
        """`start` with sockets by the number of a node, from 0, and the listener."""
        loop = asyncio.get_running_loop()
        self._time = VirtualTime(loop)
        self._is_abandoned = False
        with ExitStack() as undo:
            undo.callback(self._time.close)
            all_prepared = self.prepare(take_socket, undo)
            nodes = {
                node_id: self._new_node(loop, node_id, prepared) for node_id, prepared in enumerate(all_prepared, 1)
            }
            self._sockets = [prepared.sockets for prepared in all_prepared]
            self._ports = [_ports(prepared.sockets) for prepared in all_prepared]
            self.links.know(self._ports)
            await _start_all(list(nodes.values()))
            self.nodes = nodes
            try:
                await self._create_topics()
                await self.settle()
            except BaseException:
                await self._abandon()
                raise
            undo.pop_all()
        return self.bootstrap_servers

    def prepare(self, take_socket: Callable[[int, str], socket.socket], undo: ExitStack) -> list[Prepared]:
        """All nodes, before they run, with sockets by the number of a node, from 0, and the listener.

        `undo` closes the sockets. Raises ConfigError, StartError.
        """
        return _prepare(self._options, take_socket, undo)

    def node_failed(self, error: StartError) -> None:
        """A node cannot go on."""
        self._failures.append(error)

    async def stop(self) -> None:
        """Stop all nodes; raises StartError if one of them could not go on.

        Nodes in memory stop where they are, for nobody will start them again; others leave as any node does.
        """
        self._end_faults()
        if self._options.data_dir is None:
            await self._abandon()
        else:
            nodes, self.nodes = list(self.nodes.values()), {}
            await asyncio.gather(*(node.stop() for node in nodes))
        await asyncio.gather(*self._endings)
        self._close_sockets()
        self.time.close()
        if self._failures:
            raise self._failures[0]

    def _new_node(self, loop: asyncio.AbstractEventLoop, node_id: int, prepared: Prepared) -> RunningNode:
        def failed(error: StartError) -> None:
            """As its process would end, the node ends; others go on."""
            if self._is_abandoned:
                return  # work of its threads was cancelled
            if not self.disks[node_id].has_failed:
                self.node_failed(error)
            node = self.nodes.pop(node_id, None)
            if node is not None:
                self._endings.append(loop.create_task(node.abandon()))

        files = prepared.files if self._options.data_dir is None else None
        interception = self.interceptions[node_id] = Interception()
        self.watch.add_node(node_id, interception)
        if self._faults is not None:
            self._faults.add_node(node_id, interception)
        self.time.know(prepared.config)
        ground = self.grounds[node_id] = Ground(node_id, self.links, self.disks.setdefault(node_id, Disk()))
        self._prepared[node_id] = prepared
        surroundings = Surroundings(
            files,
            prepared.sockets,
            self._on_worker,
            lambda ports: ground.ports(self.time.ports(ports)),
            lambda frames: ground.frames(interception.frames(self._limited(frames))),
            jobs_give_way=False,  # a test that moves the clock waits for them, beside others that fill all processors
        )
        return RunningNode(loop, prepared.config, on_fatal=failed, surroundings=surroundings)

    def _close_sockets(self) -> None:
        """Those of nodes that did not run any more."""
        for sockets in self._sockets:
            for sock in sockets.values():
                sock.close()

    def _end_faults(self) -> None:
        if self._faults is None:
            return
        self._faults.close()
        self.links.mend_all()
        for disk in self.disks.values():
            disk.mend_all()
        for ground in self.grounds.values():
            ground.gate.resume()

    def _limited(self, frames: Frames) -> Frames:
        """Handlers that offer clients no more than `max_versions`."""
        if self._options.max_versions is None:
            return frames
        from odradek.testing.older import OlderKafka

        return OlderKafka(offer_of(self._options.max_versions)).frames(frames)

    async def _abandon(self) -> None:
        self._is_abandoned = True
        nodes, self.nodes = self.nodes, {}
        for node in nodes.values():
            await node.abandon()

    async def _create_topics(self) -> None:
        if not self._options.topics:
            return
        request = CreateTopicsRequest(topics=[_creatable(topic, len(self.nodes)) for topic in self._options.topics])
        active = next(iter(self.nodes.values())).node.active_controller
        response = await result_of(active.send(request, CreateTopicsResponse))
        for topic in response.topics:
            code = ErrorCode(topic.error_code)
            if code not in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
                raise KafkaError(code, f"topic {topic.name}: {topic.error_message or code.message}")

    async def settle(self) -> None:
        """Wait until each node knows what any of them knows, all brokers and the topics, and has done its part."""
        quorums = [node.node.quorum for node in self.nodes.values()]
        offset = max(quorum.loader.image.offset for quorum in quorums)
        for quorum in quorums:
            await result_of(spawn(quorum.follow_to(offset)))
        for node in self.nodes.values():
            if ProcessRole.BROKER in node.node.config.process_roles:
                await result_of(node.node.broker.replicas.catching_up.when_done())


async def _start_all(nodes: Sequence[RunningNode]) -> None:
    """Start nodes that wait for each other; if one cannot start, none is left running."""
    starts = [asyncio.ensure_future(node.start()) for node in nodes]
    try:
        await asyncio.wait(starts, return_when=asyncio.FIRST_EXCEPTION)
        for start in starts:
            if start.done():
                start.result()
    except BaseException:
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        for node, start in zip(nodes, starts, strict=True):
            if not start.cancelled() and start.exception() is None:
                await node.abandon()
        raise


def _prepare(options: Options, take_socket: Callable[[int, str], socket.socket], undo: ExitStack) -> list[Prepared]:
    """Take ports for all nodes, and format their directories; raises ConfigError, StartError."""
    disks = None if options.data_dir is None else OsFileSystem()
    directories = _directories(options, disks)
    sockets: list[Mapping[str, socket.socket]] = []
    for node in range(len(directories)):
        pair = {}
        for listener in (BROKER, CONTROLLER):
            pair[listener] = _taken(take_socket, node, listener)
            undo.callback(pair[listener].close)
        sockets.append(pair)
    ports = [(each[BROKER], each[CONTROLLER]) for each in map(_ports, sockets)]
    prepared = []
    for node_id, directory in enumerate(directories, 1):
        properties = node_properties(node_id, ports, directory, kafka_defaults=options.kafka_defaults)
        config = BrokerConfig.load({**properties, **options.config})
        files = MemoryFileSystem() if disks is None else disks
        prepared.append(Prepared(config, files, sockets[node_id - 1]))
    if options.nodes > 1 or options.cluster_id is not None:
        _format(prepared, directories, options.cluster_id)
    return prepared


def _taken(take_socket: Callable[[int, str], socket.socket], node: int, listener: str) -> socket.socket:
    try:
        return take_socket(node, listener)
    except OSError as error:
        raise StartError(f"node {node + 1} has no address for its listener {listener}: {error}") from error


def _ports(sockets: Mapping[str, socket.socket]) -> dict[str, int]:
    return {listener: sock.getsockname()[1] for listener, sock in sockets.items()}


def _directories(options: Options, disks: FileSystem | None) -> list[str]:
    """Where each node has its files; raises StartError for a directory of another number of nodes."""
    if options.data_dir is None or disks is None:
        return [_MEMORY_DIR] * options.nodes
    try:
        disks.mkdir(options.data_dir)
        names = disks.list(options.data_dir)
    except OSError as error:
        raise StartError(f"the data directory cannot be used: {error}") from error
    found = sum(name.startswith(_NODE_DIR) for name in names) or (1 if "meta.properties" in names else 0)
    if _OTHERS_FILE in names:
        raise StartError(f"{options.data_dir} has a cluster of `odradek cluster`, whose nodes keep their ports")
    if found not in (0, options.nodes):
        raise StartError(f"{options.data_dir} has the files of {found} nodes, and not of {options.nodes}")
    if options.nodes == 1:
        return [options.data_dir]
    return [f"{options.data_dir}/{_NODE_DIR}{node_id}" for node_id in range(1, options.nodes + 1)]


def _format(prepared: Sequence[Prepared], directories: Sequence[str], cluster_id: str | None) -> None:
    """Make all nodes those of one cluster; raises StartError."""
    clock, random = RealClock(), SystemRandom()
    try:
        known = [
            read_meta_properties(each.files, directory) for each, directory in zip(prepared, directories, strict=True)
        ]
        if cluster_id is None:
            cluster_id = next((each.cluster_id for each in known if each is not None), uuid_to_string(random.uuid()))
        options = FormatOptions(cluster_id, standalone=len(prepared) == 1, ignore_formatted=True)
        for each in prepared:
            for _line in format_directories(each.config, options, each.files, clock, random):
                pass
    except (FormatError, OSError) as error:
        raise StartError(f"the nodes cannot be formatted: {error}") from error


def _creatable(topic: Topic, nodes: int) -> CreatableTopic:
    replicas = min(_MAX_REPLICAS, nodes) if topic.replication_factor is None else topic.replication_factor
    configs = [CreatableTopicConfig(name=name, value=property_text(value)) for name, value in topic.config.items()]
    return CreatableTopic(
        name=topic.name, num_partitions=topic.partitions, replication_factor=replicas, configs=configs
    )


async def result_of(promise: Promise[T]) -> T:
    """What a promise of the state machines comes to."""
    done = asyncio.Event()
    promise.on_done(lambda _promise: done.set())
    await done.wait()
    return promise.result()
