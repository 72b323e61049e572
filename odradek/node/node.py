"""One node: controller, broker or both in one process, from open listeners to a clean stop, without sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from odradek.broker.lifecycle import BrokerLifecycle
from odradek.config import BrokerConfig, Listener, ProcessRole
from odradek.controller.api import controller_handlers
from odradek.metadata.features import SUPPORTED
from odradek.metadata.image import BrokerRegistration
from odradek.node.broker_part import BrokerCallbacks, BrokerIdentity, BrokerPart
from odradek.node.controller_channel import ChannelOptions, ControllerChannel
from odradek.node.controller_part import ControllerPart, new_controller
from odradek.node.data_dirs import DataDirs, open_data_dirs
from odradek.node.ports import Ports
from odradek.node.quorum_part import QuorumPart
from odradek.node.start_error import StartError
from odradek.ports import Promise, TimerHandle, Turns
from odradek.ports.network import FrameHandler, RunHandler
from odradek.quorum.leader import LeaderState
from odradek.quorum.roles import Follower
from odradek.security.acl import AllowAll
from odradek.server.api_versions import ApiVersionsHandler, Features
from odradek.server.dispatcher import Dispatcher
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler, erase
from odradek.server.lane import Lane
from odradek.storage.environment import LogEnvironment
from odradek.storage.file_pool import FilePool
from odradek.wire.apis import ApiKey

REGISTRATION_TIMEOUT = "initial.broker.registration.timeout.ms"
CONTROLLED_SHUTDOWN_MS = 500
"""How long a single node's stop waits for its controller, which has nowhere to move leaders."""
LEAVE_MS = 8_000
"""How long a stop waits for the controller to move leaders away. Kafka waits five minutes, whoever supervises it often
ten seconds only."""
SILENCE_MS = 1_500
"""How long a stop waits for one answer of the controller."""
OTHERS_LEAVE_MS = 3_000
"""How long a voter that stops stays for other brokers that stop, too. Without a quorum these would count as alive, and
their next start would have to wait until their sessions are over."""
SIGNALS_MS = 250
"""How much later than this node others may be told to stop that are stopped with it."""
LOOK_MS = 50
RESIGN_MS = 2_000
"""How long a stop waits for another controller to lead the quorum."""


