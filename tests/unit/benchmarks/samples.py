"""Figures as a measurement would leave them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.figures import Entry, Figures, Taken
from benchmarks.runner import Run
from benchmarks.workloads.base import CONSUMING, STALLS, STARTING, Goal

TAKEN = Taken(
    at="2026-01-02 03:04 UTC",
    command="python -m benchmarks",
    scale="full",
    machine={"cpu": "a processor", "cores": 2, "memory_bytes": 8 << 30, "system": "Linux"},
    versions={"Odradek": "1.0", "Apache Kafka": "4.4.0"},
)


def run(
    records_per_s: float,
    broker_cpu_s: float = 1.0,
    *,
    p99_ms: float | None = None,
    peak_bytes: int = 0,
    bytes_per_connection: float | None = None,
    series: tuple[int, ...] = (),
) -> Run:
    """Of two million records."""
    return Run(
        records=2_000_000,
        records_per_s=records_per_s,
        broker_cpu_s=broker_cpu_s,
        client_cpu_s=1.0,
        wall_s=2.0,
        resident_bytes=1 << 20,
        p50_ms=p99_ms,
        p99_ms=p99_ms,
        peak_bytes=peak_bytes,
        bytes_per_connection=bytes_per_connection,
        resident_series_bytes=series,
    )


def started(duration_s: float, resident_mib: int, restored_s: float | None = None) -> Run:
    """What is about how long something takes."""
    return dataclasses.replace(
        run(1.0), duration_s=duration_s, restored_s=restored_s, resident_bytes=resident_mib << 20
    )


def beside(p99_ms: float, quiet_p99_ms: float) -> Run:
    """A producer beside heavy work."""
    return dataclasses.replace(run(2000.0, p99_ms=p99_ms), quiet_p99_ms=quiet_p99_ms)


def entry(
    name: str,
    runs: Mapping[str, Sequence[Run]],
    *,
    goal: Goal | None = None,
    group: str = CONSUMING,
    title: str | None = None,
    taken: Taken = TAKEN,
) -> Entry:
    return Entry(name, title or name, group, goal, taken, runs)


def figures(*entries: Entry, failures: dict[str, str] | None = None) -> Figures:
    return Figures(
        titles={"odradek": "Odradek 1.0", "apache": "Apache Kafka 4.4.0"},
        entries={each.name: each for each in entries},
        failures=failures or {},
    )


CONSUMER = entry(
    "consumer",
    {
        "odradek": [run(300_000.0, 1.0), run(500_000.0, 3.0)],
        "apache": [run(100_000.0, 4.0), run(250_000.0, 4.0)],
        "limit": [run(600_000.0, 0.25), run(1_000_000.0, 0.5)],
    },
    goal=Goal(records_per_s_at_least=1.2, cpu_at_most=0.3),
    title="ConsumerPerformance",
)
START = entry(
    "start-empty",
    {
        "odradek": [started(0.3, 50), started(0.4, 50)],
        "apache": [started(3.0, 400), started(2.0, 400)],
    },
    goal=Goal(duration_at_most=0.1),
    group=STARTING,
    title="start to the first answer",
)
STALLED = entry(
    "stalls-compaction",
    {
        "odradek": [beside(0.75, 0.25), beside(1.0, 0.5), beside(1.25, 0.5)],
        "apache": [beside(2.0, 0.5), beside(4.0, 0.5), beside(3.0, 0.5)],
    },
    goal=Goal(p99_by_quiet_at_most=2.0),
    group=STALLS,
    title="compaction",
)
SAMPLE = figures(START, CONSUMER, failures={"raw-single": "on Odradek: [gone]"})
