"""Producing and consuming at the same time for long, at a steady rate: does the broker's memory stay flat?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import procfs
from benchmarks.load.tail import Tail, TailResult, group_id
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONNECTIONS, Described, Goal, Scale, Workload, expect
from benchmarks.workloads.sessions import run_tail
from tests.support.process import BrokerProcess
from tests.support.requests import await_coordinator, connect

SECONDS, QUICK_SECONDS = 600, 30
SAMPLES = 120
GROWTH_AT_MOST = 1.05
PARTITIONS, CONSUMERS = 4, 2
BATCHES_PER_S, RECORDS_PER_BATCH = 500, 100
COMMIT_EVERY = 50


@dataclass(frozen=True, kw_only=True)
class Mixed(Described):
    """A steady producer, and groups that read what it writes as it comes and commit how far they are."""

    scale: Scale
    tail: Tail

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        with connect(broker) as connection:
            for number in range(self.tail.consumers):
                await_coordinator(connection, group_id(topic, number))

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        tail = replace(self.tail, host=broker.host, port=broker.port, topic=topic)
        result, series_bytes = self._run_sampled(tail, broker.pid)
        expect(tail.batches * tail.records_per_batch * tail.consumers, result.records, "consumed records")
        return ToolResult(
            result.records, result.records_per_s, result.p50_ms, result.p99_ms, resident_series_bytes=series_bytes
        )

    def _run_sampled(self, tail: Tail, pid: int) -> tuple[TailResult, tuple[int, ...]]:
        seconds = tail.batches / tail.batches_per_s
        series_bytes = []
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run_tail, tail, seconds + self.scale.client_timeout_s)
            while not running.done():
                series_bytes.append(procfs.resident_bytes(pid))
                wait([running], seconds / SAMPLES)
        return running.result(), tuple(series_bytes)


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    seconds = QUICK_SECONDS if scale.is_quick else SECONDS
    rate = BATCHES_PER_S * RECORDS_PER_BATCH
    tail = Tail(
        "",
        0,
        "",
        partitions=PARTITIONS,
        active=PARTITIONS,
        consumers=CONSUMERS,
        commit_every=COMMIT_EVERY,
        batches=seconds * BATCHES_PER_S,
        batches_per_s=BATCHES_PER_S,
        records_per_batch=RECORDS_PER_BATCH,
    )
    return [
        Mixed(
            name="mixed",
            title=f"{rate:,} records/s for {seconds:,} s, read by {CONSUMERS} groups, on both at once",
            group=CONNECTIONS,
            partitions=PARTITIONS,
            goal=Goal(resident_growth_at_most=GROWTH_AT_MOST),
            rounds_at_most=1,
            warms_up=False,
            together=True,
            expected_s=seconds + 10.0,
            # Two groups read each record, and both are counted.
            keeps_what_it_reports=False,
            scale=scale,
            tail=tail,
        )
    ]
