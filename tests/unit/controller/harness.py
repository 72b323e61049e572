"""A controller over a log in memory, whose flushes a test can hold back, and which survives the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

from odradek.config import BrokerConfig, single_node_defaults
from odradek.controller.api import controller_handlers
from odradek.controller.controller import Controller
from odradek.controller.state import ControllerIdentity
from odradek.metadata.bootstrap import bootstrap_records
from odradek.metadata.features import BOOTSTRAP_KRAFT_VERSION, SUPPORTED
from odradek.metadata.image import MetadataImage
from odradek.metadata.loader import MetadataLoader
from odradek.ports import Promise, Turns, spawn
from odradek.ports.network import ConnectionInfo
from odradek.quorum.formatting import bootstrap_checkpoint
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.raft import NodeIdentity, RaftNode, RaftStores
from odradek.quorum.voters import VoterEndpoint
from odradek.security.acl import AllowAll
from odradek.security.principal import ANONYMOUS
from odradek.server.context import RequestContext
from odradek.server.dispatcher import error_response
from odradek.server.handlers import AnyHandler, call
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import KafkaError
from odradek.wire.messages.broker_heartbeat import BrokerHeartbeatRequest, BrokerHeartbeatResponse
from odradek.wire.messages.broker_registration import (
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    Feature,
    Listener,
)
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld
from tests.unit.quorum.memory import MemoryElectionState, MemoryRaftLog, MemorySnapshots

CLUSTER_ID = "k-cluster-id-of-22-chr"
NODE_ID = 1
IN_PROCESS = ConnectionInfo("test", "", "PLAINTEXT", "127.0.0.1", 0, "127.0.0.1", 0)
DIRECTORY = bytes(range(100, 116))
Resp = TypeVar("Resp", bound=Message)


class InProcessClient:
    """Calls handlers as the dispatcher does: what they raise becomes their error response."""

    def __init__(self, handlers: list[AnyHandler], world: FakeWorld) -> None:
        self._turns = Turns(world, world)
        self._handlers = {handler.api_key: handler for handler in handlers}

    def send(self, request: Message, response: type[Resp], version: int | None = None) -> Promise[Resp]:
        key = ApiKey(cast("int", request.API_KEY))
        handler = self._handlers[key]
        used = max(stable_versions(key)) if version is None else version
        context = RequestContext(key, used, 0, "test", IN_PROCESS, ANONYMOUS, AllowAll(), self._turns)
        answer: Promise[Resp] = Promise()

        def settle(settled: Promise[Message | None]) -> None:
            try:
                given = settled.result()
            except KafkaError as error:
                given = error_response(handler, used, request, error)
            assert isinstance(given, response)
            answer.resolve(given)

        async def called() -> Message | None:
            given = call(handler, context, request)
            return await given if isinstance(given, Promise) else given

        spawn(called()).on_done(settle)
        return answer


class Disk:
    """What survives a crash of the node."""

    def __init__(self) -> None:
        self.runs = 0
        self.log = MemoryRaftLog()
        self.election_state = MemoryElectionState()
        self.snapshots = MemorySnapshots()
        identity = NodeIdentity(NODE_ID, DIRECTORY, (VoterEndpoint("CONTROLLER", "localhost", 9093),))
        checkpoint = bootstrap_checkpoint(identity, bootstrap_records(), BOOTSTRAP_KRAFT_VERSION, 1_700_000_000_000)
        self.snapshots.write(BOOTSTRAP_SNAPSHOT, checkpoint)


class Node:
    """One run of a combined node's control plane."""

    def __init__(self, disk: Disk, seed: int = 0, properties: dict[str, str] | None = None) -> None:
        disk.runs += 1
        self.world = FakeWorld(seed * 1000 + disk.runs)  # each run of a node is another incarnation
        self.disk = disk
        self.fatal: list[BaseException] = []
        identity = NodeIdentity(NODE_ID, DIRECTORY, (VoterEndpoint("CONTROLLER", "localhost", 9093),))
        stores = RaftStores(disk.log, disk.election_state, disk.snapshots)
        self.raft = RaftNode(identity, stores, self.world, self.fatal.append)
        self.loader = MetadataLoader()
        config = BrokerConfig.load({**single_node_defaults("localhost", 9092, data_dir="data"), **(properties or {})})
        self.controller = Controller(
            ControllerIdentity(CLUSTER_ID, NODE_ID),
            config,
            self.raft,
            self.loader,
            self.world,
            self.world,
            self.world,
        )
        self.raft.add_listener(self.loader)
        self.raft.add_listener(self.controller)
        self.client = InProcessClient(list(controller_handlers(self.controller)), self.world)
        self.broker_epoch = -1

    @property
    def image(self) -> MetadataImage:
        """The committed image, as publishers see it."""
        return self.loader.image

    def start(self) -> Node:
        """Start the quorum; the controller is active when what it writes first is flushed."""
        self.raft.start()
        return self

    def send(self, request: Message, response: type[Resp], version: int | None = None) -> Resp:
        """The controller's answer, which must be there by now."""
        return self.client.send(request, response, version).result()

    def registration(
        self,
        broker_id: int = NODE_ID,
        *,
        rack: str | None = None,
        previous_epoch: int = -1,
        directories: Sequence[bytes] = (),
    ) -> BrokerRegistrationRequest:
        """What a new incarnation of a broker sends to register."""
        return BrokerRegistrationRequest(
            broker_id=broker_id,
            cluster_id=CLUSTER_ID,
            incarnation_id=self.world.uuid(),
            listeners=[Listener(name="PLAINTEXT", host="localhost", port=9092 + broker_id, security_protocol=0)],
            features=[
                Feature(name=name, min_supported_version=low, max_supported_version=high)
                for name, (low, high) in SUPPORTED.items()
            ],
            rack=rack,
            log_dirs=list(directories) or [DIRECTORY if broker_id == NODE_ID else self.world.uuid()],
            previous_broker_epoch=previous_epoch,
        )

    def register(
        self,
        broker_id: int = NODE_ID,
        *,
        rack: str | None = None,
        previous_epoch: int = -1,
        unfence: bool = True,
        directories: Sequence[bytes] = (),
    ) -> int:
        """Register a broker and let it be unfenced; returns its epoch."""
        request = self.registration(broker_id, rack=rack, previous_epoch=previous_epoch, directories=directories)
        answer = self.send(request, BrokerRegistrationResponse)
        assert answer.error_code == 0
        if broker_id == NODE_ID:
            self.broker_epoch = answer.broker_epoch
        if unfence:
            assert not self.heartbeat(broker_id, answer.broker_epoch).is_fenced
        return answer.broker_epoch

    def state_offset(self, broker_id: int) -> int:
        """Where the RegisterBrokerRecord of a broker is that registered at this controller."""
        return self.controller.state.registration_offsets[broker_id]

    def heartbeat(
        self, broker_id: int, epoch: int, *, want_fence: bool = False, want_shut_down: bool = False
    ) -> BrokerHeartbeatResponse:
        """A heartbeat of a broker that has followed all metadata."""
        return self.send(
            BrokerHeartbeatRequest(
                broker_id=broker_id,
                broker_epoch=epoch,
                current_metadata_offset=self.raft.high_watermark,
                want_fence=want_fence,
                want_shut_down=want_shut_down,
            ),
            BrokerHeartbeatResponse,
        )


def started(properties: dict[str, str] | None = None) -> Node:
    """A new node with its broker registered and unfenced."""
    node = Node(Disk(), properties=properties).start()
    node.register()
    return node
