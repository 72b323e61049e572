"""What the issue wants, beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.figures import APACHE, ODRADEK, Entry, Figures
from benchmarks.runner import LIMIT
from benchmarks.stats import Spread, ratios, spread
from benchmarks.workloads.base import Goal


@dataclass(frozen=True)
class Verdict:
    """One wish. ``measured`` is a ratio, or bytes; None where it was not measured. The median decides.

    ``limit`` is the same ratio of what the bare machine does, where it was measured.
    """

    workload: str
    what: str
    wanted: float
    is_lower_bound: bool
    measured: Spread | None
    unit: str = ""
    limit: Spread | None = None

    @property
    def is_met(self) -> bool | None:
        """None where nobody knows."""
        return self._reaches(self.measured)

    @property
    def is_met_by_limit(self) -> bool | None:
        """Whether the bare machine would do; None where nobody knows."""
        return self._reaches(self.limit)

    def _reaches(self, found: Spread | None) -> bool | None:
        if found is None:
            return None
        return found.median >= self.wanted if self.is_lower_bound else found.median <= self.wanted

    @property
    def bound(self) -> str:
        return f"{'≥' if self.is_lower_bound else '≤'} {self.wanted:,g}{self.unit}"


def verdicts(figures: Figures) -> list[Verdict]:
    """All wishes of what was measured, in order."""
    found = []
    for entry in figures.entries.values():
        if entry.goal is not None:
            found += _of_entry(entry, entry.goal, figures)
    return found


def _of_entry(entry: Entry, goal: Goal, figures: Figures) -> list[Verdict]:
    found = []
    for what, wanted, is_lower_bound, figure in (
        ("records/s", goal.records_per_s_at_least, True, "records_per_s"),
        ("broker CPU per record", goal.cpu_at_most, False, "broker_cpu_s_per_million_records"),
        ("p99", goal.p99_at_most, False, "p99_ms"),
        ("peak memory", goal.memory_at_most, False, "peak_bytes"),
        ("time", goal.duration_at_most, False, "duration_s"),
    ):
        if wanted is not None:
            limit = entry.compare(figure, APACHE, LIMIT).ratio
            found.append(Verdict(entry.title, what, wanted, is_lower_bound, entry.compare(figure).ratio, limit=limit))
    if goal.bytes_per_connection_at_most is not None:
        measured = spread(entry.values(ODRADEK, "bytes_per_connection"))
        found.append(
            Verdict(entry.title, "memory per connection", goal.bytes_per_connection_at_most, False, measured, " bytes")
        )
    if goal.resident_growth_at_most is not None:
        measured = spread(entry.values(ODRADEK, "resident_growth"))
        found.append(Verdict(entry.title, "memory, late by early", goal.resident_growth_at_most, False, measured))
    if goal.p99_by_quiet_at_most is not None:
        measured = spread(entry.values(ODRADEK, "p99_by_quiet"))
        found.append(Verdict(entry.title, "p99 beside it by the quiet one", goal.p99_by_quiet_at_most, False, measured))
    if goal.beside is not None and goal.records_per_s_beside_at_least is not None:
        other = figures.entries.get(goal.beside)
        name = other.title if other is not None else goal.beside
        found.append(
            Verdict(
                entry.title,
                f"records/s by those of “{name}”",
                goal.records_per_s_beside_at_least,
                True,
                None if other is None else _beside(entry, other),
            )
        )
    return found


def _beside(entry: Entry, other: Entry) -> Spread | None:
    """Round by round where both were run in the same rounds, else the ratio of the medians."""
    ours, theirs = entry.values(ODRADEK, "records_per_s"), other.values(ODRADEK, "records_per_s")
    if len(ours) == len(theirs) and entry.taken == other.taken:
        return spread(ratios(ours, theirs))
    mine, its = spread(ours), spread(theirs)
    if mine is None or its is None:
        return None
    return spread([mine.median / its.median])
