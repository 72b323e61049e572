"""Producing with our own load generator."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import procfs
from benchmarks.limits.produce import receiving
from benchmarks.load.command_line import arguments
from benchmarks.load.produce import Load, LoadResult
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import (
    BATCHES,
    CONNECTIONS,
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
    return _with_sequences_and_connections(
        RawLoad(
            name="raw-single",
            title="raw, 5 in flight, 1 record each",
            group=SINGLE_RECORDS,
            goal=SINGLE_GOAL,
            quick=True,
            scale=scale,
            load=load,
        ),
        "raw-idempotent-single",
    )


def _batches(scale: Scale) -> list[Workload]:
    batches = RawLoad(
        name="raw-batches",
        title="raw, 5 in flight, 600 records each",
        group=BATCHES,
        goal=BATCHES_GOAL,
        quick=True,
        scale=scale,
        load=_load(scale, records=600),
    )
    kib = replace(
        batches,
        name="raw-kib",
        title="raw, 5 in flight, 900 records of 1 KiB each",
        goal=KIB_GOAL,
        quick=False,
        load=_load(scale, records=900, record_bytes=1024),
    )
    return [
        *_with_sequences_and_connections(batches, "raw-idempotent"),
        *_kinds(batches, "raw"),
        *_with_sequences_and_connections(kib, "raw-idempotent-kib"),
        *_kinds(kib, "raw-kib"),
    ]


def _with_sequences_and_connections(plain: RawLoad, idempotent: str) -> list[Workload]:
    """A load, the same of an idempotent producer, whose name is given, and both over many connections."""
    many = replace(
        plain,
        name=f"{plain.name}-{MANY_CONNECTIONS}",
        title=plain.title.replace("raw,", f"raw, {MANY_CONNECTIONS} connections,"),
        quick=False,
        load=replace(plain.load, connections=MANY_CONNECTIONS),
    )
    return [
        plain,
        _idempotent(plain, idempotent),
        many,
        _idempotent(many, f"{idempotent}-{MANY_CONNECTIONS}"),
    ]


def _idempotent(plain: RawLoad, name: str) -> RawLoad:
    return replace(
        plain,
        name=name,
        title=f"{plain.title}, idempotent",
        goal=Goal(beside=plain.name, records_per_s_beside_at_least=SEQUENCES_SHARE),
        quick=False,
        load=replace(plain.load, idempotent=1),
    )


def _kinds(plain: RawLoad, name: str) -> list[Workload]:
    """The same with other acks, and compressed; nobody has set a goal for these."""
    other = replace(plain, goal=None, quick=False)
    without_answers = other.title.replace("5 in flight, ", "")
    return [
        replace(other, name=f"{name}-acks0", title=f"{without_answers}, acks=0", load=replace(plain.load, acks=0)),
        replace(other, name=f"{name}-acks-all", title=f"{other.title}, acks=all", load=replace(plain.load, acks=-1)),
        *(
            replace(
                other,
                name=f"{name}-{codec}",
                title=f"{other.title}, {codec}",
                load=replace(plain.load, compression=codec),
            )
            for codec in ("lz4", "zstd")
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
        warms_up=False,
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
