"""A machine that nodes run on: a disk that outlives them, and requests as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

from odradek.config import BrokerConfig, single_node_defaults
from odradek.node.formatting import FormatOptions, format_directories
from odradek.node.node import Endpoints, Node
from odradek.node.ports import Ports
from odradek.ports import FileSystem, Promise, spawn
from odradek.ports.network import Chunk, FrameHandler, Outcome, Reply
from odradek.storage.memory_files import MemoryFileSystem
from odradek.wire.apis import request_header_version, response_header_version, stable_versions
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.headers import RequestHeader, ResponseHeader
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from odradek.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import next_batch_size
from odradek.wire.schema import Message
from odradek.wire.uuids import uuid_to_string
from tests.unit.broker.scene import CONNECTION, batch_of
from tests.unit.fakes import FakeWorld

DATA_DIR = "/data"
PORTS = {"PLAINTEXT": 9092, "CONTROLLER": 9093}
BOOT_MS = 60_000
"""How much later each start is than the one before."""
ANSWER_MS = 60_000
START_MS = 60_000
CORRELATION_ID = 7
CLIENT_ID = "test"

# The last versions that name topics instead of giving their ids.
PRODUCE_VERSION = 12
FETCH_VERSION = 12

Resp = TypeVar("Resp", bound=Message)
T = TypeVar("T")


class RunningNode:
    """One start of a node."""

    def __init__(self, config: BrokerConfig, files: FileSystem, now_ms: int, seed: int) -> None:
        self.world = FakeWorld(seed, now_ms)
        self.fatal: list[BaseException] = []
        self.configs: list[BrokerConfig] = []
        ports = Ports(self.world, self.world, self.world, self.world, files)
        self.node = Node(config, ports, Endpoints(PORTS), self.fatal.append, self.configs.append)

    def settled(self, promise: Promise[T], within_ms: float) -> T:
        """What the promise comes to, letting time pass."""
        for _ in range(1000):
            self.world.advance(0)
            if promise.done:
                break
            self.world.advance(within_ms / 1000)
        return promise.result()

    def start(self) -> None:
        """Start, until clients may come."""
        self.settled(spawn(self.node.start()), START_MS)

    def stop(self) -> None:
        """Stop cleanly."""
        self.settled(spawn(self.node.stop()), START_MS)

    def ask(
        self, request: Message, response: type[Resp], version: int | None = None, *, controller: bool = False
    ) -> Resp:
        """Send a request's bytes to a listener, and read the answer's."""
        return self.answer(self.send(request, version, controller=controller), request, response, version)

    def send(
        self, request: Message, version: int | None = None, *, controller: bool = False, client_id: str = CLIENT_ID
    ) -> Reply | Promise[Reply]:
        """What a listener makes of a request's bytes."""
        handler = self.node.controller_frames if controller else self.node.broker_frames
        return send(handler, request, _version(request, version), client_id)

    def answer(
        self, reply: Reply | Promise[Reply], request: Message, response: type[Resp], version: int | None = None
    ) -> Resp:
        """Read a response out of a reply, waiting for it."""
        if isinstance(reply, Promise):
            reply = self.settled(reply, ANSWER_MS)
        assert not isinstance(reply, Outcome), reply
        return decode(reply, request, response, _version(request, version))

    def create_topic(self, name: str, *, partitions: int = 1, configs: Mapping[str, str] | None = None) -> bytes:
        """Create a topic; returns its id."""
        topic = CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=1,
            configs=[CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()],
        )
        response = self.ask(CreateTopicsRequest(topics=[topic], timeout_ms=1000), CreateTopicsResponse)
        (created,) = response.topics
        assert created.error_code == ErrorCode.NONE, created
        return created.topic_id

    def produce(self, topic: str, *values: bytes, partition: int = 0, batch: bytes | None = None) -> ErrorCode:
        """Write records with acks=all; the error of the answer."""
        return ErrorCode(self.produced(topic, *values, partition=partition, batch=batch).error_code)

    def produced(
        self, topic: str, *values: bytes, partition: int = 0, batch: bytes | None = None
    ) -> PartitionProduceResponse:
        """Write records with acks=all; the partition's answer."""
        records = batch_of(*values, timestamp_ms=self.world.now_ms()) if batch is None else batch
        data = TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=partition, records=records)])
        request = ProduceRequest(acks=-1, timeout_ms=1000, topic_data=[data])
        response = self.ask(request, ProduceResponse, PRODUCE_VERSION)
        return response.responses[0].partition_responses[0]

    def fetch_request(self, topic: str, offset: int = 0, *, partition: int = 0, max_wait_ms: int = 0) -> FetchRequest:
        """A consumer's request for one partition."""
        wanted = FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1 << 20)
        return FetchRequest(
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            max_bytes=1 << 20,
            topics=[FetchTopic(topic=topic, partitions=[wanted])],
        )

    def fetch(self, topic: str, offset: int = 0, *, partition: int = 0) -> list[bytes | None] | ErrorCode:
        """The values of a partition from an offset on, or the error of the answer."""
        request = self.fetch_request(topic, offset, partition=partition)
        response = self.ask(request, FetchResponse, FETCH_VERSION)
        answer = response.responses[0].partitions[0]
        if answer.error_code:
            return ErrorCode(answer.error_code)
        return values_of(_bytes_of(cast("Chunk", answer.records)))


