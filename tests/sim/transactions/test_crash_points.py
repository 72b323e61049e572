"""A node that dies between any two writes of a transaction: what was decided is what all partitions and offsets say."""

from __future__ import annotations

import random
from typing import NamedTuple, cast

import pytest

from odradek.ports import FileSystem
from odradek.ports.network import Chunk
from odradek.storage.memory_files import MemoryFileSystem
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse
from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
)
from odradek.wire.messages.describe_transactions import DescribeTransactionsRequest, DescribeTransactionsResponse
from odradek.wire.messages.end_txn import EndTxnRequest, EndTxnResponse
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
)
from odradek.wire.records.header import next_batch_size, parse_header
from tests.sim.transactions.crash_points import CrashPoints
from tests.unit.broker.scene import batch_of
from tests.unit.node.machine import FETCH_VERSION, Machine, RunningNode, committed, find_coordinator, values_of

SETTINGS = {
    "transaction.state.log.num.partitions": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "3600000",
}
TX, GROUP, TOPIC = "tx", "g", "t"
PARTITIONS = 3


class Client(NamedTuple):
    """A producer's requests to one start of a node."""

    node: RunningNode
    is_v2: bool
    producer_id: int = -1
    epoch: int = -1

    def init(self) -> Client:
        """Get an epoch, once what is going on has ended."""
        for _ in range(100):
            request = InitProducerIdRequest(transactional_id=TX, transaction_timeout_ms=60_000)
            answer = self.node.ask(request, InitProducerIdResponse)
            if answer.error_code == ErrorCode.NONE:
                return self._replace(producer_id=answer.producer_id, epoch=answer.producer_epoch)
            assert answer.error_code == ErrorCode.CONCURRENT_TRANSACTIONS, answer
            self.node.world.advance(20)
        raise AssertionError("no epoch")

    def write(self, partition: int, value: bytes) -> None:
        if not self.is_v2:
            topics = [AddPartitionsToTxnTopic(name=TOPIC, partitions=[partition])]
            request = AddPartitionsToTxnRequest(
                v3_and_below_transactional_id=TX,
                v3_and_below_producer_id=self.producer_id,
                v3_and_below_producer_epoch=self.epoch,
                v3_and_below_topics=topics,
            )
            added = self.node.ask(request, AddPartitionsToTxnResponse, 3)
            assert added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0
        records = batch_of(
            value, timestamp_ms=self.node.world.now_ms(), producer_id=self.producer_id, producer_epoch=self.epoch,
            base_sequence=0, is_transactional=True,
        )  # fmt: skip
        data = TopicProduceData(name=TOPIC, partition_data=[PartitionProduceData(index=partition, records=records)])
        produce = ProduceRequest(transactional_id=TX, acks=-1, timeout_ms=1000, topic_data=[data])
        answer = self.node.ask(produce, ProduceResponse, 12 if self.is_v2 else 11)
        assert answer.responses[0].partition_responses[0].error_code == 0

    def take_offset(self, offset: int) -> None:
        who = {"transactional_id": TX, "producer_id": self.producer_id, "producer_epoch": self.epoch, "group_id": GROUP}
        if not self.is_v2:
            assert self.node.ask(AddOffsetsToTxnRequest(**who), AddOffsetsToTxnResponse).error_code == 0  # type: ignore[arg-type] # of mixed types
        wanted = TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=offset, committed_metadata="")
        request = TxnOffsetCommitRequest(
            **who,  # type: ignore[arg-type] # of mixed types
            topics=[TxnOffsetCommitRequestTopic(name=TOPIC, partitions=[wanted])],
        )
        answer = self.node.ask(request, TxnOffsetCommitResponse, 5 if self.is_v2 else 4)
        assert answer.topics[0].partitions[0].error_code == 0

    def end(self, *, commit: bool) -> None:
        request = EndTxnRequest(
            transactional_id=TX, producer_id=self.producer_id, producer_epoch=self.epoch, committed=commit
        )
        assert self.node.ask(request, EndTxnResponse, 5 if self.is_v2 else 4).error_code == 0

    def state(self) -> str:
        """The state of the transactional id, "" while there is none."""
        request = DescribeTransactionsRequest(transactional_ids=[TX])
        (state,) = self.node.ask(request, DescribeTransactionsResponse).transaction_states
        return state.transaction_state


