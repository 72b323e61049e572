"""aiokafka, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import aiokafka  # type: ignore[import-untyped]  # the library has no types
import aiokafka.errors  # type: ignore[import-untyped]  # the library has no types
from aiokafka.coordinator.assignors.range import RangePartitionAssignor  # type: ignore[import-untyped]  # the library has no types
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor  # type: ignore[import-untyped]  # the library has no types
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor  # type: ignore[import-untyped]  # the library has no types

from tests.support.drivers.base import Ack, Consumer, ConsumerSettings, ProducerSettings, Record, TopicPartition
from tests.support.drivers.kafka_family import ack_of, error_name, record_of

ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
}
CALL_TIMEOUT_S = 40
Answer = TypeVar("Answer")


class Loop:
    """Runs coroutines for callers that have no event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class AioKafka:
    name = "aiokafka"

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._loop = Loop()

    def produce(self, topic: str, records: Sequence[Record], settings: ProducerSettings) -> list[Ack]:
        return self._loop.run(self._produce(topic, records, settings))

    def subscribe(self, topics: Sequence[str], settings: ConsumerSettings) -> Consumer:
        async def open_consumer() -> Any:
            consumer = self._consumer(settings)
            consumer.subscribe(list(topics))
            await consumer.start()
            return consumer

        return _Consumer(self._loop, self._loop.run(open_consumer()))

    def assign(self, partitions: Mapping[TopicPartition, int], settings: ConsumerSettings) -> Consumer:
        async def open_consumer() -> Any:
            consumer = self._consumer(settings)
            await consumer.start()
            places = [aiokafka.TopicPartition(*place) for place in partitions]
            consumer.assign(places)
            for place, offset in zip(places, partitions.values(), strict=True):
                if offset == -1:
                    await consumer.seek_to_end(place)
                elif offset == -2:
                    await consumer.seek_to_beginning(place)
                else:
                    consumer.seek(place, offset)
            return consumer

        return _Consumer(self._loop, self._loop.run(open_consumer()))

    def offsets(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        return self._loop.run(self._offsets(aiokafka.TopicPartition(topic, partition), timestamp_ms))

    def close(self) -> None:
        self._loop.close()

    async def _produce(self, topic: str, records: Sequence[Record], settings: ProducerSettings) -> list[Ack]:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all" if settings.acks == -1 else settings.acks,
            enable_idempotence=settings.idempotent,
            compression_type=None if settings.compression == "none" else settings.compression,
            max_request_size=settings.max_request_bytes,
            linger_ms=settings.linger_ms,
        )
        await producer.start()
        try:
            futures = [
                await producer.send(
                    topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=record.partition,
                    timestamp_ms=record.timestamp_ms,
                )
                for record in records
            ]
            await producer.flush()
            return [await _ack(future) for future in futures]
        except aiokafka.errors.KafkaError as error:
            return [Ack(error=error_name(error))] * len(records)
        finally:
            await producer.stop()

    async def _offsets(self, place: Any, timestamp_ms: int) -> int | None:
        consumer = self._consumer(ConsumerSettings())
        await consumer.start()
        try:
            if timestamp_ms == -1:
                return int((await consumer.end_offsets([place]))[place])
            if timestamp_ms == -2:
                return int((await consumer.beginning_offsets([place]))[place])
            found = (await consumer.offsets_for_times({place: timestamp_ms}))[place]
            return None if found is None else int(found.offset)
        finally:
            await consumer.stop()

    def _consumer(self, settings: ConsumerSettings) -> Any:
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=settings.group,
            group_instance_id=settings.instance_id,
            auto_offset_reset=settings.reset,
            isolation_level=settings.isolation,
            enable_auto_commit=False,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(500, settings.session_timeout_ms // 3),
            rebalance_timeout_ms=10_000,
            partition_assignment_strategy=(ASSIGNORS[settings.assignor],),
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.partition_max_bytes,
        )


class _Consumer:
    def __init__(self, loop: Loop, consumer: Any) -> None:
        self._loop = loop
        self._consumer = consumer

    def poll(self, timeout_s: float) -> list[Record]:
        batches = self._loop.run(self._consumer.getmany(timeout_ms=int(timeout_s * 1000)))
        return [record_of(message) for batch in batches.values() for message in batch]

    def assignment(self) -> set[TopicPartition]:
        return {(place.topic, place.partition) for place in self._consumer.assignment()}

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        places = {aiokafka.TopicPartition(*place): offset for place, offset in offsets.items()}
        self._loop.run(self._consumer.commit(places))

    def committed(self, partition: TopicPartition) -> int | None:
        found = self._loop.run(self._consumer.committed(aiokafka.TopicPartition(*partition)))
        return None if found is None else int(found)

    def close(self) -> None:
        self._loop.run(self._consumer.stop())


async def _ack(future: Any) -> Ack:
    try:
        return ack_of(await future)
    except aiokafka.errors.KafkaError as error:
        return Ack(error=error_name(error))
