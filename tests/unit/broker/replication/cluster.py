"""Several brokers' replicas in one process: a controller that keeps Kafka's rules, and a network that tests can cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, cast

from odradek.broker.api.fetch import FetchApi, FetchLimits
from odradek.broker.api.offsets import OffsetsApi
from odradek.broker.fetch.session import SessionCache
from odradek.broker.replication.cluster import ClusterPorts, ReplicationOptions
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.controller.partition_change import PartitionChange, PartitionRules
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import DIRECTORY_UNASSIGNED, MetadataImage, PartitionImage, TopicImage
from odradek.metadata.snapshot import Writing
from odradek.ports import Promise, Turns
from odradek.ports.network import FileRange
from odradek.security.acl import AllowAll, Authorizer
from odradek.security.principal import ANONYMOUS
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, call, erase
from odradek.storage.log import Log
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.apis import ApiKey, stable_versions
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    AlterPartitionResponseTopicData,
)
from odradek.wire.persistent.metadata.broker_registration_change_record import BrokerRegistrationChangeRecord
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.partition_record import PartitionRecord
from odradek.wire.persistent.metadata.register_broker_record import BrokerEndpoint, RegisterBrokerRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import iter_batches
from odradek.wire.schema import Message
from tests.unit.broker.scene import CONNECTION, batch_of
from tests.unit.fakes import FakeTimer, FakeWorld

Resp = TypeVar("Resp", bound=Message)

OPTIONS = ReplicationOptions(lag_time_max_ms=3_000, fetch_backoff_ms=100)
UNREACHABLE_MS = 400.0
FENCE, UNFENCE = 1, -1


class Stored(NamedTuple):
    """A record as a log has it."""

    value: bytes | None
    epoch: int


class Life:
    """The world as one start of a node sees it: nothing happens to it after its end."""

    def __init__(self, world: FakeWorld) -> None:
        self.is_over = False
        self._world = world

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._world.call_soon(lambda: self._run(callback))

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> FakeTimer:
        return self._world.call_later(delay_ms, lambda: self._run(callback))

    def _run(self, callback: Callable[[], None]) -> None:
        if not self.is_over:
            callback()


class Network:
    """Delivers between nodes, a little later. What is cut or lost fails after a while, as a connection does."""

    def __init__(self, world: FakeWorld, rng: random.Random) -> None:
        self.delay_ms: tuple[float, float] = (0.0, 0.0)
        self.loss = 0.0
        self.cut: dict[tuple[int, int], None] = {}
        self.nodes: dict[int, SimNode] = {}
        self.sent: list[tuple[int, int, Message]] = []
        """(from, to, request) of all that tests may want to look at."""
        self.keeps_sent = False
        self._world = world
        self._rng = rng

    def cut_off(self, one: int, other: int) -> None:
        """Let nothing through between two nodes; 0 is the controller."""
        self.cut[min(one, other), max(one, other)] = None

    def heal(self) -> None:
        """Let all through."""
        self.cut.clear()
        self.loss = 0.0

    def is_cut(self, one: int, other: int) -> bool:
        return (min(one, other), max(one, other)) in self.cut

    def later(self, callback: Callable[[], None]) -> None:
        """Run something after the delay of one message."""
        self._world.call_later(self._rng.uniform(*self.delay_ms), callback)

    def exchange(
        self, source: int, target: int, request: Message, response: type[Resp],
        answer: Callable[[Message, int], Promise[Message | None]], life: Life,
    ) -> Promise[Resp]:  # fmt: skip
        """Carry a request over and its answer back, as bytes."""
        promise: Promise[Resp] = Promise()
        key = ApiKey(cast("int", request.API_KEY))
        version = stable_versions(key)[-1]
        data = request.encode(version)
        if self.keeps_sent:
            self.sent.append((source, target, request))

        def fail() -> None:
            if not life.is_over:
                promise.reject(KafkaError(ErrorCode.NETWORK_EXCEPTION))

        def is_lost() -> bool:
            if self.is_cut(source, target) or self._rng.random() < self.loss:
                self._world.call_later(UNREACHABLE_MS, fail)
                return True
            return False

        def arrive() -> None:
            if not is_lost():
                if target in self.nodes:
                    self.nodes[target].unanswered.append(lambda: self._world.call_later(UNREACHABLE_MS, fail))
                answer(type(request).decode(data, version), version).on_done(answered)

        def answered(outcome: Promise[Message | None]) -> None:
            if outcome.error is not None:
                assert isinstance(outcome.error, KafkaError), outcome.error
                self._world.call_later(UNREACHABLE_MS, fail)
                return
            result = outcome.result()
            assert result is not None
            reply = _bytes_of(result, version)
            self.later(lambda: returned(reply))

        def returned(reply: bytes) -> None:
            if not is_lost() and not life.is_over:
                promise.resolve(response.decode(reply, version))

        self.later(arrive)
        return promise


class Client:
    """A `ReplicaClient`."""

    def __init__(self, network: Network, source: SimNode) -> None:
        self._network = network
        self._source = source
        self._life = source.life

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        def answer(arrived: Message, version: int) -> Promise[Message | None]:
            return self._network.nodes[broker_id].answer(arrived, version)

        return self._network.exchange(self._source.id, broker_id, request, response, answer, self._life)

    def close(self) -> None:
        """Nothing is kept."""


class ToController:
    """A `ControllerClient`."""

    def __init__(self, network: Network, source: SimNode, controller: TestController) -> None:
        self._network = network
        self._source = source
        self._controller = controller
        self._life = source.life

    def send(self, request: Message, response: type[Resp], context: RequestContext | None = None) -> Promise[Resp]:
        def answer(arrived: Message, _version: int) -> Promise[Message | None]:
            assert isinstance(arrived, AlterPartitionRequest)
            return Promise.of(self._controller.alter_partition(arrived))

        return self._network.exchange(self._source.id, 0, request, response, answer, self._life)


class SimNode:
    """One broker: its disk outlives its starts."""

    def __init__(self, cluster: Cluster, node_id: int, rack: str | None) -> None:
        self.id = node_id
        self.rack = rack
        self.files = MemoryFileSystem()
        self.life = Life(cluster.world)
        self.life.is_over = True
        self.epoch = -1
        self.authorizer: Authorizer = AllowAll()
        self.unanswered: list[Callable[[], object]] = []
        """Ends the connections of the requests that have come in this start."""
        self._cluster = cluster
        self._position = 0

    @property
    def is_up(self) -> bool:
        return not self.life.is_over

    def start(self, *, registers: bool = True) -> None:
        """Register, follow the metadata, fetch, and be unfenced; or wait with fetches for the registration."""
        cluster, world = self._cluster, self._cluster.world
        self.life = life = Life(world)
        self.epoch = cluster.controller.register(self.id, self.rack)
        self.image = MetadataImage.empty()
        self._position = 0
        self._take_records()
        self.logs = LogManager(self.files, world, life, world, world, ["/data"])
        self.logs.load(lambda _topic: cluster.log_config)
        self.replicas = ReplicaManager(
            node_id=self.id,
            logs=self.logs,
            clock=world,
            scheduler=life,
            log_config_of=lambda _image, _topic: cluster.log_config,
            cluster=ClusterPorts(
                ToController(cluster.network, self, cluster.controller),
                lambda _purpose: Client(cluster.network, self),
                lambda: self.epoch,
                lambda: cluster.options,
            ),
        )
        sessions = SessionCache(world, world, slots=100, eviction_ms=120_000)
        fetch = self.fetch_api = FetchApi(self.replicas, sessions, FetchLimits(max_bytes=55 * 1024 * 1024))
        handlers = [erase(fetch.handler()), *OffsetsApi(self.replicas).handlers()]
        self.handlers: dict[ApiKey, AnyHandler] = {handler.api_key: handler for handler in handlers}
        self.replicas.load(self.image)
        if registers:
            self.replicas.start_replication()
        cluster.controller.unfence(self.id)

    def crash(self) -> None:
        """Stop in the middle of whatever it does."""
        self.life.is_over = True
        self.replicas.close()
        unanswered, self.unanswered = self.unanswered, []
        for fail in unanswered:
            fail()

    def catch_up(self) -> None:
        """Follow all records of the metadata that there are by now, as one change."""
        if self.is_up and self._position < len(self._cluster.controller.records):
            delta = self._take_records()
            deleted = [name for name, _id in delta.deleted_topics]
            self.replicas.apply(self.image, delta.changed_partitions, deleted)

    def _take_records(self) -> MetadataDelta:
        records = self._cluster.controller.records
        delta = MetadataDelta(self.image)
        delta.replay_all(records[self._position :])
        self._position = len(records)
        self.image = delta.apply(self._position - 1, 1)
        return delta

    def answer(self, request: Message, version: int) -> Promise[Message | None]:
        """What its handlers answer."""
        if not self.is_up:
            return Promise.failed(KafkaError(ErrorCode.NETWORK_EXCEPTION))
        handler = self.handlers[ApiKey(cast("int", request.API_KEY))]
        turns = Turns(self._cluster.world, self.life)
        context = RequestContext(handler.api_key, version, 0, "test", CONNECTION, ANONYMOUS, self.authorizer, turns)
        answer = call(handler, context, request)
        return cast("Promise[Message | None]", answer) if isinstance(answer, Promise) else Promise.of(answer)

    def partition(self, name: TopicPartition) -> Partition:
        return self.replicas.partitions[name]

    def log(self, name: TopicPartition) -> Log:
        return self.partition(name).local_log()

    def produce(
        self, name: TopicPartition, *values: bytes, acks_all: bool = True, timeout_ms: float = 2_000
    ) -> Promise[int]:
        """The base offset of a batch, once every in-sync replica has it (or at once)."""
        try:
            replica = self.replicas.partition(name)
            info = self.replicas.append(replica, memoryview(bytearray(batch_of(*values))), all_replicas=acks_all)
        except KafkaError as error:
            return Promise.failed(error)
        if not acks_all:
            return Promise.of(info.first_offset)
        return self.replicas.when_replicated(name, info.last_offset, timeout_ms).then(lambda _none: info.first_offset)

    def stored(self, name: TopicPartition) -> dict[int, Stored]:
        """All records of a log by offset."""
        return stored(self.log(name))


class TestController:
    """The active controller: Kafka's rules, without a quorum."""

    __test__ = False

    def __init__(self, publish: Callable[[], None]) -> None:
        self.records: list[Message] = []
        self.image = MetadataImage.empty()
        self.elections = 0
        self._publish = publish
        self._next_epoch = 10

    def append(self, *records: Message) -> None:
        """Commit records, and let the brokers hear of them some time."""
        delta = MetadataDelta(self.image)
        delta.replay_all(records)
        self.records.extend(records)
        self.image = delta.apply(len(self.records) - 1, 1)
        self._publish()

    def register(self, broker_id: int, rack: str | None) -> int:
        """A broker comes, fenced; its epoch."""
        if broker_id in self.image.cluster.brokers:
            self.fence(broker_id)
        self._next_epoch += 1
        endpoint = BrokerEndpoint(name="PLAINTEXT", host=f"node{broker_id}", port=9092, security_protocol=0)
        self.append(
            RegisterBrokerRecord(
                broker_id=broker_id, broker_epoch=self._next_epoch, incarnation_id=self._next_epoch.to_bytes(16, "big"),
                end_points=[endpoint], rack=rack, fenced=True,
            )
        )  # fmt: skip
        return self._next_epoch

    def unfence(self, broker_id: int) -> None:
        """A broker may lead and be in sync; it leads what has no leader."""
        epoch = self.image.cluster.brokers[broker_id].epoch
        self.append(BrokerRegistrationChangeRecord(broker_id=broker_id, broker_epoch=epoch, fenced=UNFENCE))
        self._change(lambda partition: partition.leader < 0, lambda _change: None)

    def fence(self, broker_id: int) -> None:
        """A broker is gone: it leads nothing, and is in no ISR but where it is the last one."""
        broker = self.image.cluster.brokers[broker_id]
        if not broker.fenced:
            self.append(BrokerRegistrationChangeRecord(broker_id=broker_id, broker_epoch=broker.epoch, fenced=FENCE))

        def leave(change: PartitionChange) -> None:
            change.isr = [replica for replica in change.isr if replica != broker_id]

        self._change(lambda partition: broker_id in partition.isr, leave)

    def create_topic(self, name: str, *replicas: Sequence[int]) -> bytes:
        """A topic with these replicas by partition, all in sync that are active."""
        topic_id = f"{name:>16.16}".encode()
        records: list[Message] = [TopicRecord(name=name, topic_id=topic_id)]
        for index, assigned in enumerate(replicas):
            isr = [replica for replica in assigned if self._is_active(replica)]
            records.append(
                PartitionRecord(
                    partition_id=index, topic_id=topic_id, replicas=list(assigned), isr=isr, leader=isr[0],
                    leader_epoch=0, partition_epoch=0, directories=[DIRECTORY_UNASSIGNED] * len(assigned),
                )
            )  # fmt: skip
        self.append(*records)
        return topic_id

    def set_topic_config(self, topic: str, name: str, value: str) -> None:
        self.append(ConfigRecord(resource_type=2, resource_name=topic, name=name, value=value))

    def partition(self, name: TopicPartition) -> PartitionImage:
        return self.image.topics.by_name[name.topic].partitions[name.partition]

    def move_leader(self, name: TopicPartition, broker_id: int) -> bool:
        """Let another in-sync replica lead; whether that could be."""
        partition = self.partition(name)
        if broker_id not in partition.isr or not self._is_active(broker_id) or partition.leader == broker_id:
            return False
        topic = self.image.topics.by_name[name.topic]
        rules = self._rules(partition)._replace(is_acceptable_leader=lambda each: each == broker_id)
        self._append_change(PartitionChange(partition, topic.id, name.partition, rules))
        return True

    def reassign(self, name: TopicPartition, target: Sequence[int]) -> None:
        """Give a partition other replicas."""
        partition = self.partition(name)
        topic = self.image.topics.by_name[name.topic]
        change = PartitionChange(partition, topic.id, name.partition, self._rules(partition))
        kept = [replica for replica in partition.replicas if replica not in partition.adding]
        change.adding = [replica for replica in target if replica not in kept]
        change.removing = [replica for replica in kept if replica not in target]
        change.replicas = [*target, *change.removing]
        change.isr = [replica for replica in partition.isr if replica in change.replicas]
        self._append_change(change)

    def alter_partition(self, request: AlterPartitionRequest) -> AlterPartitionResponse:
        broker = self.image.cluster.brokers.get(request.broker_id)
        if broker is None or broker.epoch != request.broker_epoch:
            return AlterPartitionResponse(error_code=ErrorCode.STALE_BROKER_EPOCH)
        response = AlterPartitionResponse()
        for topic in request.topics:
            known = self.image.topics.by_id.get(topic.topic_id)
            answers = [
                self._alter(request.broker_id, known, partition)
                if known is not None
                else _refused(partition, ErrorCode.UNKNOWN_TOPIC_ID)
                for partition in topic.partitions
            ]
            response.topics.append(AlterPartitionResponseTopicData(topic_id=topic.topic_id, partitions=answers))
        return response

    def _alter(
        self, leader_id: int, topic: TopicImage, asked: AlterPartitionRequestPartitionData
    ) -> AlterPartitionResponsePartitionData:
        partition = topic.partitions[asked.partition_index]
        isr = [state.broker_id for state in asked.new_isr_with_epochs]
        if asked.leader_epoch < partition.leader_epoch:
            return _refused(asked, ErrorCode.FENCED_LEADER_EPOCH)
        if leader_id != partition.leader or not set(isr) <= set(partition.replicas) or leader_id not in isr:
            return _refused(asked, ErrorCode.INVALID_REQUEST)
        if asked.partition_epoch < partition.partition_epoch:
            return _refused(asked, ErrorCode.INVALID_UPDATE_VERSION)
        assert (asked.leader_epoch, asked.partition_epoch) == (partition.leader_epoch, partition.partition_epoch)
        brokers = self.image.cluster.brokers
        if any(
            not self._is_active(state.broker_id) or state.broker_epoch not in (-1, brokers[state.broker_id].epoch)
            for state in asked.new_isr_with_epochs
        ):
            return _refused(asked, ErrorCode.INELIGIBLE_REPLICA)
        change = PartitionChange(partition, topic.id, asked.partition_index, self._rules(partition))
        change.isr = isr
        self._append_change(change)
        now = self.partition(TopicPartition(topic.name, asked.partition_index))
        if leader_id not in now.replicas:
            return _refused(asked, ErrorCode.NEW_LEADER_ELECTED)
        if now.leader_epoch != asked.leader_epoch:
            return _refused(asked, ErrorCode.FENCED_LEADER_EPOCH)
        return AlterPartitionResponsePartitionData(
            partition_index=asked.partition_index, leader_id=now.leader, leader_epoch=now.leader_epoch,
            isr=list(now.isr), partition_epoch=now.partition_epoch,
        )  # fmt: skip

    def _change(self, concerns: Callable[[PartitionImage], bool], alter: Callable[[PartitionChange], None]) -> None:
        for topic in list(self.image.topics.by_id.values()):
            for index, partition in topic.partitions.items():
                if concerns(partition):
                    change = PartitionChange(partition, topic.id, index, self._rules(partition))
                    alter(change)
                    self._append_change(change)

    def _append_change(self, change: PartitionChange) -> None:
        built = change.build()
        if built is not None:
            self.elections += 1
            self.append(built.message)

    def _rules(self, partition: PartitionImage) -> PartitionRules:
        return PartitionRules(
            lambda replica: replica in partition.replicas and self._is_active(replica),
            1, Writing(elr_enabled=False), lambda _replica: DIRECTORY_UNASSIGNED,
        )  # fmt: skip

    def _is_active(self, broker_id: int) -> bool:
        broker = self.image.cluster.brokers.get(broker_id)
        return broker is not None and broker.is_active


