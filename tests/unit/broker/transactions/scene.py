"""A transaction coordinator over a log in memory, and a broker that writes markers when told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast

from odradek.broker.coordinator.result import Producer
from odradek.broker.transactions.metadata import TransactionMetadata, from_record, transaction_record_codec
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.service import TransactionCoordinator
from odradek.broker.transactions.shard import Outcome
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.metadata.topic_names import TRANSACTION_STATE_TOPIC
from odradek.ports import Promise
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.write_txn_markers import (
    WritableTxnMarker,
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from odradek.wire.persistent.metadata.partition_record import PartitionRecord
from odradek.wire.persistent.metadata.register_broker_record import RegisterBrokerRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.persistent.transaction.transaction_log import TransactionLogKey, TransactionLogValue
from odradek.wire.schema import Message
from tests.unit.broker.coordinator.fake_log import FakeLog
from tests.unit.fakes import FakeWorld

T = TypeVar("T")
Resp = TypeVar("Resp", bound=Message)
SHARD = TopicPartition(TRANSACTION_STATE_TOPIC, 0)
NODE_ID = 1
TX = "tx"
TIMEOUT_MS = 60_000


class FakeBrokers:
    """The other side of WriteTxnMarkers: `codes` says what becomes of a partition's marker."""

    def __init__(self) -> None:
        self.codes: dict[TopicPartition, ErrorCode] = {}
        self.markers: list[tuple[WritableTxnMarker, TopicPartition]] = []
        """Those that were written."""
        self.is_reachable = True
        self.holds_back = False
        self.held: list[tuple[WriteTxnMarkersRequest, Promise[Message]]] = []

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        assert broker_id == NODE_ID
        assert isinstance(request, WriteTxnMarkersRequest)
        if not self.is_reachable:
            return Promise.failed(KafkaError(ErrorCode.NETWORK_EXCEPTION))
        promise: Promise[Message] = Promise()
        self.held.append((request, promise))
        if not self.holds_back:
            self.release()
        return cast("Promise[Resp]", promise)

    def release(self) -> None:
        """Answer what was held back."""
        held, self.held = self.held, []
        for request, promise in held:
            promise.resolve(WriteTxnMarkersResponse(markers=[self._write(marker) for marker in request.markers]))

    def _write(self, marker: WritableTxnMarker) -> WritableTxnMarkerResult:
        result = WritableTxnMarkerResult(producer_id=marker.producer_id)
        for topic in marker.topics:
            answer = WritableTxnMarkerTopicResult(name=topic.name)
            for index in topic.partition_indexes:
                name = TopicPartition(topic.name, index)
                code = self.codes.get(name, ErrorCode.NONE)
                if code is ErrorCode.NONE:
                    self.markers.append((marker, name))
                answer.partitions.append(WritableTxnMarkerPartitionResult(partition_index=index, error_code=code))
            result.topics.append(answer)
        return result


