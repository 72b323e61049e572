"""librdkafka as a client, by confluent-kafka."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limits.clients import Stored, bare_broker
from benchmarks.load.librdkafka import BulkResult, arguments
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONSUMING, PRODUCING, ClientFailed, Described, Goal, Scale, Workload, client
from benchmarks.workloads.produce import LIMIT_TOPIC
from tests.support.process import BrokerProcess

RECORD_BYTES = 100
BATCH_RECORDS = 9_000
"""About what librdkafka puts into a batch when it is given all that it takes: batch.size is 1 MB."""


@dataclass(frozen=True, kw_only=True)
class LibrdkafkaProducer(Described):
    """Records of 100 bytes with librdkafka's defaults."""

    scale: Scale

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        return _run("produce", broker.bootstrap, topic, self.scale.produced_records, self.scale)

    def limit(self, directory: Path) -> ToolResult | None:
        """The same client against a process that writes to a file and answers."""
        return bare_broker(
            Stored(str(directory), LIMIT_TOPIC),
            lambda bare: _run("produce", bare.bootstrap, LIMIT_TOPIC, self.scale.produced_records, self.scale),
        )


@dataclass(frozen=True, kw_only=True)
class LibrdkafkaConsumer(Described):
    """Reads what a producer of its own kind has written, in the batches that that makes."""

    scale: Scale

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        _run("produce", broker.bootstrap, topic, self.scale.produced_records, self.scale)

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        return _run("consume", broker.bootstrap, topic, self.scale.produced_records, self.scale)

    def limit(self, directory: Path) -> ToolResult | None:
        """The same client against a process that sends from a file."""
        batches = -(-self.scale.produced_records // BATCH_RECORDS)
        return bare_broker(
            Stored(str(directory), LIMIT_TOPIC, batches, BATCH_RECORDS, RECORD_BYTES),
            lambda bare: _run("consume", bare.bootstrap, LIMIT_TOPIC, self.scale.produced_records, self.scale),
        )


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    return [
        LibrdkafkaProducer(
            name="librdkafka-producer",
            title="librdkafka, producing, its defaults (acks=all)",
            group=PRODUCING,
            goal=Goal(records_per_s_at_least=1.3),
            quick=True,
            scale=scale,
        ),
        LibrdkafkaConsumer(name="librdkafka-consumer", title="librdkafka, consuming", group=CONSUMING, scale=scale),
    ]


def _run(work: str, bootstrap: str, topic: str, records: int, scale: Scale) -> ToolResult:
    command = [sys.executable, *arguments(work, bootstrap, topic, records)]
    result = BulkResult(**json.loads(client(command, scale.client_timeout_s)))
    if result.records < records:
        raise ClientFailed(f"{work}d {result.records} records of {records}")
    return ToolResult(result.records, result.records_per_s)
