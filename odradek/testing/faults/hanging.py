"""A transaction that is begun and left open, by the requests of a client."""

from __future__ import annotations

import asyncio
import time

from odradek.net.client import Client
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
)
from odradek.wire.messages.end_txn import EndTxnRequest, EndTxnResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record

TIMEOUT_MS = 900_000
"""The longest that `transaction.max.timeout.ms` allows by default."""
RETRY_S = 0.01
RETRIES = 500
_TRANSACTION = 1
# The last versions in which a client adds partitions by itself, and names topics.
_VERSIONS = {"add": 3, "produce": 11, "end": 4, "init": 4, "find": 4}


class OpenTransaction:
    """Of one transactional id. Raises KafkaError and ClientError."""

    def __init__(self, client: Client, transactional_id: str) -> None:
        self._client = client
        self._id = transactional_id
        self._producer = -1, -1

    async def write(self, topic: str, partition: int) -> None:
        """Begin, and write a record."""
        coordinator = await self._coordinator()
        initialized = await self._client.send(
            InitProducerIdRequest(transactional_id=self._id, transaction_timeout_ms=TIMEOUT_MS),
            InitProducerIdResponse,
            node_id=coordinator,
        )
        _check(initialized.error_code)
        self._producer = producer_id, epoch = initialized.producer_id, initialized.producer_epoch
        added = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self._id,
            v3_and_below_producer_id=producer_id,
            v3_and_below_producer_epoch=epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(name=topic, partitions=[partition])],
        )
        connection = await self._client.node(coordinator)
        answered = await connection.send(added, AddPartitionsToTxnResponse, version=_VERSIONS["add"])
        _check(answered.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)
        metadata = await self._client.metadata([topic])
        leader = next(each.leader_id for each in metadata.topics[0].partitions if each.partition_index == partition)
        connection = await self._client.node(leader)
        record = Record(0, time.time_ns() // 1_000_000, None, b"of a transaction that hangs")
        batch = build_batch(
            [record], producer_id=producer_id, producer_epoch=epoch, base_sequence=0, is_transactional=True
        )
        data = TopicProduceData(name=topic, partition_data=[PartitionProduceData(index=partition, records=batch)])
        request = ProduceRequest(transactional_id=self._id, acks=-1, timeout_ms=30_000, topic_data=[data])
        produced = await connection.send(request, ProduceResponse, version=_VERSIONS["produce"])
        _check(produced.responses[0].partition_responses[0].error_code)

    async def abort(self) -> None:
        """End it; one that has timed out is ended already."""
        producer_id, epoch = self._producer
        request = EndTxnRequest(
            transactional_id=self._id, producer_id=producer_id, producer_epoch=epoch, committed=False
        )
        connection = await self._client.node(await self._coordinator())
        ended = await connection.send(request, EndTxnResponse, version=_VERSIONS["end"])
        if ended.error_code not in (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.PRODUCER_FENCED):
            _check(ended.error_code)

    async def _coordinator(self) -> int:
        """The node that coordinates, once there is one."""
        request = FindCoordinatorRequest(key_type=_TRANSACTION, coordinator_keys=[self._id])
        for _ in range(RETRIES):
            found = (await self._client.send(request, FindCoordinatorResponse)).coordinators[0]
            if found.error_code == ErrorCode.NONE:
                await self._client.metadata([])
                return found.node_id
            if not ErrorCode(found.error_code).retriable:
                break
            await asyncio.sleep(RETRY_S)
        raise KafkaError(ErrorCode(found.error_code))


def _check(code: int) -> None:
    if code:
        raise KafkaError(ErrorCode(code))