class TransactionScene:
    """One coordinator with one shard, and the topic `t` with three partitions."""

    def __init__(
        self,
        log: FakeLog | None = None,
        *,
        transaction_version: int = 2,
        options: TransactionOptions | None = None,
        leader_epoch: int = 0,
        now_ms: int = 1_700_000_000_000,
        next_producer_id: int = 1000,
    ) -> None:
        self.log = FakeLog() if log is None else log
        self.world = FakeWorld(now_ms=now_ms)
        self.brokers = FakeBrokers()
        self.image = MetadataImage.empty()
        self.next_producer_id = next_producer_id
        topic_id, state_id = self.world.uuid(), self.world.uuid()
        self.apply(
            FeatureLevelRecord(name="transaction.version", feature_level=transaction_version),
            RegisterBrokerRecord(broker_id=NODE_ID, fenced=False),
            TopicRecord(name=TRANSACTION_STATE_TOPIC, topic_id=state_id),
            partition(state_id, 0),
            TopicRecord(name="t", topic_id=topic_id),
            *(partition(topic_id, index) for index in range(3)),
        )
        self.topic_id = topic_id
        self.coordinator = TransactionCoordinator(
            writer=self.log,
            brokers=self.brokers,
            new_producer_id=self._new_producer_id,
            image=lambda: self.image,
            options=options if options is not None else TransactionOptions(),
            clock=self.world,
            scheduler=self.world,
        )
        self.coordinator.elected(0, leader_epoch)
        self.world.run_soon()

    def apply(self, *records: Message) -> None:
        """Let metadata records become the image."""
        delta = MetadataDelta(self.image)
        delta.replay_all(records)
        self.image = delta.apply(self.image.offset + len(records), 1)

    def init(
        self, expected: tuple[int, int] | None = None, *, timeout_ms: int = TIMEOUT_MS, name: str = TX
    ) -> Outcome | ErrorCode:
        producer = None if expected is None else Producer(*expected)
        return outcome(self.coordinator.init_producer_id(name, timeout_ms, producer))

    def add(self, producer: tuple[int, int], *partitions: int, version: int = 2, name: str = TX) -> ErrorCode:
        names = [TopicPartition("t", index) for index in partitions or (0,)]
        return error_of(self.coordinator.add_partitions(name, Producer(*producer), names, version))

    def end(
        self, producer: tuple[int, int], *, commit: bool = True, version: int = 2, name: str = TX
    ) -> Outcome | ErrorCode:
        answer = self.coordinator.end_transaction(name, Producer(*producer), is_commit=commit, client_version=version)
        return outcome(answer)

    def settle(self) -> None:
        """Let markers be written, and what follows from them."""
        self.world.run_soon()

    def state(self, name: str = TX) -> TransactionMetadata | None:
        return self.coordinator.describe(name).result()

    def label(self, name: str = TX) -> str:
        """The state's name, "" for an unknown id."""
        metadata = self.state(name)
        return "" if metadata is None else metadata.state.label

    def records(self) -> list[tuple[str, TransactionLogValue | None]]:
        """What is in the log."""
        codec = transaction_record_codec()
        found: list[tuple[str, TransactionLogValue | None]] = []
        for record in self.log.records(SHARD):
            decoded = codec.decode(record.key, record.value)
            assert decoded is not None
            assert isinstance(decoded.key, TransactionLogKey)
            value = decoded.value
            assert value is None or isinstance(value, TransactionLogValue)
            found.append((decoded.key.transactional_id, value))
        return found

    def replayed(self) -> Mapping[str, TransactionMetadata]:
        """What the log says of each transactional id."""
        state: dict[str, TransactionMetadata] = {}
        for name, value in self.records():
            if value is None:
                state.pop(name, None)
            else:
                state[name] = from_record(name, value)
        return state

    def restarted(self) -> TransactionScene:
        """Another start over the same log."""
        log = self.log.prefix(SHARD, len(self.log.batches.get(SHARD, [])))
        return TransactionScene(
            log, leader_epoch=1, next_producer_id=self.next_producer_id, now_ms=self.world.now_ms() + 1
        )

    def _new_producer_id(self) -> Promise[int]:
        self.next_producer_id += 1
        return Promise.of(self.next_producer_id - 1)


def partition(topic_id: bytes, index: int, *, leader: int = NODE_ID) -> PartitionRecord:
    return PartitionRecord(
        partition_id=index, topic_id=topic_id, replicas=[NODE_ID], isr=[NODE_ID], leader=leader, leader_epoch=0
    )


def error_of(promise: Promise[T]) -> ErrorCode:
    if promise.error is None:
        promise.result()
        return ErrorCode.NONE
    assert isinstance(promise.error, KafkaError), promise.error
    return promise.error.code


def outcome(promise: Promise[Outcome]) -> Outcome | ErrorCode:
    """The outcome, or the error where that is all there is."""
    code = error_of(promise)
    if code is not ErrorCode.NONE:
        return code
    found = promise.result()
    return found if found.error_code is ErrorCode.NONE else found.error_code


def producer_of(found: Outcome | ErrorCode) -> tuple[int, int]:
    assert isinstance(found, Outcome), found
    return found.producer.producer_id, found.producer.producer_epoch
