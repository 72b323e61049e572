"""End-to-end latency at a steady rate: from when a record is due to when a consumer has it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limits.tail import bare_tail
from benchmarks.load.command_line import arguments
from benchmarks.load.paced import Paced, PacedResult
from benchmarks.load.tail import Tail
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import LATENCY, Described, Goal, Scale, Workload, client
from benchmarks.workloads.sessions import Tailing
from tests.support.process import BrokerProcess

RECORD_BYTES = 100
SECONDS, QUICK_SECONDS = 5, 2
WARMUP_S = 0.5
BATCHES_PER_S = 1000
"""A client that is given 50,000 records a second has a batch of 50 after a millisecond."""
_WANTED = Goal(p99_at_most=1.0)


@dataclass(frozen=True, kw_only=True)
class LibrdkafkaLatency(Described):
    """A librdkafka producer that sends each record at once, and a consumer."""

    scale: Scale
    records_per_s: int
    seconds: int

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        paced = Paced(
            broker.bootstrap,
            topic,
            records_per_s=self.records_per_s,
            record_bytes=RECORD_BYTES,
            seconds=self.seconds + WARMUP_S,
            warmup_s=WARMUP_S,
        )
        output = client([sys.executable, "-m", "benchmarks.load.paced", *arguments(paced)], self.scale.client_timeout_s)
        result = PacedResult(**json.loads(output))
        return ToolResult(result.records, result.records_per_s, result.p50_ms, result.p99_ms)

    def limit(self, directory: Path) -> ToolResult | None:
        return bare_tail(
            directory,
            batches=self.records_per_s * self.seconds,
            batches_per_s=self.records_per_s,
            records_per_batch=1,
            record_bytes=RECORD_BYTES,
            readers=1,
            timeout_s=self.scale.client_timeout_s,
        )


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    seconds = QUICK_SECONDS if scale.is_quick else SECONDS
    return [
        LibrdkafkaLatency(
            name="latency-2k",
            title="librdkafka, 2,000 records/s, acks=all, linger.ms=0",
            group=LATENCY,
            goal=_WANTED,
            quick=True,
            expected_s=seconds + 2.0,
            scale=scale,
            records_per_s=2_000,
            seconds=seconds,
        ),
        Tailing(
            name="latency-50k",
            title="raw, 50,000 records/s in 1,000 batches, acks=all",
            group=LATENCY,
            goal=_WANTED,
            quick=True,
            expected_s=seconds + 2.0,
            scale=scale,
            tail=Tail(
                "",
                0,
                "",
                batches=seconds * BATCHES_PER_S,
                batches_per_s=BATCHES_PER_S,
                records_per_batch=50,
                record_bytes=RECORD_BYTES,
            ),
        ),
    ]