class Cluster:
    """Brokers 1 to `size` and a controller. Without delays, `settle` lets all happen that is due."""

    def __init__(
        self, size: int = 3, *, seed: int = 0, options: ReplicationOptions = OPTIONS,
        log_config: LogConfig | None = None, racks: Sequence[str | None] = (),
    ) -> None:  # fmt: skip
        self.world = FakeWorld(seed)
        self.rng = random.Random(seed)
        self.options = options
        self.log_config = log_config or LogConfig()
        self.network = Network(self.world, self.rng)
        self.controller = TestController(self._publish)
        self.nodes = [SimNode(self, index + 1, racks[index] if racks else None) for index in range(size)]
        self.network.nodes = {node.id: node for node in self.nodes}
        self._is_behind: dict[int, None] = {}
        self.holds_metadata: dict[int, None] = {}
        """Nodes that do not hear of the metadata for now."""
        for node in self.nodes:
            node.start()
        self.settle()

    def node(self, node_id: int) -> SimNode:
        return self.network.nodes[node_id]

    def settle(self, milliseconds: float = 50.0) -> None:
        """Let some time pass."""
        self.world.advance(milliseconds)

    def leader(self, name: TopicPartition) -> SimNode:
        return self.node(self.controller.partition(name).leader)

    def _publish(self) -> None:
        for node in self.nodes:
            if node.id not in self._is_behind:
                self._is_behind[node.id] = None
                self._deliver_later(node)

    def _deliver_later(self, node: SimNode) -> None:
        def deliver() -> None:
            if node.id in self.holds_metadata or self.network.is_cut(0, node.id):
                self.world.call_later(100.0, deliver)
                return
            self._is_behind.pop(node.id, None)
            node.catch_up()

        self.network.later(deliver)


