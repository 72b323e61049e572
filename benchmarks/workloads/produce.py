"""Producing with our own load generator."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import procfs
from benchmarks.limits.produce import receiving
from benchmarks.load.command_line import arguments
from benchmarks.load.produce import Load, LoadResult
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import (
    CONNECTIONS,
    PRODUCING,
    SINGLE_RECORDS,
    Described,
    Goal,
    Scale,
    Workload,
    client,
)
from tests.support.process import BrokerProcess

SINGLE_GOAL = Goal(records_per_s_at_least=4.0, cpu_at_most=0.35)
BATCHES_GOAL = Goal(records_per_s_at_least=3.0, cpu_at_most=0.40)
KIB_GOAL = Goal(records_per_s_at_least=1.4, cpu_at_most=0.80)
SEQUENCES_SHARE = 0.95
"""Of the rate without sequences, what there shall be with them."""
MANY_CONNECTIONS = 64
SINGLE_SECONDS = 3.0
"""At most, for one record per request: nothing of it depends on how much has been written."""
LONG_RECORDS = 10_000_000
LONG_SECONDS = 100.0
RECORD_OVERHEAD_BYTES = 10
LIMIT_TOPIC = "limit"


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

    def limit(self, directory: Path) -> ToolResult | None:
        """The same load against a process that receives, writes to a file, and answers."""
        with receiving(directory, LIMIT_TOPIC) as bare:
            before_s = procfs.cpu_s(bare.pid)
            # It gives no producer ids. Sequences change no more than a few bytes of what is sent.
            load = replace(self.load, host=bare.host, port=bare.port, topic=LIMIT_TOPIC, idempotent=0)
            result = run_load(load, self.scale.client_timeout_s)
            used_s = procfs.cpu_s(bare.pid) - before_s
        return ToolResult(result.records, result.records_per_s, result.p50_ms, result.p99_ms, server_cpu_s=used_s)


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    return [*_single_records(scale), *_batches(scale), _long(scale)]


def _single_records(scale: Scale) -> list[Workload]:
    load = replace(_load(scale, records=1), seconds=min(scale.load_seconds, SINGLE_SECONDS))
    described = partial(RawLoad, group=SINGLE_RECORDS, scale=scale)
    return [
        described(
            name="raw-single",
            title="raw, 5 in flight, 1 record each",
            goal=SINGLE_GOAL,
            quick=True,
            load=load,
        ),
        described(
            name="raw-idempotent-single",
            title="raw, 5 in flight, 1 record each, idempotent",
            goal=Goal(beside="raw-single", records_per_s_beside_at_least=SEQUENCES_SHARE),
            load=replace(load, idempotent=1),
        ),
        described(
            name="raw-single-64",
            title="raw, 64 connections, 5 in flight, 1 record each",
            goal=SINGLE_GOAL,
            load=replace(load, connections=MANY_CONNECTIONS),
        ),
    ]


def _batches(scale: Scale) -> list[Workload]:
    batches, kib = _load(scale, records=600), _load(scale, records=900, record_bytes=1024)
    described = partial(RawLoad, group=PRODUCING, scale=scale)
    return [
        described(
            name="raw-batches",
            title="raw, 5 in flight, 600 records each",
            goal=BATCHES_GOAL,
            quick=True,
            load=batches,
        ),
        described(
            name="raw-idempotent",
            title="raw, 5 in flight, 600 records each, idempotent",
            goal=Goal(beside="raw-batches", records_per_s_beside_at_least=SEQUENCES_SHARE),
            load=replace(batches, idempotent=1),
        ),
        described(
            name="raw-batches-64",
            title="raw, 64 connections, 5 in flight, 600 records each",
            goal=BATCHES_GOAL,
            load=replace(batches, connections=MANY_CONNECTIONS),
        ),
        described(
            name="raw-acks0",
            title="raw, 600 records each, acks=0",
            load=replace(batches, acks=0),
        ),
        described(
            name="raw-acks-all",
            title="raw, 5 in flight, 600 records each, acks=all",
            load=replace(batches, acks=-1),
        ),
        *(
            described(
                name=f"raw-{codec}",
                title=f"raw, 5 in flight, 600 records each, {codec}",
                load=replace(batches, compression=codec),
            )
            for codec in ("lz4", "zstd")
        ),
        described(
            name="raw-kib",
            title="raw, 5 in flight, 900 records of 1 KiB each",
            goal=KIB_GOAL,
            load=kib,
        ),
        described(
            name="raw-kib-64",
            title="raw, 64 connections, 5 in flight, 900 records of 1 KiB each",
            goal=KIB_GOAL,
            load=replace(kib, connections=MANY_CONNECTIONS),
        ),
    ]


def _long(scale: Scale) -> Workload:
    load = _load(scale, records=600)
    return RawLoad(
        name="raw-10-million",
        title="raw, 10 million records, for the memory after them",
        group=CONNECTIONS,
        goal=Goal(memory_at_most=0.1),
        rounds_at_most=1,
        scale=scale,
        load=replace(load, seconds=LONG_SECONDS, max_batches=-(-LONG_RECORDS // load.records_per_batch)),
    )


def run_load(load: Load, timeout_s: float) -> LoadResult:
    """The load generator in a process of its own. Raises ClientFailed."""
    output = client([sys.executable, "-m", "benchmarks.load.produce", *arguments(load)], timeout_s)
    return LoadResult(**json.loads(output))


def _load(scale: Scale, *, records: int, record_bytes: int = 100) -> Load:
    """For one connection; where it goes is filled in when it is known."""
    batch_bytes = records * (record_bytes + RECORD_OVERHEAD_BYTES)
    return Load(
        "",
        0,
        "",
        records_per_batch=records,
        record_bytes=record_bytes,
        seconds=scale.load_seconds,
        max_batches=scale.load_max_bytes // batch_bytes,
    )
