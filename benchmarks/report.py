"""Figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.figures import APACHE, ODRADEK, Comparison, Entry, Figures
from benchmarks.goals import Verdict, verdicts
from benchmarks.runner import LIMIT
from benchmarks.stall_tables import stall_table
from benchmarks.stats import Spread
from benchmarks.workloads.base import FAILOVER, STALLS, STARTING

MIB = 1 << 20
DURATIONS = {
    STARTING: {"duration_s": "the first answer"},
    FAILOVER: {"duration_s": "the first acknowledged write", "restored_s": "in sync again, after its start"},
}
"""Groups of workloads that are about how long something takes: figures, and until when."""
NARROWEST = 150
"""Columns: the tables stay readable in a log file."""


def console() -> Console:
    """Where reports go."""
    found = Console()
    return found if found.width >= NARROWEST else Console(width=NARROWEST)


def print_report(console: Console, figures: Figures, sides: tuple[str, str] = (ODRADEK, APACHE)) -> None:
    """Tables of what was measured, then what is wanted, then what failed."""
    entries = list(figures.entries.values())
    stalled = [entry for entry in entries if entry.group == STALLS]
    moving = [entry for entry in entries if entry.group not in DURATIONS and entry not in stalled]
    if moving:
        console.print(_throughput_table(figures, moving, sides))
    timed = [entry for entry in moving if any(value is not None for value in entry.values(sides[0], "p50_ms"))]
    if timed:
        console.print(_latency_table(timed, sides))
    lasting = [entry for entry in entries if entry.group in DURATIONS]
    if lasting:
        console.print(_duration_table(lasting, sides))
    if stalled:
        console.print(stall_table(stalled, sides))
    if entries:
        console.print(_memory_table(entries, sides))
    wanted = verdicts(figures) if sides == (ODRADEK, APACHE) else []
    if wanted:
        console.print(_goal_table(wanted))
    for name, failure in figures.failures.items():
        console.print(f"failed: {name}: {failure}", markup=False, highlight=False)


def cells(comparison: Comparison, form: str) -> tuple[str, str, str]:
    """Both medians, and the ratio with its lowest and highest round."""
    return median(comparison.subject, form), median(comparison.reference, form), ratio_cell(comparison.ratio)


def ratio_cell(ratio: Spread | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def median(values: Spread | None, form: str) -> str:
    return "-" if values is None else format(values.median, form)


def _throughput_table(figures: Figures, entries: Sequence[Entry], sides: tuple[str, str]) -> Table:
    subject, reference = sides
    table = Table(
        title=f"{figures.titles.get(subject, subject)} beside {figures.titles.get(reference, reference)}; "
        "medians, ratios (lowest-highest round)",
        caption="CPU s: the broker's, or the limit's, per million records. Limit: what the bare machine does. "
        "Client busy: its CPU by wall time",
    )
    table.add_column("workload")
    for heading in (f"{subject}\nrecords/s", f"{reference}\nrecords/s", "ratio", "of the limit"):
        table.add_column(heading, justify="right")
    for heading in (f"{subject}\nCPU s", f"{reference}\nCPU s", "ratio", "limit\nCPU s", "client\nbusy", "rounds"):
        table.add_column(heading, justify="right")
    for entry in entries:
        busy = entry.compare("client_cpu_share", reference, subject)
        table.add_row(
            entry.title,
            *cells(entry.compare("records_per_s", reference, subject), ",.0f"),
            ratio_cell(entry.compare("records_per_s", LIMIT, subject).ratio),
            *cells(entry.compare("broker_cpu_s_per_million_records", reference, subject), ".2f"),
            median(entry.compare("broker_cpu_s_per_million_records", LIMIT, subject).reference, ".2f"),
            f"{median(busy.subject, '.2f')} / {median(busy.reference, '.2f')}",
            str(entry.rounds),
        )
    return table


def _latency_table(entries: Sequence[Entry], sides: tuple[str, str]) -> Table:
    subject, reference = sides
    table = Table(title="Latency, as the client sees it")
    table.add_column("workload")
    for name in ("p50", "p99"):
        for heading in (f"{subject}\n{name} ms", f"{reference}\n{name} ms", "ratio"):
            table.add_column(heading, justify="right")
    for entry in entries:
        table.add_row(
            entry.title,
            *cells(entry.compare("p50_ms", reference, subject), ".2f"),
            *cells(entry.compare("p99_ms", reference, subject), ".2f"),
        )
    return table


def _duration_table(entries: Sequence[Entry], sides: tuple[str, str]) -> Table:
    subject, reference = sides
    table = Table(title="What takes its time, s")
    for heading in ("workload", "until"):
        table.add_column(heading)
    for heading in (subject, reference, "ratio"):
        table.add_column(heading, justify="right")
    for entry in entries:
        for figure, until in DURATIONS[entry.group].items():
            table.add_row(entry.title, until, *cells(entry.compare(figure, reference, subject), ".3f"))
    return table


def _memory_table(entries: Sequence[Entry], sides: tuple[str, str]) -> Table:
    subject, reference = sides
    table = Table(title="Resident memory: the highest while it ran; after a start, what there is before any client")
    table.add_column("figure")
    for heading in (subject, reference, "ratio"):
        table.add_column(heading, justify="right")
    for entry in entries:
        size = entry.compare("resident_bytes" if entry.group == STARTING else "peak_bytes", reference, subject)
        table.add_row(f"resident set, MiB: {entry.title}", *cells(in_mib(size), ",.1f"))
    return table


def in_mib(comparison: Comparison) -> Comparison:
    """The same with bytes as MiB."""

    def scaled(values: Spread | None) -> Spread | None:
        return None if values is None else Spread(values.median / MIB, values.low / MIB, values.high / MIB)

    return Comparison(scaled(comparison.subject), scaled(comparison.reference), comparison.ratio)


def _goal_table(wanted: Sequence[Verdict]) -> Table:
    table = Table(title="What is wanted (ratios to Apache Kafka, or what is named)")
    for heading in ("workload", "figure"):
        table.add_column(heading)
    for heading in ("wanted", "measured", "", "the limit"):
        table.add_column(heading, justify="right")
    for verdict in wanted:
        table.add_row(
            verdict.workload,
            verdict.what,
            verdict.bound,
            measured_cell(verdict),
            said(verdict.is_met),
            median(verdict.limit, ".2f"),
        )
    return table


def measured_cell(verdict: Verdict) -> str:
    """The median with its spread; bytes without digits behind the point."""
    if verdict.measured is not None and verdict.unit:
        return f"{verdict.measured.median:,.0f}"
    return ratio_cell(verdict.measured)


def said(is_met: bool | None) -> str:
    return {True: "met", False: "missed", None: "not measured"}[is_met]
