"""A transactional producer over a raw connection: every request of both protocols by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from odradek.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse
from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
)
from odradek.wire.messages.describe_transactions import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    TransactionState,
)
from odradek.wire.messages.end_txn import EndTxnRequest, EndTxnResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
)
from tests.support.batches import TRANSACTIONAL_BIT, Lies, batch, batches
from tests.support.process import wait_for
from tests.support.requests import code, fetch, fetch_request
from tests.support.wire import Connection

T = TypeVar("T")
TV1_PRODUCE = 11
TV2_PRODUCE = 12
"""The last version of Produce that names topics, and the first with which the broker adds partitions itself."""
TV1_OFFSETS = 4
TV2_OFFSETS = 5
TV1_END = 4
TV2_END = 5
CLIENT_ADD = 3
"""The last version of AddPartitionsToTxn for clients."""
TIMEOUT_MS = 60_000
RETRIABLE = ("CONCURRENT_TRANSACTIONS", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR")


def eventually(ask: Callable[[], T], error_of: Callable[[T], str], timeout_s: float = 20.0) -> T:
    """Ask again while the answer says that it is too early, as clients do."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if error_of(answer) not in RETRIABLE or time.monotonic() > deadline:
            return answer
        time.sleep(0.02)


def init(
    connection: Connection,
    transactional_id: str | None,
    *,
    timeout_ms: int = TIMEOUT_MS,
    producer: tuple[int, int] = (-1, -1),
    version: int | None = None,
) -> InitProducerIdResponse:
    """InitProducerId, asked once."""
    request = InitProducerIdRequest(
        transactional_id=transactional_id,
        transaction_timeout_ms=timeout_ms,
        producer_id=producer[0],
        producer_epoch=producer[1],
    )
    return connection.call(request, InitProducerIdResponse, version)


def await_coordinator(connection: Connection, transactional_id: str) -> None:
    """Wait until the coordinator of a transactional id answers."""

    def found() -> bool:
        request = FindCoordinatorRequest(key_type=1, coordinator_keys=[transactional_id])
        if connection.call(request, FindCoordinatorResponse).coordinators[0].error_code != 0:
            return False
        return code(describe(connection, transactional_id).error_code) in ("NONE", "TRANSACTIONAL_ID_NOT_FOUND")

    wait_for(found, f"the coordinator of {transactional_id}", 30.0)


def describe(connection: Connection, transactional_id: str) -> TransactionState:
    """What the coordinator says of a transactional id."""
    request = DescribeTransactionsRequest(transactional_ids=[transactional_id])
    return connection.call(request, DescribeTransactionsResponse).transaction_states[0]


