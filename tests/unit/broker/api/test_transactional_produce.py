"""Produce in transactions: what the coordinator says, when it says it, and in which order batches are written then."""

from __future__ import annotations

from typing import TypeVar, cast

import pytest

from odradek.broker.api.produce import ProduceApi
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.verification import TransactionVerifier
from odradek.ports import Promise
from odradek.server.handlers import erase
from odradek.storage.log_results import AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
)
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.persistent.metadata.register_broker_record import RegisterBrokerRecord
from odradek.wire.records.batch import iter_records
from odradek.wire.records.control import ControlType, EndTxnMarkerValue, build_end_txn_batch
from odradek.wire.schema import Message
from tests.unit.broker.scene import NODE_ID, Scene, batch_of
from tests.unit.storage.support import stored_batches

Resp = TypeVar("Resp", bound=Message)
NAME = TopicPartition("t", 0)
V1, V2 = 11, 12


class Coordinator:
    """Answers AddPartitionsToTxn when told."""

    def __init__(self) -> None:
        self.asked: list[AddPartitionsToTxnRequest] = []
        self.answers: list[ErrorCode] = []
        """For the next requests; when there are none left, NONE."""
        self.is_silent = False
        self._waiting: list[tuple[AddPartitionsToTxnRequest, Promise[Message]]] = []

    def send(self, broker_id: int, request: Message, response: type[Resp]) -> Promise[Resp]:
        assert broker_id == NODE_ID
        assert isinstance(request, AddPartitionsToTxnRequest)
        self.asked.append(request)
        promise: Promise[Message] = Promise()
        self._waiting.append((request, promise))
        if not self.is_silent:
            self.speak()
        return cast("Promise[Resp]", promise)

    def speak(self) -> None:
        """Answer whoever waits."""
        waiting, self._waiting = self._waiting, []
        for request, promise in waiting:
            code = self.answers.pop(0) if self.answers else ErrorCode.NONE
            if code is ErrorCode.NETWORK_EXCEPTION:
                promise.reject(KafkaError(code))
                continue
            (transaction,) = request.transactions
            results = [
                AddPartitionsToTxnTopicResult(
                    name=topic.name,
                    results_by_partition=[
                        AddPartitionsToTxnPartitionResult(partition_index=index, partition_error_code=code)
                        for index in topic.partitions
                    ],
                )
                for topic in transaction.topics
            ]
            result = AddPartitionsToTxnResult(transactional_id=transaction.transactional_id, topic_results=results)
            promise.resolve(AddPartitionsToTxnResponse(results_by_transaction=[result]))


class Producing:
    """A broker with the topic `t`, and a coordinator that the test speaks for."""

    def __init__(self, *, verifies: bool = True) -> None:
        self.scene = Scene()
        self.coordinator = Coordinator()
        self.scene.apply(RegisterBrokerRecord(broker_id=NODE_ID, fenced=False))
        self.scene.create_topic("__transaction_state")
        self.scene.create_topic("t", partitions=2)
        verifier = TransactionVerifier(
            self.scene.replicas,
            self.coordinator,
            lambda _id: 0,
            lambda: verifies,
            self.scene.world,
            TransactionOptions(add_retry_backoff_ms=20, add_retry_max_ms=100),
        )
        self.handler = erase(ProduceApi(self.scene.replicas, self.scene.admission, verifier).handler())

    def send(
        self, *sequences: int, version: int = V2, epoch: int = 0, producers: tuple[int, ...] = (7,)
    ) -> Promise[ProduceResponse]:
        """One request, with a partition per producer; each batch's value is its sequence."""
        (sequence,) = sequences
        partitions = [
            PartitionProduceData(
                index=index,
                records=memoryview(
                    bytearray(
                        batch_of(
                            b"%d" % sequence, producer_id=producer, producer_epoch=epoch, base_sequence=sequence,
                            is_transactional=True,
                        )
                    )
                ),
            )
            for index, producer in enumerate(producers)
        ]  # fmt: skip
        request = ProduceRequest(
            transactional_id="tx",
            acks=-1,
            timeout_ms=1000,
            topic_data=[TopicProduceData(name="t", partition_data=partitions)],
        )
        answer = self.handler.handle(self.scene.context(self.handler, version), request)
        if isinstance(answer, Promise):
            return cast("Promise[ProduceResponse]", answer)
        return Promise.of(cast("ProduceResponse", answer))

    def mark(self, epoch: int = 0) -> None:
        """A marker of the coordinator comes in."""
        batch = build_end_txn_batch(
            EndTxnMarkerValue(ControlType.ABORT, 0), base_offset=0, timestamp_ms=0, producer_id=7, producer_epoch=epoch
        )
        partition = self.scene.replicas.partition(NAME)
        self.scene.replicas.append(
            partition, memoryview(bytearray(batch)), all_replicas=True, origin=AppendOrigin.COORDINATOR
        )

    def written(self) -> list[bytes | None]:
        log = self.scene.replicas.partition(NAME).local_log()
        return [
            record.value
            for header, view in stored_batches(log)
            if not header.is_control
            for record in iter_records(view)
        ]


def told(promise: Promise[ProduceResponse]) -> str:
    return ErrorCode(promise.result().responses[0].partition_responses[0].error_code).name


