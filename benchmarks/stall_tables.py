"""Tables of the group of workloads in which a steady producer runs beside heavy work: for the page, and a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from benchmarks.figures import APACHE, ODRADEK, Entry
from benchmarks.stats import Spread, spread

STALL_HEADINGS = [
    "work",
    *(f"{side} p99 {when}" for side in ("Odradek", "Kafka") for when in ("quiet, ms", "beside it, ms", "ratio")),
    "rounds",
]


def stall_rows(entries: Sequence[Entry], sides: tuple[str, str] = (ODRADEK, APACHE)) -> list[list[str]]:
    """For each entry: p99 without the work, beside it, and the ratio, of both sides."""
    rows = []
    for entry in entries:
        row = [entry.title]
        for side in sides:
            quiet, beside = (spread(entry.values(side, figure)) for figure in ("quiet_p99_ms", "p99_ms"))
            row += [_median(quiet), _median(beside), _with_spread(spread(entry.values(side, "p99_by_quiet")))]
        rows.append([*row, str(entry.rounds)])
    return rows


def stall_table(entries: Sequence[Entry], sides: tuple[str, str]) -> Table:
    """The same for a terminal."""
    table = Table(title="A steady producer beside heavy work: p99")
    table.add_column(STALL_HEADINGS[0])
    for side in sides:
        for when in ("quiet, ms", "beside, ms", "ratio"):
            table.add_column(f"{side}\n{when}", justify="right")
    table.add_column(STALL_HEADINGS[-1], justify="right")
    for row in stall_rows(entries, sides):
        table.add_row(*row)
    return table


def _median(values: Spread | None) -> str:
    return "-" if values is None else f"{values.median:.2f}"


def _with_spread(ratio: Spread | None) -> str:
    return "-" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