def stored(log: Log, from_offset: int = 0) -> dict[int, Stored]:
    """The records of a log by offset."""
    found: dict[int, Stored] = {}
    offset = max(from_offset, log.log_start_offset)
    while offset < log.log_end_offset:
        part = log.read(offset, max_bytes=1 << 20, max_offset=log.log_end_offset, min_one_message=True)
        records = part.records
        assert not isinstance(records, bytes)
        data = records.read(0, records.size)
        records.release()
        for position, header in iter_batches(data):
            for record in iter_records(memoryview(data)[position : position + header.size_bytes]):
                found[record.offset] = Stored(record.value, header.leader_epoch)
            offset = header.last_offset + 1
    return found


def _refused(asked: AlterPartitionRequestPartitionData, code: ErrorCode) -> AlterPartitionResponsePartitionData:
    return AlterPartitionResponsePartitionData(partition_index=asked.partition_index, error_code=code)


def _bytes_of(message: Message, version: int) -> bytes:
    pieces = []
    for chunk in message.encode_chunks(version):
        if isinstance(chunk, bytes | bytearray | memoryview):
            pieces.append(bytes(chunk))
        else:
            range_ = cast("FileRange", chunk)
            pieces.append(range_.read(0, range_.size))
            range_.release()
    return b"".join(pieces)
