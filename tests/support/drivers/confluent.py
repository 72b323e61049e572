"""confluent-kafka, which is librdkafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import confluent_kafka as ck

from odradek.wire.errors import ErrorCode
from tests.support.drivers.base import Ack, Consumer, ConsumerSettings, ProducerSettings, Record, TopicPartition

CALL_TIMEOUT_S = 20
ACK_TIMEOUT_S = 30


class Confluent:
    name = "librdkafka"

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def produce(self, topic: str, records: Sequence[Record], settings: ProducerSettings) -> list[Ack]:
        options: dict[str, Any] = {"partitioner": settings.partitioner} if settings.partitioner else {}
        producer = ck.Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "acks": settings.acks,
                "enable.idempotence": settings.idempotent,
                "compression.type": settings.compression,
                "message.max.bytes": settings.max_request_bytes,
                "linger.ms": settings.linger_ms,
                "message.timeout.ms": ACK_TIMEOUT_S * 1000,
                **options,
            }
        )
        acks: dict[int, Ack] = {}
        for index, record in enumerate(records):
            self._send(producer, topic, record, index, acks)
        producer.flush(ACK_TIMEOUT_S)
        return [acks.get(index, Ack(error="REQUEST_TIMED_OUT")) for index in range(len(records))]

    def _send(self, producer: Any, topic: str, record: Record, index: int, acks: dict[int, Ack]) -> None:
        def done(error: Any, message: Any) -> None:
            acks[index] = Ack(error=_error_name(error)) if error else _ack(message)

        options: dict[str, Any] = {}
        if record.partition is not None:
            options["partition"] = record.partition
        if record.timestamp_ms is not None:
            options["timestamp"] = record.timestamp_ms
        try:
            producer.produce(
                topic, value=record.value, key=record.key, headers=list(record.headers), on_delivery=done, **options
            )
        except ck.KafkaException as refused:
            acks[index] = Ack(error=_error_name(refused.args[0]))
        producer.poll(0)

    def subscribe(self, topics: Sequence[str], settings: ConsumerSettings) -> Consumer:
        consumer = self._consumer(settings)
        consumer.subscribe(list(topics))
        return _Consumer(consumer)

    def assign(self, partitions: Mapping[TopicPartition, int], settings: ConsumerSettings) -> Consumer:
        consumer = self._consumer(settings)
        consumer.assign([ck.TopicPartition(*place, offset) for place, offset in partitions.items()])
        return _Consumer(consumer)

    def offsets(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        consumer = self._consumer(ConsumerSettings())
        try:
            if timestamp_ms in (-1, -2):
                low, high = consumer.get_watermark_offsets(
                    ck.TopicPartition(topic, partition), timeout=CALL_TIMEOUT_S, cached=False
                )
                return int(high if timestamp_ms == -1 else low)
            places = [ck.TopicPartition(topic, partition, timestamp_ms)]
            found = consumer.offsets_for_times(places, timeout=CALL_TIMEOUT_S)
            return None if found[0].offset < 0 else int(found[0].offset)
        finally:
            consumer.close()

    def close(self) -> None:
        """Nothing is kept between calls."""

    def _consumer(self, settings: ConsumerSettings) -> Any:
        options: dict[str, Any] = {
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": min(500, settings.session_timeout_ms // 3),
            "partition.assignment.strategy": settings.assignor,
        }
        if settings.protocol == "consumer":
            options = {"group.protocol": "consumer", "group.remote.assignor": settings.assignor}
        if settings.instance_id is not None:
            options["group.instance.id"] = settings.instance_id
        return ck.Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": settings.group or "unused",
                "auto.offset.reset": settings.reset,
                "isolation.level": settings.isolation,
                "enable.auto.commit": False,
                "fetch.max.bytes": settings.fetch_max_bytes,
                "message.max.bytes": min(1_000_000, settings.fetch_max_bytes),
                "max.partition.fetch.bytes": settings.partition_max_bytes,
                "fetch.wait.max.ms": 100,
                **options,
            }
        )


class _Consumer:
    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def poll(self, timeout_s: float) -> list[Record]:
        first = self._consumer.poll(timeout_s)
        messages = [] if first is None else [first, *self._consumer.consume(1000, 0)]
        for message in messages:
            if message.error():
                raise ck.KafkaException(message.error())
        return [_record(message) for message in messages]

    def assignment(self) -> set[TopicPartition]:
        return {(place.topic, place.partition) for place in self._consumer.assignment()}

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        places = [ck.TopicPartition(*place, offset) for place, offset in offsets.items()]
        for place in self._consumer.commit(offsets=places, asynchronous=False):
            if place.error:
                raise ck.KafkaException(place.error)

    def committed(self, partition: TopicPartition) -> int | None:
        found = self._consumer.committed([ck.TopicPartition(*partition)], timeout=CALL_TIMEOUT_S)
        return None if found[0].offset < 0 else int(found[0].offset)

    def close(self) -> None:
        self._consumer.close()


def _error_name(error: Any) -> str:
    return ErrorCode(error.code()).name if error.code() >= -1 else str(error.name())


def _ack(message: Any) -> Ack:
    offset = message.offset()
    return Ack(message.partition(), -1 if offset is None else offset, message.timestamp()[1])


def _record(message: Any) -> Record:
    return Record(
        value=message.value(),
        key=message.key(),
        headers=tuple(message.headers() or ()),
        timestamp_ms=message.timestamp()[1],
        partition=message.partition(),
        topic=message.topic(),
        offset=message.offset(),
    )