class Endpoints(NamedTuple):
    """The ports in use, by listener: what is advertised where the configuration asked for any free one."""

    ports: Mapping[str, int]

    def advertised(self, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        """The listeners with the port that is in use in place of 0."""
        return tuple(
            listener._replace(port=listener.port or self.ports.get(listener.name, 0)) for listener in listeners
        )


class Node:
    """Put together from a configuration and ports.

    `broker_frames` and `controller_frames` answer requests, `broker_runs` those that arrive together.
    """

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
        self._on_fatal = on_fatal
        self._registration_timer: TimerHandle | None = None
        self._has_left = False

        def metadata_log_failed(error: BaseException) -> None:
            on_fatal(StartError(f"the node has stopped, for its metadata log failed: {error}"))

        self.dirs: DataDirs = open_data_dirs(config, ports.files, ports.clock, ports.random)
        cluster = ports.for_cluster()
        self._scheduler = cluster.scheduler
        environment = LogEnvironment(
            FilePool(ports.files),
            ports.clock,
            ports.scheduler,
            ports.executor,
            ports.random,
            lambda _directory, error: metadata_log_failed(error),
        )
        listener = config.controller_listener_names[0].upper()
        self.quorum = QuorumPart(config, cluster, self.dirs, environment, endpoints.ports, metadata_log_failed)
        self._controller: ControllerPart | None = None
        if ProcessRole.CONTROLLER in config.process_roles:
            self._controller = ControllerPart(config, cluster, self.dirs, self.quorum, endpoints.ports)
        self.active_controller = ControllerChannel(
            self.quorum.raft,
            None if self._controller is None else self._controller.in_process,
            ports.new_peers,
            cluster.clock,
            cluster.scheduler,
            ChannelOptions(
                listener, config.int_("controller.socket.timeout.ms"), config.int_("broker.session.timeout.ms")
            ),
        )
        self.quorum.on_leader_change(self.active_controller.leader_changed)
        turns, lane = Turns(ports.clock, ports.scheduler), Lane()
        self.controller_handlers = (
            HandlerTable() if self._controller is None else self._with_api_versions(self._controller.handlers)
        )
        self.controller_frames: FrameHandler = Dispatcher(self.controller_handlers, AllowAll(), turns, lane).handle
        self._broker: BrokerPart | None = None
        self.broker_handlers = HandlerTable()
        if ProcessRole.BROKER in config.process_roles:
            self._broker = BrokerPart(
                config,
                ports,
                BrokerIdentity(self.dirs, endpoints.advertised(config.advertised_listeners)),
                self.active_controller,
                self._declared_by_controllers(),
                BrokerCallbacks(on_config, on_fatal),
            )
            self.broker_handlers = self._with_api_versions(self._broker.handlers)
        dispatcher = Dispatcher(self.broker_handlers, AllowAll(), turns, lane)
        self.broker_frames: FrameHandler = dispatcher.handle
        self.broker_runs: RunHandler = dispatcher.runs

    @property
    def broker(self) -> BrokerPart:
        """The broker of a node that has one; LookupError on another."""
        if self._broker is None:
            raise LookupError("this node is no broker")
        return self._broker

    @property
    def controller(self) -> ControllerPart:
        """The controller of a node that has one; LookupError on another."""
        if self._controller is None:
            raise LookupError("this node is no controller")
        return self._controller

    async def start(self) -> None:
        """Take part in the quorum, open the logs and register; returns when clients may come.

        Driven by `ports.spawn`, as all of these.
        """
        await self.open()
        await self.join()

    async def open(self) -> None:
        """Wait until the metadata is up to date, open the logs, register the broker and take over its partitions.

        The controller's listener has to answer meanwhile, for the others may wait for this node. Raises OSError,
        ProtocolError or KafkaError for data that cannot be used.
        """
        self._limit_registration()
        self.quorum.start()
        if self._controller is not None:
            self._controller.register(self.active_controller)
        await self.quorum.catch_up(self.active_controller)
        self._end_limit()  # how long the logs take is their own affair
        if self._broker is not None:
            self._broker.open_logs(self.quorum.loader.image)
            self._limit_registration()
            self._broker.lifecycle.registered.on_done(lambda _epoch: self._end_limit())
            self._broker.lifecycle.start()
            # Before that the image may say that the start before leads, which may have had more than is on the disk.
            await self.quorum.follow_to(await self._broker.lifecycle.registered)
            self._broker.take_over(self.quorum.loader.image)
            self.quorum.loader.add_publisher(self._broker.publish)

    def _limit_registration(self) -> None:
        """Let a broker that no controller takes within `initial.broker.registration.timeout.ms` end the node."""
        if self._broker is None:
            return
        limit_ms = self.config.int_(REGISTRATION_TIMEOUT)
        why = f"no controller has registered this broker within {limit_ms} ms ({REGISTRATION_TIMEOUT})"
        self._registration_timer = self._scheduler.call_later(limit_ms, lambda: self._on_fatal(StartError(why)))

    def _end_limit(self) -> None:
        if self._registration_timer is not None:
            self._registration_timer.cancel()

    async def join(self) -> None:
        """Wait until the controller lets others use the broker; the listeners have to answer."""
        if self._broker is not None:
            self._broker.lifecycle.ready()
            await self._broker.lifecycle.unfenced

    @property
    def has_others(self) -> bool:
        """Whether there are nodes that go on when this one stops."""
        cluster = self.quorum.loader.image.cluster
        own_id = self.config.node_id
        others = [broker.id for broker in cluster.brokers.values() if broker.id != own_id and not broker.fenced]
        voters = [voter.id for voter in self.quorum.raft.voters.voters if voter.id != own_id]
        return bool(others or voters)

    async def leave(self) -> None:
        """Have leaders and the quorum go on elsewhere, while the listeners still answer; gives up after a while."""
        self._has_left = True
        has_others = self.has_others
        if self._broker is not None and self.config.bool_("controlled.shutdown.enable"):
            self._broker.replicas.begin_controlled_shutdown()
            left = self._broker.lifecycle.stop()
            self._give_up_in_silence(self._broker.lifecycle, left)
            await self._at_most(LEAVE_MS if has_others else CONTROLLED_SHUTDOWN_MS, left)
        if has_others:
            await self._at_most(OTHERS_LEAVE_MS, self._others_left())
            if self._may_lead_elsewhere:
                await self._at_most(RESIGN_MS, self.quorum.raft.shutdown())

    @property
    def _may_lead_elsewhere(self) -> bool:
        """Whether there is a voter left that has not stopped: the broker of one that has is fenced."""
        brokers = self.quorum.loader.image.cluster.brokers
        others = [voter.id for voter in self.quorum.raft.voters.voters if voter.id != self.config.node_id]
        return any(each not in brokers or not brokers[each].fenced for each in others)

    def _others_left(self) -> Promise[None]:
        """Settles once no other broker is on its way out, for that takes a quorum; or once nobody leads that."""
        left: Promise[None] = Promise()

        def others() -> list[BrokerRegistration]:
            brokers = self.quorum.loader.image.cluster.brokers.values()
            return [each for each in brokers if each.id != self.config.node_id and not each.fenced]

        def look() -> None:
            has_leader = isinstance(self.quorum.raft.role, Follower | LeaderState)
            if not has_leader or not any(each.in_controlled_shutdown for each in others()):
                left.resolve(None)
            elif not left.done:
                self._scheduler.call_later(LOOK_MS, look)

        if self.quorum.raft.is_voter and others():
            self._scheduler.call_later(SIGNALS_MS, look)
        else:
            left.resolve(None)
        return left

    async def stop(self) -> None:
        """Leave the cluster, unless that has happened, and write everything out."""
        if not self._has_left:
            await self.leave()
        if self._broker is not None:
            await self._broker.logs.close_later()
        self.close()

    def _give_up_in_silence(self, lifecycle: BrokerLifecycle, left: Promise[None]) -> None:
        """Where all nodes are told to stop at once, the last ones find no controller any more."""
        heard = lifecycle.answers

        def look() -> None:
            if lifecycle.answers == heard:
                left.resolve(None)
            elif not left.done:
                self._give_up_in_silence(lifecycle, left)

        self._scheduler.call_later(SILENCE_MS, look)

    async def _at_most(self, milliseconds: float, promise: Promise[None]) -> None:
        timer = self._scheduler.call_later(milliseconds, lambda: promise.resolve(None))
        await promise
        timer.cancel()

    def close(self) -> None:
        """Write everything out, without asking anybody."""
        self._end_limit()
        self.active_controller.close()
        if self._broker is not None:
            self._broker.close()
        if self._controller is not None:
            self._controller.close()
        self.quorum.close()

    def _declared_by_controllers(self) -> Callable[[ApiKey], AnyHandler | None]:
        """How controllers answer an API; on a node without one, as one that never decides would declare it."""
        if self._controller is not None:
            return self._controller.handlers.get
        idle = new_controller(self.config, self._ports, self.dirs, self.quorum)
        return controller_handlers(idle).get

    def _with_api_versions(self, handlers: HandlerTable) -> HandlerTable:
        versions = ApiVersionsHandler(handlers.keys, self._features, self.dirs.cluster_id, self.config.node_id)
        handlers.add([erase(versions.handler())])
        return handlers

    def _features(self) -> Features:
        image = self.quorum.loader.image
        finalized = {**image.features.finalized, "kraft.version": self.quorum.raft.kraft_version}
        return Features(SUPPORTED, finalized, image.offset)