class Machine:
    """Nodes with the same configuration and the same files, one after the other."""

    def __init__(self, files: FileSystem | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.files: FileSystem = MemoryFileSystem() if files is None else files
        self.settings = {
            **single_node_defaults("localhost", 9092, data_dir=DATA_DIR),
            "group.initial.rebalance.delay.ms": "0",
            **(settings or {}),
        }
        self.boots = 0

    def format(self, *, standalone: bool = True, release: str | None = None) -> None:
        """Format the directories, as the tool would; a node that is not formatted formats itself."""
        world = FakeWorld(3)
        options = FormatOptions(uuid_to_string(world.uuid()), standalone=standalone, release_version=release)
        for _line in format_directories(BrokerConfig.load(self.settings), options, self.files, world, world):
            pass

    def boot(self, settings: Mapping[str, str] | None = None) -> RunningNode:
        """Put a node together, with `settings` on top of the machine's; nothing runs yet."""
        self.boots += 1
        config = BrokerConfig.load({**self.settings, **(settings or {})})
        return RunningNode(config, self.files, 1_700_000_000_000 + self.boots * BOOT_MS, self.boots)

    def start(self, settings: Mapping[str, str] | None = None) -> RunningNode:
        """Start a node. One that is not stopped before the next start has crashed."""
        node = self.boot(settings)
        node.start()
        return node


def find_coordinator(node: RunningNode, group: str) -> None:
    """Ask until the group has a coordinator, as clients do."""
    for _ in range(100):
        response = node.ask(FindCoordinatorRequest(coordinator_keys=[group]), FindCoordinatorResponse)
        if response.coordinators[0].error_code == ErrorCode.NONE:
            return
        node.world.advance(100)
    raise AssertionError(f"there is no coordinator: {response}")


def commit(node: RunningNode, group: str, topic: str, offset: int) -> ErrorCode:
    """Commit an offset of partition 0; the error of the answer."""
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=offset, committed_metadata="m")
    request = OffsetCommitRequest(group_id=group, topics=[OffsetCommitRequestTopic(name=topic, partitions=[partition])])
    response = node.ask(request, OffsetCommitResponse, 9)
    return ErrorCode(response.topics[0].partitions[0].error_code)


def committed(node: RunningNode, group: str, topic: str) -> int:
    """The offset committed for partition 0."""
    wanted = OffsetFetchRequestGroup(
        group_id=group, topics=[OffsetFetchRequestTopics(name=topic, partition_indexes=[0])]
    )
    response = node.ask(OffsetFetchRequest(groups=[wanted]), OffsetFetchResponse, 9)
    assert response.groups[0].error_code == ErrorCode.NONE
    return response.groups[0].topics[0].partitions[0].committed_offset


def send(handler: FrameHandler, request: Message, version: int, client_id: str = CLIENT_ID) -> Reply | Promise[Reply]:
    """Hand a request's bytes to a listener's handler."""
    key = request.API_KEY
    assert key is not None
    header = RequestHeader(
        request_api_key=key, request_api_version=version, correlation_id=CORRELATION_ID, client_id=client_id
    )
    frame = header.encode(request_header_version(key, version)) + request.encode(version)
    return handler(CONNECTION, memoryview(bytearray(frame)))


def decode(reply: Reply, request: Message, response: type[Resp], version: int) -> Resp:
    """Read the response in a reply's bytes."""
    assert not isinstance(reply, Outcome)
    key = request.API_KEY
    assert key is not None
    data = b"".join(_bytes_of(chunk) for chunk in reply)
    header_version = response_header_version(key, version)
    header = ResponseHeader(correlation_id=CORRELATION_ID).encode(header_version)
    assert data.startswith(header)
    return response.decode(data[len(header) :], version)


def values_of(records: bytes) -> list[bytes | None]:
    """The values in whole batches."""
    values: list[bytes | None] = []
    while records:
        size = next_batch_size(records)
        assert size is not None
        values += [record.value for record in iter_records(records[:size])]
        records = records[size:]
    return values


def _version(request: Message, version: int | None) -> int:
    assert request.API_KEY is not None
    return stable_versions(request.API_KEY)[-1] if version is None else version


def _bytes_of(chunk: Chunk) -> bytes:
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    data = chunk.read(0, chunk.size)
    chunk.release()
    return data
