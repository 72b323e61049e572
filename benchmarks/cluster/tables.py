"""What was measured on two clusters, as tables for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from benchmarks.cluster.failover import TIMEOUTS, VICTIMS
from benchmarks.cluster.measuring import Memory, Plan, Produced, Results
from benchmarks.cluster.nodes import Kind
from benchmarks.figures import Comparison, compare
from benchmarks.machine import machine
from benchmarks.report import MIB, cells

_PRODUCED: dict[str, tuple[str, str, Callable[[Produced], float | None]]] = {
    "records_per_s": ("records/s", ",.0f", lambda run: run.records_per_s),
    "nodes_cpu_s_per_million_records": ("CPU s of the nodes, per million", ".2f", lambda run: run.cpu_s_per_million),
    "p50_ms": ("p50 of a send, ms", ".1f", lambda run: run.p50_ms),
    "p99_ms": ("p99 of a send, ms", ".1f", lambda run: run.p99_ms),
}
_MEMORY: dict[str, tuple[str, Callable[[Memory], int]]] = {
    "resident_bytes": ("resident (VmRSS)", lambda memory: memory.resident),
    "proportional_bytes": ("proportional (PSS)", lambda memory: memory.proportional),
    "peak_resident_bytes": ("highest resident (VmHWM)", lambda memory: memory.peak),
}
Figures = dict[str, tuple[str, str, Comparison]]
"""By name: for people, how numbers are printed, and the numbers."""


def figures(results: Results, kinds: tuple[Kind, Kind]) -> Figures:
    """All that there is of both, ratios taken round by round."""
    subject, reference = (kind.key for kind in kinds)
    found: Figures = {}
    produced = results.produced
    if produced[subject] and produced[reference]:
        for name, (title, form, value) in _PRODUCED.items():
            compared = compare(*([value(run) for run in produced[key]] for key in (subject, reference)))
            found[f"producer.{name}"] = (f"ProducerPerformance, acks=all: {title}", form, compared)
    for moment, sizes in (("idle", results.idle), ("after the load", results.loaded)):
        if sizes:
            for name, (title, size) in _MEMORY.items():
                if size(sizes[subject]) and size(sizes[reference]):
                    compared = compare(*([size(sizes[key]) / MIB] for key in (subject, reference)))
                    key = f"memory.{moment.replace(' ', '_')}.{name}"
                    found[key] = (f"memory of three nodes, {moment}: {title}, MiB", ",.0f", compared)
    for (timeouts, victim), runs in results.failovers.items():
        if runs[subject]:
            compared = compare(*([run.first_ack_s for run in runs[key]] for key in (subject, reference)))
            title = f"first write after kill -9, {timeouts} time-outs, s: {VICTIMS[victim]}"
            found[f"failover.{timeouts}.{victim}.first_ack_s"] = (title, ".2f", compared)
            compared = compare(*([run.in_sync_s for run in runs[key]] for key in (subject, reference)))
            title = f"restart until in sync and leading, {timeouts} time-outs, s: {VICTIMS[victim]}"
            found[f"failover.{timeouts}.{victim}.in_sync_s"] = (title, ".2f", compared)
    return found


def print_report(console: Console, plan: Plan, results: Results, kinds: tuple[Kind, Kind]) -> None:
    """One table, then what failed."""
    subject, reference = kinds
    table = Table(
        title=f"{subject.title} beside {reference.title}; medians, ratios (lowest-highest)",
        caption="Replication factor 3, min.insync.replicas 2; "
        f"rounds: {plan.rounds}, of fail-overs {plan.failover_rounds}",
    )
    table.add_column("figure")
    for heading in (subject.key, reference.key, "ratio"):
        table.add_column(heading, justify="right")
    for title, form, compared in figures(results, kinds).values():
        table.add_row(title, *cells(compared, form))
    console.print(table)
    for failure in results.failures:
        console.print(f"failed: {failure}", markup=False, highlight=False)


def as_json(plan: Plan, results: Results, kinds: tuple[Kind, Kind]) -> dict[str, object]:
    """Everything in the table and each run behind it. Units end the names; ratios are subject to reference."""
    return {
        "subject": {"key": kinds[0].key, "title": kinds[0].title},
        "reference": {"key": kinds[1].key, "title": kinds[1].title},
        "machine": machine(),
        "plan": dataclasses.asdict(plan),
        "timeouts": TIMEOUTS,
        "figures": {name: dataclasses.asdict(compared) for name, (_, _, compared) in figures(results, kinds).items()},
        "runs": {
            "producer": {key: [dataclasses.asdict(run) for run in runs] for key, runs in results.produced.items()},
            "failover": {
                f"{timeouts}.{victim}": {key: [dataclasses.asdict(run) for run in each] for key, each in runs.items()}
                for (timeouts, victim), runs in results.failovers.items()
            },
        },
        "failures": results.failures,
    }