class RawTransactions:
    """One transactional producer. `is_v2` is the protocol with an epoch per transaction (KIP-890)."""

    def __init__(self, connection: Connection, transactional_id: str, *, is_v2: bool, timeout_ms: int = TIMEOUT_MS):
        self.connection = connection
        self.transactional_id = transactional_id
        self.is_v2 = is_v2
        self.timeout_ms = timeout_ms
        self.producer = (-1, -1)
        self.sequences: dict[tuple[str, int], int] = {}

    def init(self) -> InitProducerIdResponse:
        """Get a producer id and an epoch, waiting for what has to end first."""
        answer = eventually(
            lambda: init(self.connection, self.transactional_id, timeout_ms=self.timeout_ms),
            lambda answer: code(answer.error_code),
        )
        assert code(answer.error_code) == "NONE", code(answer.error_code)
        self._go_on_as(answer.producer_id, answer.producer_epoch)
        return answer

    def add(self, topic: str, *partitions: int, version: int = CLIENT_ADD) -> str:
        """AddPartitionsToTxn; returns the error of the lowest partition."""
        return add(self.connection, self.transactional_id, self.producer, topic, partitions or (0,), version=version)

    def send(
        self,
        topic: str,
        *values: bytes,
        partition: int = 0,
        producer: tuple[int, int] | None = None,
        sequence: int | None = None,
        version: int | None = None,
    ) -> PartitionProduceResponse:
        """Produce one transactional batch; the sequence follows from what was accepted before."""
        producer_id, epoch = self.producer if producer is None else producer
        first = self.sequences.get((topic, partition), 0) if sequence is None else sequence
        records = batch(
            values,
            producer=(producer_id, epoch, first),
            timestamp_ms=int(time.time() * 1000),  # the marker's is of now, and a segment does not hold years
            lies=Lies(attributes=TRANSACTIONAL_BIT),
        )
        data = PartitionProduceData(index=partition, records=records)
        request = ProduceRequest(
            transactional_id=self.transactional_id,
            acks=-1,
            timeout_ms=15_000,
            topic_data=[TopicProduceData(name=topic, partition_data=[data])],
        )
        used = version or (TV2_PRODUCE if self.is_v2 else TV1_PRODUCE)
        answer = self.connection.call(request, ProduceResponse, used).responses[0].partition_responses[0]
        if answer.error_code == 0 and sequence is None:
            self.sequences[topic, partition] = first + len(values)
        return answer

    def write(self, topic: str, *values: bytes, partition: int = 0) -> int:
        """Add the partition, if that is the producer's part, and write to it; returns the offset."""
        if not self.is_v2:
            added = eventually(lambda: self.add(topic, partition), str)
            assert added == "NONE", added
        answer = eventually(
            lambda: self.send(topic, *values, partition=partition), lambda answer: code(answer.error_code)
        )
        assert code(answer.error_code) == "NONE", code(answer.error_code)
        return answer.base_offset

    def add_offsets(self, group: str) -> str:
        """AddOffsetsToTxn."""
        request = AddOffsetsToTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=self.producer[0],
            producer_epoch=self.producer[1],
            group_id=group,
        )
        return code(self.connection.call(request, AddOffsetsToTxnResponse).error_code)

    def commit_offset(
        self,
        group: str,
        topic: str,
        offset: int,
        *,
        partition: int = 0,
        member_id: str = "",
        generation: int = -1,
        version: int | None = None,
        metadata: str | None = "",
        producer: tuple[int, int] | None = None,
    ) -> str:
        """TxnOffsetCommit of one partition; returns the error's name."""
        producer_id, epoch = self.producer if producer is None else producer
        wanted = TxnOffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_metadata=metadata
        )
        request = TxnOffsetCommitRequest(
            transactional_id=self.transactional_id,
            group_id=group,
            producer_id=producer_id,
            producer_epoch=epoch,
            member_id=member_id,
            generation_id_or_member_epoch=generation,
            topics=[TxnOffsetCommitRequestTopic(name=topic, partitions=[wanted])],
        )
        used = version if version is not None else (TV2_OFFSETS if self.is_v2 else TV1_OFFSETS)
        answer = self.connection.call(request, TxnOffsetCommitResponse, used)
        return code(answer.topics[0].partitions[0].error_code)

    def end(
        self, *, commit: bool, producer: tuple[int, int] | None = None, version: int | None = None
    ) -> EndTxnResponse:
        """EndTxn, asked once; goes on with the epoch that it returns."""
        producer_id, epoch = self.producer if producer is None else producer
        request = EndTxnRequest(
            transactional_id=self.transactional_id, producer_id=producer_id, producer_epoch=epoch, committed=commit
        )
        used = version if version is not None else (TV2_END if self.is_v2 else TV1_END)
        answer = self.connection.call(request, EndTxnResponse, used)
        if answer.error_code == 0 and producer is None and answer.producer_id >= 0:
            self._go_on_as(answer.producer_id, answer.producer_epoch)
        return answer

    def finish(self, *, commit: bool) -> None:
        """End the transaction and wait until it is complete."""
        answer = self.end(commit=commit)
        assert code(answer.error_code) == "NONE", code(answer.error_code)
        self.await_complete()

    def await_complete(self) -> None:
        """Wait until the markers are written."""
        wait_for(
            lambda: describe(self.connection, self.transactional_id).transaction_state.startswith("Complete"),
            f"the transaction of {self.transactional_id} is complete",
        )

    def _go_on_as(self, producer_id: int, epoch: int) -> None:
        if (producer_id, epoch) != self.producer:
            self.sequences.clear()
        self.producer = (producer_id, epoch)


def add(
    connection: Connection,
    transactional_id: str,
    producer: tuple[int, int],
    topic: str,
    partitions: Sequence[int] = (0,),
    *,
    version: int = CLIENT_ADD,
    verify_only: bool = False,
) -> str:
    """AddPartitionsToTxn in the form of a client (up to version 3) or of a broker; the lowest partition's error."""
    topics = [AddPartitionsToTxnTopic(name=topic, partitions=list(partitions))]
    if version <= CLIENT_ADD:
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=transactional_id,
            v3_and_below_producer_id=producer[0],
            v3_and_below_producer_epoch=producer[1],
            v3_and_below_topics=topics,
        )
        answer = connection.call(request, AddPartitionsToTxnResponse, version)
        return _lowest(answer.results_by_topic_v3_and_below)
    transaction = AddPartitionsToTxnTransaction(
        transactional_id=transactional_id,
        producer_id=producer[0],
        producer_epoch=producer[1],
        verify_only=verify_only,
        topics=topics,
    )
    answer = connection.call(AddPartitionsToTxnRequest(transactions=[transaction]), AddPartitionsToTxnResponse, version)
    assert code(answer.error_code) == "NONE"
    return _lowest(answer.results_by_transaction[0].topic_results)


def _lowest(topics: Sequence[AddPartitionsToTxnTopicResult]) -> str:
    """The error of the lowest partition: their order is nobody's promise."""
    results = sorted(topics[0].results_by_partition, key=lambda result: result.partition_index)
    return code(results[0].partition_error_code)


def values(connection: Connection, topic: str, *, committed: bool, partition: int = 0) -> list[bytes | None]:
    """What a consumer of this isolation level returns: it leaves out what the response calls aborted."""
    answer = fetch(
        connection, fetch_request(topic, 0, partition=partition, isolation_level=int(committed), max_wait_ms=0)
    )
    assert code(answer.error_code) == "NONE", code(answer.error_code)
    aborted = sorted((entry.first_offset, entry.producer_id) for entry in answer.aborted_transactions or ())
    leaving_out: set[int] = set()
    found: list[bytes | None] = []
    for part in batches(answer.records):
        while aborted and aborted[0][0] <= part.base_offset:
            leaving_out.add(aborted.pop(0)[1])
        producer_id = part.producer[0]
        if part.attributes & 32:
            leaving_out.discard(producer_id)
        elif not (part.attributes & TRANSACTIONAL_BIT and producer_id in leaving_out):
            found += part.values
    return found
