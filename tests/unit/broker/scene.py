"""A broker's inside on files in memory: topics by metadata records, requests as handlers get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from odradek.broker.replication.admission import Admission
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.verification import TransactionVerifier
from odradek.config import BrokerConfig, single_node_defaults
from odradek.config.resources import TopicConfig
from odradek.config.table import TOPIC
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.ports import FileSystem, Promise, Turns
from odradek.ports.network import ConnectionInfo
from odradek.security.acl import AllowAll
from odradek.security.principal import ANONYMOUS
from odradek.server.context import RequestContext
from odradek.server.handlers import Handler
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.persistent.metadata.partition_record import PartitionRecord
from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.records.batch import build_batch
from odradek.wire.records.compression import Codec
from odradek.wire.records.record import Record
from odradek.wire.schema import Message
from tests.unit.fakes import FakeWorld

Resp = TypeVar("Resp", bound=Message)
NODE_ID = 1
MADE_AT_ONCE = 10_000
"""New logs of which the executor does not have to make the files: topics are there when they are created."""
CONNECTION = ConnectionInfo("1", "PLAINTEXT", "PLAINTEXT", "127.0.0.1", 5000, "127.0.0.1", 9092)


class NoBrokers:
    """A network in which nobody answers."""

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        return Promise.failed(KafkaError(ErrorCode.NETWORK_EXCEPTION))


class Scene:
    """One broker, node 1, whose metadata the test writes."""

    def __init__(
        self, *, check_every_record: bool = False, world: FakeWorld | None = None, files: FileSystem | None = None
    ) -> None:
        self.world = world if world is not None else FakeWorld()
        self.config = BrokerConfig.load(single_node_defaults("localhost", 9092, data_dir="/data"))
        files = files if files is not None else MemoryFileSystem()
        self.logs = LogManager(files, self.world, self.world, self.world, self.world, ["/data"])
        self.logs.load(lambda _topic: LogConfig())
        self.topic_configs: dict[str, dict[str, str]] = {}
        self.replicas = ReplicaManager(
            node_id=NODE_ID,
            logs=self.logs,
            clock=self.world,
            scheduler=self.world,
            log_config_of=lambda _image, name: self._log_config(name),
        )
        self.replicas.catching_up.made_at_once = MADE_AT_ONCE
        self.admission = Admission(self.world, check_every_record=check_every_record, executor=self.world)
        self.verifier = TransactionVerifier(
            self.replicas, NoBrokers(), lambda _id: 0, lambda: True, self.world, TransactionOptions()
        )
        self._image = MetadataImage.empty()

    def _log_config(self, name: str) -> LogConfig:
        topic = TopicConfig(self.config, self.topic_configs.get(name, {}))
        return LogConfig.from_values({key: topic.value(key) for key in TOPIC})

    def create_topic(
        self, name: str, *, partitions: int = 1, config: Mapping[str, str] | None = None, leader: int = NODE_ID,
        replicas: Sequence[int] | None = None,
    ) -> bytes:  # fmt: skip
        """Make a topic led by `leader`; returns its id."""
        self.topic_configs[name] = dict(config or {})
        topic_id = self.world.uuid()
        records: list[Message] = [TopicRecord(name=name, topic_id=topic_id)]
        if replicas is None:
            replicas = [NODE_ID] if leader == NODE_ID else [NODE_ID, leader]
        records += [
            PartitionRecord(
                partition_id=index,
                topic_id=topic_id,
                replicas=list(replicas),
                isr=list(replicas),
                leader=leader,
                leader_epoch=0,
            )
            for index in range(partitions)
        ]
        self.apply(*records)
        return topic_id

    def delete_topic(self, topic_id: bytes) -> None:
        """Delete a topic."""
        self.apply(RemoveTopicRecord(topic_id=topic_id))

    def apply(self, *records: Message) -> None:
        """Let metadata records become the broker's image."""
        delta = MetadataDelta(self._image)
        delta.replay_all(records)
        self._image = delta.apply(self._image.offset + len(records), 1)
        self.replicas.apply(self._image, delta.changed_partitions, [name for name, _id in delta.deleted_topics])

    def context(self, handler: Handler[Message, Message], version: int, client_id: str = "test") -> RequestContext:
        """The context of a request of this version."""
        return RequestContext(
            handler.api_key, version, 1, client_id, CONNECTION, ANONYMOUS, AllowAll(), Turns(self.world, self.world)
        )

    def end_offset(self, topic: str, partition: int = 0) -> int:
        """Where a log ends."""
        return self.replicas.partition(TopicPartition(topic, partition)).local_log().log_end_offset

    def append(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Append records past the APIs."""
        batch = memoryview(bytearray(batch_of(*values, timestamp_ms=self.world.now_ms())))
        self.replicas.append(self.replicas.partition(TopicPartition(topic, partition)), batch, all_replicas=True)


def batch_of(
    *values: bytes,
    timestamp_ms: int = 1_700_000_000_000,
    codec: Codec = Codec.NONE,
    key: bytes | None = b"k",
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    is_transactional: bool = False,
) -> bytes:
    """One batch of these values."""
    return build_batch(
        [Record(offset, timestamp_ms, key, value) for offset, value in enumerate(values)],
        codec=codec,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        is_transactional=is_transactional,
    )


def settled(answer: object) -> object:
    """What a handler answered, at once or by a promise that is settled."""
    return answer.result() if isinstance(answer, Promise) else answer
