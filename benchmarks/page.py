"""The page of results: ``python -m benchmarks.page`` writes it, with a plot for each group, from figures that are kept.

python -m benchmarks.page                                  # docs/ again, from docs/performance/figures.json
python -m benchmarks.page one.json two.json --docs DIR     # from several; what is in a later one counts
python -m benchmarks.page --check                          # whether the page is what its figures say
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import click

from benchmarks.figures import (
    Comparison,
    Entry,
    Figures,
    Taken,
    UnreadableFigures,
    merged,
    read,
    to_json,
)
from benchmarks.goals import verdicts
from benchmarks.plots import plot, short
from benchmarks.report import DURATIONS, in_mib, measured_cell, median, ratio_cell, said
from benchmarks.runner import LIMIT
from benchmarks.stall_tables import STALL_HEADINGS, stall_rows
from benchmarks.stats import Spread
from benchmarks.workloads.base import GROUPS, QUICK, STALLS
from benchmarks.workloads.catalogue import NAMES
from tests.support.apache import ROOT

DOCS = ROOT / "docs"
PAGE = Path("performance-results.md")
FIGURES_FILE = Path("performance") / "figures.json"
HEAD = """\
---
hide: [toc]
---

<!-- Written by `python -m benchmarks.page` from performance/figures.json. -->

# Performance: figures

What [performance](performance.md) speaks of, measured. Medians of all rounds; in parentheses the lowest and the highest
round. Ratios are Odradek's figure by Apache Kafka's and taken within a round, so that what slows the machine down for a
while is in both. *Of the limit* is Odradek's records/s by what the bare machine does with the same bytes and the same
client, without a broker. *CPU s* is the CPU time of both brokers per million records, *CPU by the limit's* Odradek's by
that of the loop that stands in its place there. All figures with every single run are in
[figures.json](performance/figures.json).
"""


def files(figures: Figures) -> dict[Path, str]:
    """All that is written below ``docs``: the page, a plot for each group that has figures, and the figures."""
    found = {PAGE: page(figures), FIGURES_FILE: to_json(figures)}
    for group, title in GROUPS.items():
        entries = figures.group(group)
        if entries:
            found[Path("performance") / f"{group}.svg"] = plot(group, title, entries)
    return found


def write(figures: Figures, docs: Path) -> None:
    """The files in ``docs``; plots of groups that have no figures are removed."""
    wanted = files(figures)
    for name, text in wanted.items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for stray in (docs / "performance").glob("*.svg"):
        if stray.relative_to(docs) not in wanted:
            stray.unlink()


def page(figures: Figures) -> str:
    """The page, as Markdown."""
    circumstances = _circumstances(figures)
    parts = [HEAD, _goals(figures)]
    for group, title in GROUPS.items():
        entries = figures.group(group)
        if entries:
            parts.append(_group(group, title, entries, circumstances))
    if figures.failures:
        failed = [f"- `{name}`: {failure}" for name, failure in figures.failures.items()]
        parts.append("## What failed\n\n" + "\n".join(failed) + "\n")
    parts.append(_taken(circumstances))
    return "\n".join(parts)


def _goals(figures: Figures) -> str:
    found = verdicts(figures)
    rows = [
        [each.workload, each.what, each.bound, measured_cell(each), _emphasized(each.is_met), median(each.limit, ".2f")]
        for each in found
    ]
    if not rows:
        return ""
    met = sum(each.is_met is True for each in found)
    beyond = sum(each.is_met is False and each.is_met_by_limit is False for each in found)
    return (
        f"## What is wanted\n\nOf {len(rows)} goals {met} are met; the median decides. "
        f"Of the others, the bare machine does not reach {beyond} either. They are ratios to Apache Kafka "
        "where nothing else is named. *The limit* is what the bare machine comes to by the same measure, with the same "
        "client: beyond that there is nothing to win.\n\n"
        + _table(["workload", "figure", "wanted", "measured", "", "the limit"], rows, texts=2)
    )


def _emphasized(is_met: bool | None) -> str:
    return "**missed**" if is_met is False else said(is_met)


def _group(group: str, title: str, entries: Sequence[Entry], circumstances: Sequence[Taken]) -> str:
    plotted = f'<div class="plot">\n--8<-- "docs/performance/{group}.svg"\n</div>\n'
    if group == STALLS:
        headings, rows = STALL_HEADINGS, stall_rows(entries)
    else:
        headings, rows = _durations(group, entries) if group in DURATIONS else _rates(entries)
    if len(circumstances) > 1:
        headings = [*headings, "taken"]
        places = [str(circumstances.index(entry.taken) + 1) for entry in entries]
        rows = [[*row, place] for row, place in zip(rows, places, strict=True)]
    return f"## {title}\n\n{plotted}\n{_table(headings, rows)}"


def _durations(group: str, entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a group of workloads that are about how long something takes."""
    headings = ["workload"]
    for until in DURATIONS[group].values():
        headings += [f"{until}: Odradek s", "Kafka s", "ratio"]
    rows = []
    for entry in entries:
        row = [entry.title]
        for figure in DURATIONS[group]:
            found = entry.compare(figure)
            row += [_short(found.subject), _short(found.reference), ratio_cell(found.ratio)]
        cpu, size = entry.compare("broker_cpu_s_per_million_records"), in_mib(entry.compare("resident_bytes"))
        rows.append([*row, ratio_cell(cpu.ratio), _pair(size), str(entry.rounds)])
    return [*headings, "CPU ratio", "resident MiB", "rounds"], rows


