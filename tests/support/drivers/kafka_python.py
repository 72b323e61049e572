"""kafka-python."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # type: ignore[import-untyped]  # the library has no types
    from kafka.coordinator.assignors.range import RangePartitionAssignor  # type: ignore[import-untyped]  # the library has no types
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor  # type: ignore[import-untyped]  # the library has no types
    from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor  # type: ignore[import-untyped]  # the library has no types

import pytest

from tests.support.drivers.base import Ack, Consumer, ConsumerSettings, ProducerSettings, Record, TopicPartition
from tests.support.drivers.kafka_family import ack_of, error_name, record_of

ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
}
ACK_TIMEOUT_S = 30


def _known(owner: Any, **options: tuple[object, object]) -> dict[str, object]:
    """Options, each with what it is without it: older versions lack some. Skips a case that cannot do without."""
    known: dict[str, object] = {}
    for name, (value, otherwise) in options.items():
        if name in owner.DEFAULT_CONFIG:
            known[name] = value
        elif value != otherwise:
            pytest.skip(f"not in kafka-python {kafka.__version__}: {name}")
    return known


def _offset(offset: int) -> Any:
    """With the leader epoch that later versions have."""
    return kafka.OffsetAndMetadata(*(offset, "", -1)[: len(kafka.OffsetAndMetadata._fields)])


class KafkaPython:
    name = "kafka-python"

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def produce(self, topic: str, records: Sequence[Record], settings: ProducerSettings) -> list[Ack]:
        options: dict[str, Any] = {}
        if settings.partitioner:
            options["partitioner"] = None
        producer = kafka.KafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all" if settings.acks == -1 else settings.acks,
            compression_type=None if settings.compression == "none" else settings.compression,
            max_request_size=settings.max_request_bytes,
            linger_ms=settings.linger_ms,
            **options,
            **_known(kafka.KafkaProducer, enable_idempotence=(settings.idempotent, False)),
        )
        try:
            futures = [
                producer.send(
                    topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=record.partition,
                    timestamp_ms=record.timestamp_ms,
                )
                for record in records
            ]
            producer.flush(timeout=ACK_TIMEOUT_S)
            return [_ack(future) for future in futures]
        finally:
            producer.close(timeout=5)

    def subscribe(self, topics: Sequence[str], settings: ConsumerSettings) -> Consumer:
        consumer = self._consumer(settings)
        consumer.subscribe(list(topics))
        # A leader that joins before it knows the topics joins again once it does. kafka-python 3.0.12 forgets that
        # second join if a poll ends during it, and sends no heartbeat any more (with Apache Kafka too).
        for topic in topics:
            consumer.partitions_for_topic(topic)
        return _Consumer(consumer)

    def assign(self, partitions: Mapping[TopicPartition, int], settings: ConsumerSettings) -> Consumer:
        consumer = self._consumer(settings)
        places = [kafka.TopicPartition(*place) for place in partitions]
        consumer.assign(places)
        for place, offset in zip(places, partitions.values(), strict=True):
            if offset == -1:
                consumer.seek_to_end(place)
            elif offset == -2:
                consumer.seek_to_beginning(place)
            else:
                consumer.seek(place, offset)
        return _Consumer(consumer)

    def offsets(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        place = kafka.TopicPartition(topic, partition)
        consumer = self._consumer(ConsumerSettings())
        try:
            if timestamp_ms == -1:
                return int(consumer.end_offsets([place])[place])
            if timestamp_ms == -2:
                return int(consumer.beginning_offsets([place])[place])
            found = consumer.offsets_for_times({place: timestamp_ms})[place]
            return None if found is None else int(found.offset)
        finally:
            consumer.close()

    def close(self) -> None:
        """Nothing is kept between calls."""

    def _consumer(self, settings: ConsumerSettings) -> Any:
        return kafka.KafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=settings.group,
            auto_offset_reset=settings.reset,
            enable_auto_commit=False,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(500, settings.session_timeout_ms // 3),
            partition_assignment_strategy=[ASSIGNORS[settings.assignor]],
            fetch_max_bytes=settings.fetch_max_bytes,
            max_partition_fetch_bytes=settings.partition_max_bytes,
            **_known(
                kafka.KafkaConsumer,
                group_instance_id=(settings.instance_id, None),
                isolation_level=(settings.isolation, "read_uncommitted"),
            ),
        )


class _Consumer:
    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    def poll(self, timeout_s: float) -> list[Record]:
        batches = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        return [record_of(message) for batch in batches.values() for message in batch]

    def assignment(self) -> set[TopicPartition]:
        return {(place.topic, place.partition) for place in self._consumer.assignment()}

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._consumer.commit({kafka.TopicPartition(*place): _offset(offset) for place, offset in offsets.items()})

    def committed(self, partition: TopicPartition) -> int | None:
        found = self._consumer.committed(kafka.TopicPartition(*partition))
        return None if found is None else int(found)

    def close(self) -> None:
        self._consumer.close()


def _ack(future: Any) -> Ack:
    try:
        return ack_of(future.get(timeout=ACK_TIMEOUT_S))
    except kafka.errors.KafkaError as error:
        return Ack(error=error_name(error))
