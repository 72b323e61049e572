"""End-to-end latency at a steady rate: from when a record is due to when a consumer has it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.paced import Paced, PacedResult, arguments
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import LATENCY, Described, Goal, Scale, Workload, client
from tests.support.process import BrokerProcess


@dataclass(frozen=True, kw_only=True)
class LibrdkafkaLatency(Described):
    """A librdkafka producer that sends each record at once, and a consumer."""

    scale: Scale
    records_per_s: int

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        seconds, warmup_s = (2.5, 0.5) if self.scale.is_quick else (6.0, 1.0)
        paced = Paced(broker.bootstrap, topic, records_per_s=self.records_per_s, seconds=seconds, warmup_s=warmup_s)
        output = client([sys.executable, *arguments(paced)], self.scale.client_timeout_s)
        result = PacedResult(**json.loads(output))
        return ToolResult(result.records, result.records_per_s, result.p50_ms, result.p99_ms)


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    return [
        LibrdkafkaLatency(
            name="latency-2k",
            title="librdkafka, 2,000 records/s, acks=all, linger.ms=0",
            group=LATENCY,
            goal=Goal(p99_at_most=1.0),
            quick=True,
            scale=scale,
            records_per_s=2_000,
        )
    ]
