"""A node's controller: the metadata log, the quorum over it, and the decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from odradek.config import BrokerConfig
from odradek.controller.api import controller_handlers
from odradek.controller.controller import Controller
from odradek.controller.snapshots import SnapshotGenerator, SnapshotLimits
from odradek.controller.state import ControllerIdentity
from odradek.metadata.features import SUPPORTED
from odradek.metadata.loader import MetadataLoader
from odradek.node.data_dirs import DataDirs, voter_endpoints
from odradek.node.in_process import InProcess
from odradek.node.metadata_log import MetadataLog
from odradek.node.ports import Ports
from odradek.node.start_error import StartError
from odradek.ports import Promise
from odradek.quorum.files import ElectionStateFile, SnapshotFiles
from odradek.quorum.formatting import META_PROPERTIES_FILE
from odradek.quorum.raft import NodeIdentity, RaftNode, RaftStores
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler
from odradek.storage.environment import LogEnvironment
from odradek.storage.log_config import LogConfig
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.controller_registration import (
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
    Feature,
    Listener,
)
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)


class ControllerPart:
    """Everything that a controller does, but for sockets."""

    def __init__(
        self,
        config: BrokerConfig,
        ports: Ports,
        dirs: DataDirs,
        environment: LogEnvironment,
        listener_ports: Mapping[str, int],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        """Open the metadata log; raises OSError, CorruptFileError."""
        self._metadata_log_dir = dirs.metadata_log_dir
        self._log = MetadataLog.open(environment, dirs.metadata_log_dir, _metadata_log_config(config))
        stores = RaftStores(
            self._log,
            ElectionStateFile(ports.files, dirs.metadata_log_dir),
            SnapshotFiles(ports.files, dirs.metadata_log_dir),
        )
        identity = NodeIdentity(config.node_id, dirs.metadata_directory_id, voter_endpoints(config, listener_ports))
        self.loader = MetadataLoader()
        self.raft = RaftNode(identity, stores, ports.clock, on_fatal)
        self.controller = Controller(
            ControllerIdentity(dirs.cluster_id, config.node_id),
            config,
            self.raft,
            self.loader,
            ports.clock,
            ports.scheduler,
            ports.random,
        )
        limits = SnapshotLimits(
            config.int_("metadata.log.max.record.bytes.between.snapshots"),
            config.int_("metadata.log.max.snapshot.interval.ms"),
        )
        self.loader.add_publisher(
            SnapshotGenerator(self.raft, self.loader, limits, ports.clock, ports.executor).publish
        )
        self._registration = _registration(config, ports, listener_ports)
        self.raft.add_listener(self.loader)
        self.raft.add_listener(self.controller)
        self.handlers: list[AnyHandler] = controller_handlers(self.controller)
        self._in_process = InProcess("controller", ports, self.handlers)

    async def start(self) -> None:
        """Lead the quorum; returns once this controller is active and registered. Driven by `ports.spawn`.

        Raises StartError if the node is not the only voter.
        """
        self.raft.start()
        if self.raft.leader is None:
            voters = ", ".join(str(voter.id) for voter in self.raft.voters.voters) or "none"
            raise StartError(
                f"{self._metadata_log_dir} has the voters {voters}: a cluster whose only voter is this node, with the "
                f"directory.id of its {META_PROPERTIES_FILE}, is supported"
            )
        await self.controller.when_active()
        answer = await self.send(self._registration, ControllerRegistrationResponse)
        if answer.error_code:
            raise KafkaError(ErrorCode(answer.error_code), answer.error_message)

    def close(self) -> None:
        """Decide no more, and write the log out; raises KafkaError."""
        self.controller.close()
        self._log.close()

    def handler(self, key: ApiKey) -> AnyHandler | None:
        """The controller's handler of an API; None if it has none."""
        return self._in_process.handler(key)

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        """Be the `ControllerClient` of the broker in the same process."""
        return self._in_process.send(request, response, context)


def _registration(
    config: BrokerConfig, ports: Ports, listener_ports: Mapping[str, int]
) -> ControllerRegistrationRequest:
    return ControllerRegistrationRequest(
        controller_id=config.node_id,
        incarnation_id=ports.random.uuid(),
        listeners=[
            Listener(
                name=listener.name,
                host=listener.host or "localhost",
                port=listener_ports.get(listener.name, listener.port),
                security_protocol=listener.security_protocol,
            )
            for listener in config.advertised_controller_listeners
        ],
        features=[
            Feature(name=name, min_supported_version=lowest, max_supported_version=highest)
            for name, (lowest, highest) in SUPPORTED.items()
        ],
    )


def _metadata_log_config(config: BrokerConfig) -> LogConfig:
    return LogConfig(
        segment_bytes=config.int_("metadata.log.segment.bytes"),
        segment_ms=config.int_("metadata.log.segment.ms"),
        retention_ms=-1,
        retention_bytes=-1,
        max_message_bytes=2**31 - 1,
    )