def find_transaction_coordinator(node: RunningNode) -> None:
    for _ in range(100):
        response = node.ask(FindCoordinatorRequest(key_type=1, coordinator_keys=[TX]), FindCoordinatorResponse)
        if response.coordinators[0].error_code == ErrorCode.NONE:
            return
        node.world.advance(100)
    raise AssertionError(f"there is no coordinator: {response}")


def seen(node: RunningNode, partition: int) -> list[bytes | None]:
    """What a consumer of committed records gets."""
    request = node.fetch_request(TOPIC, partition=partition)
    request.isolation_level = 1
    answer = node.ask(request, FetchResponse, FETCH_VERSION).responses[0].partitions[0]
    aborted = {entry.first_offset: entry.producer_id for entry in answer.aborted_transactions or ()}
    chunk = cast("Chunk", answer.records)
    data = bytes(chunk) if isinstance(chunk, bytes | bytearray | memoryview) else chunk.read(0, chunk.size)
    found: list[bytes | None] = []
    left_out: dict[int, None] = {}
    while data:
        size = next_batch_size(data)
        assert size is not None
        batch, data = data[:size], data[size:]
        header = parse_header(batch)
        if header.base_offset in aborted:
            left_out[aborted[header.base_offset]] = None
        if header.is_control:
            left_out.pop(header.producer_id, None)
        elif header.producer_id not in left_out:
            found += values_of(batch)
    return found


def life(files: FileSystem, *, is_v2: bool, commit: bool, seed: int) -> tuple[int, int]:
    """One transaction behind another; returns how many writes came before it was ended, and before its end was told."""
    chance = random.Random(seed)
    assert isinstance(files, CrashPoints)
    node = Machine(files, SETTINGS).start()
    node.create_topic(TOPIC, partitions=PARTITIONS)
    find_coordinator(node, GROUP)
    find_transaction_coordinator(node)
    client = Client(node, is_v2).init()
    client.write(0, b"before")
    client.take_offset(1)
    client.end(commit=True)
    node.world.advance(200)
    client = client.init()
    files.is_watching = True
    order = list(range(PARTITIONS))
    chance.shuffle(order)
    for partition in order:
        client.write(partition, b"now")
    client.take_offset(2)
    asked = len(files.copies)
    client.end(commit=commit)
    told = len(files.copies)
    node.world.advance(200)
    files.is_watching = False
    assert client.state() == ("CompleteCommit" if commit else "CompleteAbort")
    return asked, told


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
@pytest.mark.parametrize("is_v2", [False, True], ids=["v1", "v2"])
def test_a_crash_behind_any_write(is_v2: bool, commit: bool, seed: int) -> None:
    disk = CrashPoints()
    asked, told = life(disk, is_v2=is_v2, commit=commit, seed=seed)
    outcomes = []
    for index, left in enumerate(disk.copies):
        was_committed = after_crash(left, is_v2=is_v2)
        outcomes.append(was_committed)
        if index < asked:
            assert not was_committed, f"seed {seed}: nobody has ended it at write {index}"
        if index >= told:
            assert was_committed == commit, f"seed {seed}: it was told, and is not so at write {index}"
    assert len(outcomes) > told > asked > 5
    assert any(outcomes) == commit


def after_crash(left: MemoryFileSystem, *, is_v2: bool) -> bool:
    """Whether the transaction turns out to be committed on the next start; everything must say the same."""
    node = Machine(left, SETTINGS).start()
    client = Client(node, is_v2)
    find_coordinator(node, GROUP)
    find_transaction_coordinator(node)
    node.world.advance(500)
    assert not client.state().startswith("Prepare"), "what was decided is completed"
    client.init()
    node.world.advance(500)
    offset = committed(node, GROUP, TOPIC)
    assert offset in (1, 2)
    is_committed = offset == 2
    for partition in range(PARTITIONS):
        before = [b"before"] if partition == 0 else []
        assert seen(node, partition) == [*before, *([b"now"] if is_committed else [])]
    node.stop()
    return is_committed
