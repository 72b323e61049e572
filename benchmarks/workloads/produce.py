"""Producing with our own load generator."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load.produce import Load, LoadResult, arguments
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import PRODUCING, SINGLE_RECORDS, Described, Goal, Scale, Workload, client
from tests.support.process import BrokerProcess


@dataclass(frozen=True, kw_only=True)
class RawLoad(Described):
    """Our own load generator."""

    scale: Scale
    load: Load

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        result = run_load(
            replace(self.load, host=broker.host, port=broker.port, topic=topic), self.scale.client_timeout_s
        )
        return ToolResult(result.records, result.records_per_s, result.p50_ms, result.p99_ms)


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    return [
        RawLoad(
            name="raw-single",
            title="raw, 5 in flight, 1 record each",
            group=SINGLE_RECORDS,
            goal=Goal(records_per_s_at_least=4.0, cpu_at_most=0.35),
            quick=True,
            scale=scale,
            load=_load(scale, records=1, record_bytes=100),
        ),
        RawLoad(
            name="raw-batches",
            title="raw, 5 in flight, 600 records each",
            group=PRODUCING,
            goal=Goal(records_per_s_at_least=3.0, cpu_at_most=0.40),
            quick=True,
            scale=scale,
            load=_load(scale, records=600, record_bytes=100),
        ),
    ]


def run_load(load: Load, timeout_s: float) -> LoadResult:
    """The load generator in a process of its own. Raises ClientFailed."""
    output = client([sys.executable, "-m", "benchmarks.load.produce", *arguments(load)], timeout_s)
    return LoadResult(**json.loads(output))


def _load(scale: Scale, *, records: int, record_bytes: int) -> Load:
    batch_bytes = records * (record_bytes + 10)
    return Load(
        "",
        0,
        "",
        records_per_batch=records,
        record_bytes=record_bytes,
        seconds=scale.load_seconds,
        max_batches=scale.load_max_bytes // batch_bytes,
    )
