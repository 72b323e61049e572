"""A small producer: batches by partition, sent to the leaders, again where the error passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from odradek.cli.session import check
from odradek.net.client import RETRIES, RETRY_MS, Client
from odradek.wire import ErrorCode, KafkaError
from odradek.wire.messages.metadata import MetadataResponseTopic
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData
from odradek.wire.partitioning import partition_of
from odradek.wire.records.batch import BatchBuilder
from odradek.wire.records.compression import Codec

BATCH_BYTES = 256 * 1024
"""A batch is sent when its records take this much, uncompressed."""
REQUEST_TIMEOUT_MS = 30_000

Headers = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class ProducerOptions:
    """`acks`: 0, 1 or -1. `partition`: where all records go; None: by key, or in turn."""

    acks: int = -1
    codec: Codec = Codec.NONE
    headers: Headers = field(default_factory=tuple)
    partition: int | None = None


class Producer:
    """Records of one topic. `sent` counts those that the broker took (with acks=0: that were sent)."""

    def __init__(self, client: Client, topic: str, options: ProducerOptions) -> None:
        self.sent = 0
        self._client = client
        self._name = topic
        self._options = options
        self._topic: MetadataResponseTopic | None = None
        self._leaders: dict[int, int] = {}
        self._batches: dict[int, BatchBuilder] = {}
        self._next_keyless = 0

    async def add(self, key: bytes | None, value: bytes | None) -> None:
        """Queue a record; sends what is queued once a batch is full. Raises KafkaError, ClientError."""
        if not self._leaders:
            await self._locate()
        partition = self._choose(key)
        builder = self._batches.get(partition)
        if builder is None:
            builder = self._batches[partition] = BatchBuilder(codec=self._options.codec)
        builder.append(time.time_ns() // 1_000_000, key, value, self._options.headers)
        if builder.size_bytes >= BATCH_BYTES:
            self._next_keyless += 1
            await self.flush()

    async def flush(self) -> None:
        """Send what is queued and wait for the broker's answers."""
        batches, self._batches = self._batches, {}
        await asyncio.gather(*(self._send(partition, builder) for partition, builder in batches.items()))

    def _choose(self, key: bytes | None) -> int:
        if self._options.partition is not None:
            if self._options.partition not in self._leaders:
                raise KafkaError(
                    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{self._name} has no partition {self._options.partition}"
                )
            return self._options.partition
        if key is not None:
            return partition_of(key, len(self._leaders))
        return self._next_keyless % len(self._leaders)

    async def _locate(self) -> None:
        """Find the topic's leaders, creating the topic where the broker does that."""
        code = ErrorCode.NONE
        for _ in range(RETRIES):
            found = (await self._client.metadata([self._name], auto_create=True)).topics[0]
            code = ErrorCode(found.error_code)
            leaderless = any(partition.leader_id < 0 for partition in found.partitions)
            if code is ErrorCode.NONE and found.partitions and not leaderless:
                self._topic = found
                self._leaders = {partition.partition_index: partition.leader_id for partition in found.partitions}
                return
            if code is not ErrorCode.NONE and not code.retriable:
                break
            await asyncio.sleep(RETRY_MS / 1000)
        raise KafkaError(code or ErrorCode.LEADER_NOT_AVAILABLE, f"cannot write to {self._name}")

    async def _send(self, partition: int, builder: BatchBuilder) -> None:
        batch = builder.build()
        code = ErrorCode.NONE
        for _ in range(RETRIES):
            assert self._topic is not None
            data = TopicProduceData(
                name=self._name,
                topic_id=self._topic.topic_id,
                partition_data=[PartitionProduceData(index=partition, records=batch)],
            )
            request = ProduceRequest(acks=self._options.acks, timeout_ms=REQUEST_TIMEOUT_MS, topic_data=[data])
            connection = await self._client.node(self._leaders[partition])
            if self._options.acks == 0:
                await connection.send_only(request)
                self.sent += builder.record_count
                return
            response = await connection.send(request, ProduceResponse, timeout_ms=2 * REQUEST_TIMEOUT_MS)
            result = response.responses[0].partition_responses[0]
            code = ErrorCode(result.error_code)
            if not code.retriable:
                check(code, result.error_message)
                self.sent += builder.record_count
                return
            await asyncio.sleep(RETRY_MS / 1000)
            await self._locate()
        raise KafkaError(code)