def _rates(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a group of workloads that move records."""
    headings = [
        "workload",
        "Odradek records/s",
        "Kafka records/s",
        "ratio",
        "of the limit",
        "CPU s",
        "CPU ratio",
        "CPU by the limit's",
        "p50 ms",
        "p99 ms",
        "p99 ratio",
        "peak MiB",
        "rounds",
    ]
    rows = []
    for entry in entries:
        rate, peak = entry.compare("records_per_s"), in_mib(entry.compare("peak_bytes"))
        cpu = entry.compare("broker_cpu_s_per_million_records")
        p50, p99 = entry.compare("p50_ms"), entry.compare("p99_ms")
        row = [entry.title, _short(rate.subject), _short(rate.reference), ratio_cell(rate.ratio)]
        row += [ratio_cell(entry.compare("records_per_s", LIMIT).ratio)]
        row += [_pair(cpu), ratio_cell(cpu.ratio)]
        row += [median(entry.compare("broker_cpu_s_per_million_records", LIMIT).ratio, ".2f")]
        row += [_pair(p50), _pair(p99), ratio_cell(p99.ratio), _pair(peak), str(entry.rounds)]
        rows.append(row)
    return headings, rows


def _circumstances(figures: Figures) -> list[Taken]:
    found: list[Taken] = []
    for entry in figures.entries.values():
        if entry.taken not in found:
            found.append(entry.taken)
    return sorted(found, key=lambda taken: taken.at)


def _taken(circumstances: Sequence[Taken]) -> str:
    lines = ["## When and where\n"]
    for number, taken in enumerate(circumstances, start=1):
        found = taken.machine
        memory = found.get("memory_bytes")
        size = f", {memory / (1 << 30):.0f} GiB" if isinstance(memory, int) and memory else ""
        versions = ", ".join(f"{name} {version}" for name, version in taken.versions.items())
        quick = ", with less work in each run: the spread is wide" if taken.scale == QUICK.name else ""
        lines.append(f"{number}. {taken.at}: `{taken.command}`{quick}")
        lines.append(f"    - {found.get('cores')} cores of {found.get('cpu')}{size}, {found.get('system')}")
        lines.append(f"    - {versions}")
    return "\n".join(lines) + "\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> str:
    """The first columns are text, the others are figures."""
    marks = ["---"] * texts + ["---:"] * (len(headings) - texts)
    return "\n".join("| " + " | ".join(row) + " |" for row in (headings, marks, *map(_unbroken, rows))) + "\n"


def _unbroken(row: Sequence[str]) -> list[str]:
    """With hyphens in ratios at which no line ends."""
    return [row[0], *(cell.replace("-", "\N{NON-BREAKING HYPHEN}") if "(" in cell else cell for cell in row[1:])]


def _short(values: Spread | None) -> str:
    return "-" if values is None else short(values.median)


def _pair(comparison: Comparison) -> str:
    """Odradek's and Apache Kafka's medians."""
    if comparison.subject is None and comparison.reference is None:
        return "-"
    return f"{_short(comparison.subject)} / {_short(comparison.reference)}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--docs", type=click.Path(path_type=Path, file_okay=False), default=DOCS, help="Where to write.")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if something else is there.")
def main(paths: tuple[Path, ...], docs: Path, check: bool) -> None:
    """Write the page of results and its plots."""
    try:
        figures = reduce(
            lambda older, newer: merged(older, newer, NAMES), [read(path) for path in paths or (docs / FIGURES_FILE,)]
        )
    except (UnreadableFigures, OSError) as error:
        raise click.ClickException(str(error)) from error
    if not check:
        write(figures, docs)
        return
    stale = [str(name) for name, text in files(figures).items() if not is_written(docs / name, text)]
    if stale:
        click.echo(f"not what the figures say: {', '.join(stale)}; run python -m benchmarks.page", err=True)
        sys.exit(1)


def is_written(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    main()
