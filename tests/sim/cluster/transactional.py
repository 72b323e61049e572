"""A transactional producer: some batches to several partitions, then commit or abort (KIP-98, KIP-890)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeVar

from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.end_txn import EndTxnRequest, EndTxnResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.records.batch import BatchBuilder
from odradek.wire.schema import Message
from tests.sim.cluster.client import RETRY_MS, Client
from tests.sim.cluster.recorder import Operation, Outcome, Recorder, Send
from tests.sim.cluster.txn_offsets import TransactionalOffsets

Resp = TypeVar("Resp", bound=Message)

TRANSACTION = 1
TIMEOUT_MS = 10_000
"""After which the coordinator aborts."""
_RETRIED = (
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.NETWORK_EXCEPTION,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ErrorCode.LEADER_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.KAFKA_STORAGE_ERROR,
)


class _Lost(Exception):
    """The transaction cannot go on under this producer epoch."""


class TransactionalProducer:
    """One transaction behind the other, under one transactional id."""

    def __init__(
        self,
        client: Client,
        partitions: int,
        pause_ms: float,
        recorder: Recorder,
        values: Iterator[int],
        offsets: TransactionalOffsets,
    ) -> None:
        self.client = client
        self.last_ok_ms = -1.0
        """When the last transaction began that has been committed."""
        self.is_stopping = False
        self.has_stopped = False
        self._partitions = partitions
        self._offsets = offsets
        self._pause_ms = pause_ms
        self._recorder = recorder
        self._values = values
        self._name = client.process.name
        self._lives = itertools.count(1)
        self._coordinator = -1
        self._producer_id = -1
        self._epoch = -1
        self._sequences: dict[int, int] = {}

    async def run(self) -> None:
        """Until `is_stopping`."""
        client = self.client
        while not self.is_stopping:
            await client.refresh()
            await self._initialize()
            process = f"{self._name}.{next(self._lives)}"
            while await self._transaction(process):
                if self.is_stopping:
                    break
                await client.sleep(self._pause_ms * 2 * client.random.random())
        self.has_stopped = True

    async def _transaction(self, process: str) -> bool:
        """One operation; returns whether the producer epoch is still good."""
        client, random = self.client, self.client.random
        began_ms = client.process.kernel.now_ms
        sends = [
            Send(f"{client.topic}-{partition}", next(self._values), None)
            for partition in random.sample(range(self._partitions), random.randint(1, self._partitions))
            for _ in range(random.randint(1, 2))
        ]
        operation = self._recorder.invoke(process, "txn", sends)
        commits = random.random() < 0.8
        try:
            for index, send in enumerate(sends):
                sends[index] = await self._send(send)
            if random.random() < 0.5 and not await self._offsets.commit(self._name, self._producer_id, self._epoch):
                raise _Lost
            if commits:
                self._recorder.commit(operation)
            await self._end(commits=commits)
        except _Lost:
            # Nobody else commits it: without that having been asked for, it is aborted.
            is_aborted = operation.committing is None
            self._recorder.end(operation, Outcome.FAIL if is_aborted else Outcome.INFO, sends)
            self._offsets.ended(is_committed=False if is_aborted else None)
            return False
        self._ended(operation, sends, began_ms, commits=commits)
        self._offsets.ended(is_committed=commits)
        if random.random() < 0.3:
            await self._offsets.check()
        return True

    def _ended(self, operation: Operation, sends: list[Send], began_ms: float, *, commits: bool) -> None:
        self._recorder.end(operation, Outcome.OK if commits else Outcome.FAIL, sends)
        if commits:
            self.last_ok_ms = began_ms

    async def _initialize(self) -> None:
        """Get a producer epoch, which ends what the one before has left open."""
        request = InitProducerIdRequest(transactional_id=self._name, transaction_timeout_ms=TIMEOUT_MS)
        while True:
            response = await self._coordinated(request, InitProducerIdResponse)
            if response.error_code == ErrorCode.NONE:
                break
            await self.client.sleep(RETRY_MS)
        self._producer_id, self._epoch = response.producer_id, response.producer_epoch
        self._sequences = {}

    async def _coordinated(self, request: Message, response: type[Resp]) -> Resp:
        """A coordinator's answer, whatever it is; asks until there is one."""
        client = self.client
        while True:
            if self._coordinator < 0:
                await self._find_coordinator()
            try:
                answer = await client.ask(self._coordinator, request, response)
            except KafkaError:
                self._coordinator = -1
                await client.sleep(RETRY_MS)
                continue
            code = ErrorCode(answer.error_code)  # type: ignore[attr-defined] # those that are asked for here have one
            if code not in _RETRIED:
                return answer
            if code is not ErrorCode.CONCURRENT_TRANSACTIONS:
                self._coordinator = -1
            await client.sleep(RETRY_MS)

    async def _find_coordinator(self) -> None:
        client = self.client
        request = FindCoordinatorRequest(key_type=TRANSACTION, coordinator_keys=[self._name])
        while True:
            try:
                response = await client.ask(client.any_node(), request, FindCoordinatorResponse)
                (found,) = response.coordinators
                if found.error_code == ErrorCode.NONE:
                    self._coordinator = found.node_id
                    return
            except KafkaError:
                pass
            await client.sleep(RETRY_MS)

    async def _end(self, *, commits: bool) -> None:
        """Commit or abort; raises _Lost if another epoch has come between."""
        request = EndTxnRequest(
            transactional_id=self._name,
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            committed=commits,
        )
        response = await self._coordinated(request, EndTxnResponse)
        if response.error_code:
            raise _Lost
        self._recorder.requests += 1
        if (response.producer_id, response.producer_epoch) != (self._producer_id, self._epoch):
            self._sequences = {}
        self._producer_id, self._epoch = response.producer_id, response.producer_epoch

    async def _send(self, send: Send) -> Send:
        """Write one record; raises _Lost."""
        client = self.client
        partition = int(send.partition.rpartition("-")[2])
        sequence = self._sequences.get(partition, 0)
        builder = BatchBuilder(
            producer_id=self._producer_id, producer_epoch=self._epoch, base_sequence=sequence, is_transactional=True
        )
        builder.append(client.process.now_ms(), None, str(send.value).encode())
        data = PartitionProduceData(index=partition, records=builder.build())
        topic = TopicProduceData(name=client.topic, topic_id=client.topic_id, partition_data=[data])
        request = ProduceRequest(
            transactional_id=self._name, acks=-1, timeout_ms=int(client.timeout_ms), topic_data=[topic]
        )
        while True:
            code, offset = await self._attempt(partition, request)
            if code is ErrorCode.NONE:
                self._sequences[partition] = sequence + 1
                self._recorder.requests += 1
                return send if offset < 0 else Send(send.partition, send.value, offset)
            if code not in _RETRIED:
                raise _Lost
            await client.sleep(RETRY_MS)
            await client.refresh()

    async def _attempt(self, partition: int, request: ProduceRequest) -> tuple[ErrorCode, int]:
        leader = self.client.leaders.get(partition)
        if leader is None:
            return ErrorCode.LEADER_NOT_AVAILABLE, -1
        try:
            response = await self.client.ask(leader.node_id, request, ProduceResponse)
        except KafkaError as error:
            return error.code, -1
        (answer,) = response.responses[0].partition_responses
        return ErrorCode(answer.error_code), answer.base_offset
