"""Apache Kafka's own performance tools as clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import tools
from benchmarks.cluster.nodes import PARTITIONS
from benchmarks.limits.clients import Stored, bare_broker
from benchmarks.load.produce import Load
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import (
    CLUSTER,
    CONSUMING,
    PRODUCING,
    SINGLE_RECORDS,
    THREE,
    ClientFailed,
    Described,
    Goal,
    Scale,
    Workload,
    client,
    expect,
)
from benchmarks.workloads.produce import LIMIT_TOPIC, run_load
from tests.support.process import BrokerProcess

JAVA_BATCH_RECORDS = 150
"""How many records of 100 bytes the Java producer puts into a batch by default (16 KiB)."""
SMALL_RECORD_BYTES = 100
ROUND_TRIPS = 5_000
TRANSACTION_MS = 100
FEW_ROUNDS = 2
"""A JVM starts for each run: what nobody has set a goal for gets less of the time."""
ONE_ACK = {"acks": "1", "enable.idempotence": "false"}
IDEMPOTENT = {"acks": "all", "enable.idempotence": "true"}


@dataclass(frozen=True, kw_only=True)
class JavaProducer(Described):
    """ProducerPerformance."""

    libs: Path
    scale: Scale
    properties: Mapping[str, str]
    record_bytes: int = 100
    transaction_ms: int | None = None
    """How long each transaction takes; None: without."""

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        return self._produce(broker.bootstrap, topic)

    def limit(self, directory: Path) -> ToolResult | None:
        """The same client against a process that writes to a file and answers; it has no transactions.

        A JVM's start is too long for a quick measurement.
        """
        if self.transaction_ms is not None or self.scale.is_quick:
            return None
        return bare_broker(Stored(str(directory), LIMIT_TOPIC), lambda bare: self._produce(bare.bootstrap, LIMIT_TOPIC))

    def _produce(self, bootstrap: str, topic: str) -> ToolResult:
        records = self.scale.produced_records
        if self.record_bytes > SMALL_RECORD_BYTES:
            records //= 4
        command = tools.producer_command(
            self.libs,
            bootstrap,
            topic,
            records=records,
            warmup_records=records // 5,
            properties=self.properties,
            record_bytes=self.record_bytes,
            transaction_ms=self.transaction_ms,
        )
        result = tools.parse_producer(client(command, self.scale.client_timeout_s))
        expect(records, result.records, "sent")
        return result


@dataclass(frozen=True, kw_only=True)
class JavaRoundTrips(Described):
    """EndToEndLatency: one record at a time, there and back."""

    libs: Path
    scale: Scale

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        records = ROUND_TRIPS // 10 if self.scale.is_quick else ROUND_TRIPS
        command = tools.round_trip_command(self.libs, broker.bootstrap, topic, records=records, acks="1")
        return tools.parse_round_trips(client(command, self.scale.client_timeout_s), records)


@dataclass(frozen=True, kw_only=True)
class JavaConsumer(Described):
    """ConsumerPerformance over records that are already there."""

    libs: Path
    scale: Scale

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        batches = -(-self.scale.consumed_records // JAVA_BATCH_RECORDS)
        load = Load(
            broker.host, broker.port, topic, records_per_batch=JAVA_BATCH_RECORDS, max_batches=batches, seconds=60.0
        )
        expect(batches, run_load(load, self.scale.client_timeout_s).requests, "loaded batches")

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        return self._consume(broker.bootstrap, topic)

    def limit(self, directory: Path) -> ToolResult | None:
        """The same client against a process that sends from a file; likewise."""
        if self.scale.is_quick:
            return None
        batches = -(-self.scale.consumed_records // JAVA_BATCH_RECORDS)
        stored = Stored(str(directory), LIMIT_TOPIC, batches, JAVA_BATCH_RECORDS, SMALL_RECORD_BYTES)
        return bare_broker(stored, lambda bare: self._consume(bare.bootstrap, LIMIT_TOPIC))

    def _consume(self, bootstrap: str, topic: str) -> ToolResult:
        records = self.scale.consumed_records
        command = tools.consumer_command(self.libs, bootstrap, topic, records=records, timeout_ms=15_000)
        result = tools.parse_consumer(client(command, self.scale.client_timeout_s))
        if result.records < records:
            raise ClientFailed(f"consumed {result.records} records of {records}")
        return result


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:
    """In the order in which a round runs them; none where ``libs``, the tools' jars, are missing."""
    if libs is None:
        return []
    return [
        *_producers(libs, scale),
        JavaConsumer(
            name="consumer",
            title="ConsumerPerformance",
            group=CONSUMING,
            goal=Goal(records_per_s_at_least=1.2, cpu_at_most=0.3),
            quick=True,
            libs=libs,
            scale=scale,
        ),
        JavaRoundTrips(
            name="round-trips",
            title="EndToEndLatency, round trips one after the other, acks=1",
            group=SINGLE_RECORDS,
            rounds_at_most=FEW_ROUNDS,
            libs=libs,
            scale=scale,
        ),
        JavaProducer(
            name="cluster-producer-acks-all",
            title="ProducerPerformance on three nodes, acks=all, idempotent",
            group=CLUSTER,
            partitions=PARTITIONS,
            stand=THREE,
            rounds_at_most=FEW_ROUNDS,
            libs=libs,
            scale=scale,
            properties=IDEMPOTENT,
        ),
        JavaProducer(
            name="cluster-producer-acks1",
            title="ProducerPerformance on three nodes, acks=1",
            group=CLUSTER,
            partitions=PARTITIONS,
            stand=THREE,
            rounds_at_most=FEW_ROUNDS,
            libs=libs,
            scale=scale,
            properties=ONE_ACK,
        ),
    ]


def _producers(libs: Path, scale: Scale) -> list[Workload]:
    small, large = Goal(records_per_s_at_least=1.3), Goal(records_per_s_at_least=1.1)

    def producer(
        name: str, title: str, properties: Mapping[str, str], goal: Goal | None = None, *, quick: bool = False
    ) -> JavaProducer:
        return JavaProducer(
            name=name,
            title=f"ProducerPerformance, {title}",
            group=PRODUCING,
            goal=goal,
            quick=quick,
            rounds_at_most=None if goal else FEW_ROUNDS,
            libs=libs,
            scale=scale,
            properties=properties,
        )

    lz4, zstd = ({**ONE_ACK, "compression.type": codec} for codec in ("lz4", "zstd"))
    return [
        producer("producer-acks0", "acks=0", {**ONE_ACK, "acks": "0"}),
        producer("producer-acks1", "acks=1", ONE_ACK, small),
        producer("producer-acks-all", "acks=all, idempotent", IDEMPOTENT, small, quick=True),
        producer("producer-lz4", "acks=1, lz4", lz4),
        producer("producer-zstd", "acks=1, zstd", zstd),
        replace(
            producer("producer-transactions", f"transactions of {TRANSACTION_MS} ms", IDEMPOTENT),
            transaction_ms=TRANSACTION_MS,
        ),
        *(
            replace(each, record_bytes=1024)
            for each in (
                producer("producer-1k-acks1", "1 KiB, acks=1", ONE_ACK, large),
                producer("producer-1k-acks-all", "1 KiB, acks=all, idempotent", IDEMPOTENT, large),
                replace(
                    producer("producer-1k-transactions", f"1 KiB, transactions of {TRANSACTION_MS} ms", IDEMPOTENT),
                    transaction_ms=TRANSACTION_MS,
                ),
            )
        ),
    ]
