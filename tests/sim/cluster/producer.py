"""An idempotent producer with acks=all, which goes on trying and writes down what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from odradek.wire.records.batch import BatchBuilder
from tests.sim.cluster.channel import encode_request, latest
from tests.sim.cluster.client import RETRY_MS, Client
from tests.sim.cluster.named import NOTHING_LOST
from tests.sim.cluster.recorder import Outcome, Recorder, Send

_VERSION = latest(ProduceRequest)
_DONE = (ErrorCode.NONE, ErrorCode.DUPLICATE_SEQUENCE_NUMBER)
_FATAL = (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.UNKNOWN_PRODUCER_ID, ErrorCode.INVALID_PRODUCER_EPOCH)


class ProducerOptions(NamedTuple):
    """How it behaves; times in milliseconds."""

    pause_ms: float
    delivery_timeout_ms: float
    max_in_flight: int
    partitions: int


class _Batch:
    """Some records on their way."""

    __slots__ = ("base_sequence", "data", "offset", "values")

    def __init__(self, base_sequence: int, values: list[int], data: bytes) -> None:
        self.base_sequence = base_sequence
        self.values = values
        self.data = data
        self.offset: int | None = None


class Producer:
    """Sends bursts of batches to one partition at a time; `values` are unique in the simulation."""

    def __init__(
        self,
        client: Client,
        options: ProducerOptions,
        recorder: Recorder,
        values: Iterator[int],
        on_violation: Callable[[str, str], None],
    ) -> None:
        self.client = client
        self.last_ok_ms = -1.0
        """When the last operation began that has succeeded."""
        self.is_stopping = False
        self.has_stopped = False
        self._options = options
        self._recorder = recorder
        self._values = values
        self._on_violation = on_violation
        self._name = client.process.name
        self._lives = itertools.count(1)
        self._producer_id = -1
        self._producer_epoch = -1
        self._sequences: dict[int, int] = {}

    async def run(self) -> None:
        """Until `is_stopping`."""
        while not self.is_stopping:
            await self._initialize()
            process = f"{self._name}.{next(self._lives)}"
            while await self._send(process):
                if self.is_stopping:
                    break
                await self.client.sleep(self._options.pause_ms * 2 * self.client.random.random())
        self.has_stopped = True

    async def _initialize(self) -> None:
        """Get a producer id; what was in flight under the one before may still arrive."""
        client = self.client
        await client.refresh()
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
        while True:
            try:
                response = await client.ask(client.any_node(), request, InitProducerIdResponse)
                if response.error_code == ErrorCode.NONE:
                    break
            except KafkaError:
                pass
            await client.sleep(RETRY_MS)
        self._producer_id, self._producer_epoch = response.producer_id, response.producer_epoch
        self._sequences = {}

    async def _send(self, process: str) -> bool:
        """One operation; returns whether the producer id is still good."""
        client, random = self.client, self.client.random
        partition = random.randrange(self._options.partitions)
        batches = [self._batch(partition) for _ in range(random.randint(1, self._options.max_in_flight))]
        name = f"{client.topic}-{partition}"
        operation = self._recorder.invoke(process, "send", _sends(name, batches))
        began_ms = client.process.kernel.now_ms
        deadline_ms = began_ms + self._options.delivery_timeout_ms
        left: Sequence[_Batch] = batches
        is_ok, failures = True, 0
        while left and is_ok:
            left, code = await self._attempt(partition, left)
            if not failures and code in _FATAL:
                self._on_violation(
                    NOTHING_LOST, f"{process}: {name} answers {code.name}, though all before was acknowledged"
                )
            # Later it only says that the answers were lost, and that a start has read a snapshot of the producers
            # since, which knows the last batch of each: in Kafka, too.
            is_ok = code not in _FATAL
            if left and is_ok:
                if client.process.kernel.now_ms >= deadline_ms:
                    is_ok = False
                else:
                    await client.back_off(failures)
                    await client.refresh()
            failures += 1
        self._recorder.end(operation, Outcome.OK if not left else Outcome.INFO, _sends(name, batches))
        if not left:
            self.last_ok_ms = began_ms
        return not left

    async def _attempt(self, partition: int, batches: Sequence[_Batch]) -> tuple[Sequence[_Batch], ErrorCode]:
        """Send them all, one behind the other; returns what is left to be sent again, and the first one's error."""
        client = self.client
        leader = client.leaders.get(partition)
        if leader is None:
            return batches, ErrorCode.LEADER_NOT_AVAILABLE
        answers: list[tuple[_Batch, Promise[ProduceResponse]]] = []
        for batch in batches:
            data = PartitionProduceData(index=partition, records=batch.data)
            topic = TopicProduceData(name=client.topic, topic_id=client.topic_id, partition_data=[data])
            request = ProduceRequest(acks=-1, timeout_ms=int(client.timeout_ms), topic_data=[topic])
            frame = encode_request(request, _VERSION, self._name)
            answers.append((batch, client.send(leader.node_id, frame, ProduceResponse, _VERSION)))
        left: list[_Batch] = []
        first_code = ErrorCode.NONE
        for batch, answer in answers:
            try:
                response = _only(await answer)
                code = ErrorCode(response.error_code)
            except KafkaError as error:
                code = error.code
            else:
                if code is ErrorCode.NONE:
                    batch.offset = response.base_offset
            if code in _DONE:
                self._recorder.requests += 1
            else:
                first_code = first_code or code
                left.append(batch)
        return left, first_code

    def _batch(self, partition: int) -> _Batch:
        random = self.client.random
        sequence = self._sequences.get(partition, 0)
        values = [next(self._values) for _ in range(random.randint(1, 3))]
        builder = BatchBuilder(
            producer_id=self._producer_id, producer_epoch=self._producer_epoch, base_sequence=sequence
        )
        now_ms = self.client.process.now_ms()
        for value in values:
            builder.append(now_ms, None, b"%d" % value)
        self._sequences[partition] = sequence + len(values)
        return _Batch(sequence, values, builder.build())


def _sends(name: str, batches: Sequence[_Batch]) -> list[Send]:
    return [
        Send(name, value, None if batch.offset is None else batch.offset + index)
        for batch in batches
        for index, value in enumerate(batch.values)
    ]


def _only(response: ProduceResponse) -> PartitionProduceResponse:
    return response.responses[0].partition_responses[0]
