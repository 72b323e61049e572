"""Catching up with our own consumer: what is there is read from its begin, from the page cache or from the disk."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.limits.consume import Reading, bare_consume
from benchmarks.load.command_line import arguments
from benchmarks.load.fetch import Fetch, FetchResult
from benchmarks.load.produce import Load
from benchmarks.page_cache import drop
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONSUMING, Described, Scale, Workload, client, expect
from benchmarks.workloads.java import JAVA_BATCH_RECORDS
from benchmarks.workloads.produce import run_load
from tests.support.process import BrokerProcess

RECORD_BYTES = 100
WARM_PASSES = 10
"""The page cache is quick: one pass is too short a time for a figure."""


@dataclass(frozen=True, kw_only=True)
class RawCatchUp(Described):
    """Our own consumer on batches as a Java producer makes them, 1 MiB per fetch as a Java consumer's."""

    scale: Scale
    passes: int
    cold: bool
    keeps_what_it_reports: bool = False
    """What is read again is reported again."""

    @property
    def batches(self) -> int:
        """How many are there."""
        return -(-self.scale.consumed_records // JAVA_BATCH_RECORDS)

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        load = Load(
            broker.host,
            broker.port,
            topic,
            records_per_batch=JAVA_BATCH_RECORDS,
            record_bytes=RECORD_BYTES,
            max_batches=self.batches,
            seconds=60.0,
        )
        expect(self.batches, run_load(load, self.scale.client_timeout_s).requests, "loaded batches")
        if self.cold:
            drop(sorted(broker.data_dir.glob(f"{topic}-*/*.log")))

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        records = self.batches * JAVA_BATCH_RECORDS
        fetch = Fetch(broker.host, broker.port, topic, records=records, passes=self.passes)
        result = run_fetch(fetch, self.scale.client_timeout_s)
        expect(records * self.passes, result.records, "consumed records")
        return ToolResult(result.records, result.records_per_s, result.p50_ms, result.p99_ms)

    def limit(self, directory: Path) -> ToolResult | None:
        reading = Reading(self.batches, JAVA_BATCH_RECORDS, RECORD_BYTES, self.passes, cold=self.cold)
        return bare_consume(directory, reading, self.scale.client_timeout_s)


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    return [
        RawCatchUp(
            name="raw-catch-up",
            title="raw, catching up from the page cache",
            group=CONSUMING,
            quick=True,
            scale=scale,
            passes=WARM_PASSES,
            cold=False,
        ),
        RawCatchUp(
            name="raw-catch-up-cold",
            title="raw, catching up from the disk",
            group=CONSUMING,
            scale=scale,
            passes=1,
            cold=True,
        ),
    ]


def run_fetch(fetch: Fetch, timeout_s: float) -> FetchResult:
    """The consumer in a process of its own. Raises ClientFailed."""
    output = client([sys.executable, "-m", "benchmarks.load.fetch", *arguments(fetch)], timeout_s)
    return FetchResult(**json.loads(output))