@pytest.mark.parametrize(("version", "verify_only"), [(V1, True), (V2, False)])
def test_the_coordinator_is_asked_once_per_transaction(version: int, verify_only: bool) -> None:
    producing = Producing()
    for sequence in range(3):
        assert told(producing.send(sequence, version=version)) == "NONE"
    (request,) = producing.coordinator.asked
    (transaction,) = request.transactions
    assert (transaction.transactional_id, transaction.producer_id, transaction.producer_epoch) == ("tx", 7, 0)
    assert transaction.verify_only is verify_only
    assert [(topic.name, topic.partitions) for topic in transaction.topics] == [("t", [0])]
    assert producing.written() == [b"0", b"1", b"2"]


def test_batches_keep_their_order_while_the_coordinator_is_silent() -> None:
    producing = Producing()
    producing.coordinator.is_silent = True
    answers = [producing.send(sequence) for sequence in range(4)]
    assert len(producing.coordinator.asked) == 1
    assert producing.written() == []
    producing.coordinator.speak()
    assert [told(answer) for answer in answers] == ["NONE"] * 4
    assert producing.written() == [b"0", b"1", b"2", b"3"]
    assert told(producing.send(4)) == "NONE"


def test_the_transaction_before_is_waited_for_a_while() -> None:
    """The producer was told that it may go on, before all markers were written."""
    producing = Producing()
    producing.coordinator.answers = [ErrorCode.CONCURRENT_TRANSACTIONS] * 3
    first, second = producing.send(0), producing.send(1)
    producing.scene.world.advance(50)
    assert not first.done
    producing.scene.world.advance(20)
    assert (told(first), told(second)) == ("NONE", "NONE")
    assert producing.written() == [b"0", b"1"]


def test_but_not_for_long() -> None:
    producing = Producing()
    producing.coordinator.answers = [ErrorCode.CONCURRENT_TRANSACTIONS] * 50
    answer = producing.send(0)
    producing.scene.world.advance(99)
    assert not answer.done
    producing.scene.world.advance(21)
    assert told(answer) == "CONCURRENT_TRANSACTIONS"
    assert producing.written() == []


@pytest.mark.parametrize(
    ("code", "version", "expected"),
    [
        (ErrorCode.NETWORK_EXCEPTION, V2, "NOT_ENOUGH_REPLICAS"),
        (ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, V1, "NOT_ENOUGH_REPLICAS"),
        (ErrorCode.NOT_COORDINATOR, V2, "NOT_ENOUGH_REPLICAS"),
        (ErrorCode.CONCURRENT_TRANSACTIONS, V1, "NOT_ENOUGH_REPLICAS"),
        (ErrorCode.PRODUCER_FENCED, V1, "INVALID_PRODUCER_EPOCH"),
        (ErrorCode.TRANSACTION_ABORTABLE, V1, "TRANSACTION_ABORTABLE"),
        (ErrorCode.TRANSACTION_ABORTABLE, 10, "INVALID_TXN_STATE"),
        (ErrorCode.INVALID_PRODUCER_ID_MAPPING, V2, "INVALID_PRODUCER_ID_MAPPING"),
    ],
)
def test_what_the_coordinator_refuses(code: ErrorCode, version: int, expected: str) -> None:
    producing = Producing()
    producing.coordinator.answers = [code]
    assert told(producing.send(0, version=version)) == expected
    assert producing.written() == []
    assert told(producing.send(0, version=version)) == "NONE"


def test_producers_that_do_not_exist_leave_nothing_behind() -> None:
    """Their ids cost whoever makes them up nothing."""
    producing = Producing()
    producers = producing.scene.replicas.partition(NAME).leader_log().producers
    for code, is_kept in ((ErrorCode.INVALID_PRODUCER_ID_MAPPING, False), (ErrorCode.CONCURRENT_TRANSACTIONS, True)):
        producing.coordinator.answers = [code]
        producing.send(0, version=V1)
        (verification,) = [producers.start_verification(7, 0, 5, 0, adds_partitions=False)]
        assert verification is not None
        # A new one begins with the batch that asks for it.
        assert (verification.lowest_sequence == 0) is is_kept


def test_a_marker_overtakes_the_answer() -> None:
    """What was verified before it belongs to a transaction that is over."""
    producing = Producing()
    producing.coordinator.is_silent = True
    answer = producing.send(0, version=V1)
    producing.mark()
    producing.coordinator.speak()
    assert told(answer) == "INVALID_TXN_STATE"
    assert producing.written() == []


def test_without_verification_the_old_protocol_is_trusted() -> None:
    """`transaction.partition.verification.enable=false`; partitions of the new protocol must be added all the same."""
    producing = Producing(verifies=False)
    assert told(producing.send(0, version=V1)) == "NONE"
    assert producing.coordinator.asked == []
    producing.mark(epoch=1)
    assert told(producing.send(0, version=V2, epoch=1)) == "NONE"
    assert len(producing.coordinator.asked) == 1


def test_one_request_has_one_producer() -> None:
    producing = Producing()
    with pytest.raises(KafkaError) as refused:
        producing.send(0, producers=(7, 8))
    assert refused.value.code is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert producing.written() == []
