"""Apache Kafka's own performance tools as clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tools
from benchmarks.load.produce import Load
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import (
    CONSUMING,
    PRODUCING,
    ClientFailed,
    Described,
    Goal,
    Scale,
    Workload,
    client,
    expect,
)
from benchmarks.workloads.produce import run_load
from tests.support.process import BrokerProcess

JAVA_BATCH_RECORDS = 150
"""How many records of 100 bytes the Java producer puts into a batch by default (16 KiB)."""


@dataclass(frozen=True, kw_only=True)
class JavaProducer(Described):
    """ProducerPerformance."""

    libs: Path
    scale: Scale
    properties: Mapping[str, str]

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        records = self.scale.produced_records
        command = tools.producer_command(
            self.libs,
            broker.bootstrap,
            topic,
            records=records,
            warmup_records=records // 5,
            properties=self.properties,
        )
        result = tools.parse_producer(client(command, self.scale.client_timeout_s))
        expect(records, result.records, "sent")
        return result


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
        records = self.scale.consumed_records
        command = tools.consumer_command(self.libs, broker.bootstrap, topic, records=records, timeout_ms=15_000)
        result = tools.parse_consumer(client(command, self.scale.client_timeout_s))
        if result.records < records:
            raise ClientFailed(f"consumed {result.records} records of {records}")
        return result


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:
    """In the order in which a round runs them; none where ``libs``, the tools' jars, are missing."""
    if libs is None:
        return []
    return [
        JavaProducer(
            name="producer-acks1",
            title="ProducerPerformance, acks=1",
            group=PRODUCING,
            goal=Goal(records_per_s_at_least=1.3),
            libs=libs,
            scale=scale,
            properties={"acks": "1", "enable.idempotence": "false"},
        ),
        JavaProducer(
            name="producer-acks-all",
            title="ProducerPerformance, acks=all, idempotent",
            group=PRODUCING,
            goal=Goal(records_per_s_at_least=1.3),
            quick=True,
            libs=libs,
            scale=scale,
            properties={"acks": "all", "enable.idempotence": "true"},
        ),
        JavaConsumer(
            name="consumer",
            title="ConsumerPerformance",
            group=CONSUMING,
            goal=Goal(records_per_s_at_least=1.2, cpu_at_most=0.3),
            quick=True,
            libs=libs,
            scale=scale,
        ),
    ]
