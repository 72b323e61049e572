"""Figures as they are kept: what was run, where and when, with every run, as JSON that can be merged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

from benchmarks.runner import LIMIT, Results, Run
from benchmarks.stats import Spread, ratios, spread
from benchmarks.workloads.base import GROUPS, Goal, Workload

ODRADEK, APACHE = "odradek", "apache"
Figure = Callable[[Run], float | None]

FIGURES: dict[str, Figure] = {
    "records_per_s": lambda run: run.records_per_s or None,
    "broker_cpu_s_per_million_records": lambda run: run.broker_cpu_s_per_million,
    "p50_ms": lambda run: run.p50_ms,
    "p99_ms": lambda run: run.p99_ms,
    "client_cpu_share": lambda run: run.client_cpu_s / run.wall_s or None,
    "peak_bytes": lambda run: run.peak_bytes or None,
    "bytes_per_connection": lambda run: run.bytes_per_connection,
    "resident_growth": lambda run: run.resident_growth,
    "resident_bytes": lambda run: run.resident_bytes or None,
    "duration_s": lambda run: run.duration_s,
    "restored_s": lambda run: run.restored_s,
    "quiet_p99_ms": lambda run: run.quiet_p99_ms,
    "p99_by_quiet": lambda run: run.p99_by_quiet,
}


class UnreadableFigures(Exception):
    """A file that was not written by this program, or by another version of it; the message names it."""


@dataclass(frozen=True)
class Comparison:
    """One figure of both sides over all rounds, and the ratio subject to reference taken round by round."""

    subject: Spread | None
    reference: Spread | None
    ratio: Spread | None


@dataclass(frozen=True)
class Taken:
    """How figures came to be. ``at`` is UTC, to the minute."""

    at: str
    command: str
    scale: str
    machine: Mapping[str, object]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """A workload with its runs by side, one per round, in order."""

    name: str
    title: str
    group: str
    goal: Goal | None
    taken: Taken
    runs: Mapping[str, Sequence[Run]]

    @property
    def rounds(self) -> int:
        return max((len(runs) for runs in self.runs.values()), default=0)

    def values(self, side: str, figure: str) -> list[float | None]:
        """One for each round; none where the side has no runs."""
        return [FIGURES[figure](run) for run in self.runs.get(side, ())]

    def compare(self, figure: str, reference: str = APACHE, subject: str = ODRADEK) -> Comparison:
        """Of two sides; without a ratio where one of them was not measured."""
        return compare(self.values(subject, figure), self.values(reference, figure))


@dataclass
class Figures:
    """All that is known. ``failures`` has a line for each workload whose last measurement failed."""

    titles: dict[str, str] = field(default_factory=dict)
    """Of the sides."""
    entries: dict[str, Entry] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def group(self, group: str) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.group == group]


def compare(subject: Sequence[float | None], reference: Sequence[float | None]) -> Comparison:
    """Raises ValueError where both were measured, in different numbers of rounds."""
    ratio = spread(ratios(subject, reference)) if subject and reference else None
    return Comparison(spread(subject), spread(reference), ratio)


def of_results(results: Results, workloads: Iterable[Workload], titles: Mapping[str, str], taken: Taken) -> Figures:
    """What one measurement came to; workloads without a whole round are left out."""
    found = Figures(titles=dict(titles), failures={key: first_line(text) for key, text in results.failures.items()})
    for workload in workloads:
        runs = results.runs.get(workload.name)
        if runs:
            kept = {side: list(each) for side, each in runs.items()}
            found.entries[workload.name] = Entry(
                workload.name, workload.title, workload.group, workload.goal, taken, kept
            )
    return found


def first_line(text: str) -> str:
    """The rest is for whoever watches: the end of a log, with the names of directories."""
    return text.partition("\n")[0].rstrip(":")


def merged(older: Figures, newer: Figures, order: Sequence[str]) -> Figures:
    """The newer figures, and those of the older ones that the newer lack, in the order of the names in ``order``."""
    entries = {**older.entries, **newer.entries}
    known = {name: place for place, name in enumerate(order)}
    names = sorted(entries, key=lambda name: (known.get(name, len(known)), name))
    failures = {key: text for key, text in older.failures.items() if key not in newer.entries}
    return Figures(
        titles={**older.titles, **newer.titles},
        entries={name: entries[name] for name in names},
        failures={**failures, **newer.failures},
    )


class _Entry(TypedDict):
    title: str
    group: str
    goal: dict[str, object] | None
    taken: int
    ratios: dict[str, dict[str, float]]
    runs: dict[str, list[dict[str, object]]]


class _Document(TypedDict):
    sides: dict[str, str]
    taken: list[dict[str, object]]
    workloads: dict[str, _Entry]
    failures: dict[str, str]


def to_json(figures: Figures) -> str:
    """Everything, with the ratios of Odradek to Apache Kafka for those who read it; units end the names."""
    taken: list[dict[str, object]] = []

    def place(each: Taken) -> int:
        kept = dataclasses.asdict(each)
        if kept not in taken:
            taken.append(kept)
        return taken.index(kept)

    workloads: dict[str, _Entry] = {}
    for name, entry in figures.entries.items():
        workloads[name] = {
            "title": entry.title,
            "group": entry.group,
            "goal": None if entry.goal is None else _given(dataclasses.asdict(entry.goal)),
            "taken": place(entry.taken),
            "ratios": _ratios(entry),
            "runs": {side: [_given(_rounded(run)) for run in runs] for side, runs in entry.runs.items()},
        }
    document: _Document = {
        "sides": figures.titles,
        "taken": taken,
        "workloads": workloads,
        "failures": figures.failures,
    }
    return json.dumps(document, indent=1) + "\n"


def from_json(text: str, name: str = "the figures") -> Figures:
    """What `to_json` wrote. Raises UnreadableFigures."""
    try:
        document = cast("_Document", json.loads(text))
        taken = [Taken(**cast("dict[str, str]", each)) for each in document["taken"]]  # type: ignore[arg-type]
        found = Figures(titles=document["sides"], failures=document["failures"])
        for key, entry in document["workloads"].items():
            goal = entry["goal"]
            found.entries[key] = Entry(
                name=key,
                title=entry["title"],
                group=entry["group"],
                goal=None if goal is None else Goal(**goal),  # type: ignore[arg-type]
                taken=taken[entry["taken"]],
                runs={side: [_run(run) for run in runs] for side, runs in entry["runs"].items()},
            )
            if entry["group"] not in GROUPS:
                raise UnreadableFigures(f"{name}: {key} is of a group {entry['group']}, which there is not")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UnreadableFigures(f"{name}: {error}") from error
    return found


def read(path: Path) -> Figures:
    """Raises UnreadableFigures, OSError."""
    return from_json(path.read_text(), path.name)


def _ratios(entry: Entry) -> dict[str, dict[str, float]]:
    found = {}
    for figure in FIGURES:
        ratio = entry.compare(figure).ratio
        if ratio is not None and figure != "client_cpu_share":
            found[figure] = {key: _round(value) for key, value in dataclasses.asdict(ratio).items()}
    for figure in ("records_per_s", "broker_cpu_s_per_million_records"):
        limit = entry.compare(figure, LIMIT).ratio
        if limit is not None:
            found[f"{figure}_by_limit"] = {key: _round(value) for key, value in dataclasses.asdict(limit).items()}
    return found


def _run(kept: Mapping[str, object]) -> Run:
    absent: dict[str, object] = {"p50_ms": None, "p99_ms": None}
    values = {
        **absent,
        **kept,
        "resident_series_bytes": tuple(cast("list[int]", kept.get("resident_series_bytes", ()))),
    }
    return Run(**values)  # type: ignore[arg-type]


def _rounded(run: Run) -> dict[str, object]:
    return {key: _round(value) if isinstance(value, float) else value for key, value in vars(run).items()}


def _given(values: Mapping[str, object]) -> dict[str, object]:
    """Without what is absent."""
    return {key: value for key, value in values.items() if value is not None and value != ()}


def _round(value: float) -> float:
    """Six digits: the rest is noise, and makes files large."""
    return float(f"{value:.6g}")
