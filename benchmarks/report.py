"""Results as a table for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.brokers import Side
from benchmarks.runner import Plan, Results, Run
from benchmarks.stats import Spread, ratios, spread
from benchmarks.workloads.base import Workload
from tests.support.apache import ROOT

MIB = 1 << 20
NARROWEST = 150
"""Columns: the tables stay readable in a log file."""
Figure = Callable[[Run], float | None]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One figure of both sides over all rounds, and the ratio subject to reference taken round by round."""

    subject: Spread | None
    reference: Spread | None
    ratio: Spread | None


def compare(subject: Sequence[float | None], reference: Sequence[float | None]) -> Comparison:
    return Comparison(spread(subject), spread(reference), spread(ratios(subject, reference)))


FIGURES: dict[str, Figure] = {
    "records_per_s": lambda run: run.records_per_s,
    "broker_cpu_s_per_million_records": lambda run: run.broker_cpu_s_per_million,
    "p50_ms": lambda run: run.p50_ms,
    "p99_ms": lambda run: run.p99_ms,
    "client_cpu_share": lambda run: run.client_cpu_s / run.wall_s,
}


def comparisons(results: Results, workload: Workload, sides: tuple[Side, Side]) -> dict[str, Comparison]:
    """Every figure of one workload."""
    subject, reference = (results.runs.get(workload.name, {}).get(side.key, []) for side in sides)
    return {
        name: compare([figure(run) for run in subject], [figure(run) for run in reference])
        for name, figure in FIGURES.items()
    }


def console() -> Console:
    """Where reports go."""
    found = Console()
    return found if found.width >= NARROWEST else Console(width=NARROWEST)


def print_report(console: Console, plan: Plan, results: Results, sides: tuple[Side, Side]) -> None:
    """Tables of what was measured, then what failed."""
    measured = [workload for workload in plan.workloads if results.runs.get(workload.name, {}).get(sides[0].key)]
    if measured:
        console.print(_throughput_table(results, measured, sides))
        console.print(_latency_table(results, measured, sides))
    console.print(_process_table(plan, results, sides))
    for failure in results.failures:
        console.print(f"failed: {failure}", markup=False, highlight=False)


def as_json(plan: Plan, results: Results, sides: tuple[Side, Side]) -> dict[str, object]:
    """Everything in the tables and each run behind them. Units end the names; ratios are subject to reference."""
    subject, reference = sides
    return {
        "subject": {"key": subject.key, "title": subject.title},
        "reference": {"key": reference.key, "title": reference.title},
        "machine": machine(),
        "rounds": results.rounds,
        "scale": dataclasses.asdict(plan.scale),
        "start": {"ready_s": results.ready_s, "idle_resident_bytes": results.idle_bytes},
        "peak_resident_bytes": results.peak_bytes,
        "workloads": {
            workload.name: {
                "title": workload.title,
                "figures": {
                    name: dataclasses.asdict(comparison)
                    for name, comparison in comparisons(results, workload, sides).items()
                },
                "runs": {
                    key: [dataclasses.asdict(run) for run in runs]
                    for key, runs in results.runs.get(workload.name, {}).items()
                },
            }
            for workload in plan.workloads
        },
        "failures": results.failures,
    }


def machine() -> dict[str, object]:
    """What the figures depend on besides the programs."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _throughput_table(results: Results, workloads: Sequence[Workload], sides: tuple[Side, Side]) -> Table:
    subject, reference = sides
    table = Table(
        title=f"{subject.title} beside {reference.title}; rounds: {results.rounds}; medians, ratios (lowest-highest)",
        caption="Records of 100 bytes. CPU s: the broker's, per million records. Client busy: its CPU by wall time",
    )
    table.add_column("workload")
    for heading in (f"{subject.key}\nrecords/s", f"{reference.key}\nrecords/s", "ratio"):
        table.add_column(heading, justify="right")
    for heading in (f"{subject.key}\nCPU s", f"{reference.key}\nCPU s", "ratio", "client\nbusy"):
        table.add_column(heading, justify="right")
    for workload in workloads:
        figures = comparisons(results, workload, sides)
        rate, cpu = figures["records_per_s"], figures["broker_cpu_s_per_million_records"]
        busy = figures["client_cpu_share"]
        table.add_row(
            workload.title,
            *cells(rate, ",.0f"),
            *cells(cpu, ".2f"),
            f"{_median(busy.subject, '.2f')} / {_median(busy.reference, '.2f')}",
        )
    return table


def _latency_table(results: Results, workloads: Sequence[Workload], sides: tuple[Side, Side]) -> Table:
    table = Table(title="Latency of a send at full load, as the client sees it")
    table.add_column("workload")
    for name in ("p50", "p99"):
        for heading in (f"{sides[0].key}\n{name} ms", f"{sides[1].key}\n{name} ms", "ratio"):
            table.add_column(heading, justify="right")
    for workload in workloads:
        figures = comparisons(results, workload, sides)
        if figures["p50_ms"].subject is not None:
            table.add_row(workload.title, *cells(figures["p50_ms"], ".2f"), *cells(figures["p99_ms"], ".2f"))
    return table


def _process_table(plan: Plan, results: Results, sides: tuple[Side, Side]) -> Table:
    subject, reference = (side.key for side in sides)
    table = Table(title="The processes")
    table.add_column("figure")
    for heading in (subject, reference, "ratio"):
        table.add_column(heading, justify="right")
    if results.ready_s:
        started = compare(results.ready_s[subject], results.ready_s[reference])
        table.add_row(
            f"ready after process start, s (median of {len(results.ready_s[subject])})", *cells(started, ".3f")
        )
    for title, sizes in (
        (f"resident {plan.scale.idle_s:g} s after ready, before any client, MiB", results.idle_bytes),
        ("highest resident set of the whole measurement, MiB", results.peak_bytes),
    ):
        if subject in sizes and reference in sizes:
            table.add_row(title, *cells(compare([sizes[subject] / MIB], [sizes[reference] / MIB]), ",.1f"))
    return table


def cells(comparison: Comparison, form: str) -> tuple[str, str, str]:
    ratio = comparison.ratio
    shown = "-" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
    return _median(comparison.subject, form), _median(comparison.reference, form), shown


def _median(values: Spread | None, form: str) -> str:
    return "-" if values is None else format(values.median, form)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None
