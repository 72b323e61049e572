"""Which runs a measurement is made of, how far it is, and which of them there is time for; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.workloads.base import STANDS, Workload

MINUTE_S = 60.0
STAND_S = 20.0
"""About what it takes until brokers are there and gone again."""


@dataclass(frozen=True)
class Step:
    """One round of one workload, on all sides; number 0 warms up and does not count."""

    workload: Workload
    number: int

    @property
    def is_needed(self) -> bool:
        """Without it there would be no figure at all; later rounds make one better."""
        return self.number <= 1


def steps(workloads: Sequence[Workload], rounds: int) -> list[Step]:
    """All runs in order: stand by stand, what has as many rounds as there are first, and then round by round.

    What has a goal comes first in each round: it is the last to lack the time for one more.
    """
    found: list[Step] = []
    for stand in STANDS:
        here = sorted((each for each in workloads if each.stand == stand), key=lambda each: each.goal is None)
        few = [each for each in here if each.rounds_at_most is not None]
        for some in ([each for each in here if each not in few], few):
            for number in range(rounds + 1):
                found += [Step(each, number) for each in some if is_due(each, number)]
    return found


def is_due(workload: Workload, number: int) -> bool:
    """Whether a workload is part of round ``number``; 0 is the warm-up."""
    if number == 0:
        return workload.warms_up
    return workload.rounds_at_most is None or number <= workload.rounds_at_most


class Agenda:
    """The steps of a measurement that ends at `deadline_s`, on a clock that the caller reads."""

    def __init__(self, todo: Sequence[Step], runs_per_step: int, deadline_s: float) -> None:
        """``runs_per_step`` is how many sides there are, the limit included."""
        self.total = len(todo)
        self._todo = list(todo)
        self._runs_per_step = runs_per_step
        self._deadline_s = deadline_s
        self._known_s: dict[str, float] = {}
        self.skipped: list[Step] = []
        """What there was no time for."""

    def left_s(self, now_s: float) -> float:
        """About how long the rest takes, as far as there is time for it."""
        return min(sum(map(self._expected_s, self._todo)) + self._starts_s, max(0.0, self._deadline_s - now_s))

    def begin(self, now_s: Callable[[], float], stand: str) -> Iterator[Step]:
        """The steps of a stand that there is time for, one after the other."""
        for step in [each for each in self._todo if each.workload.stand == stand]:
            if step not in self._todo:
                continue
            if self._has_time(step, now_s()):
                yield step
            else:
                self.skipped.append(step)
            self._todo = [each for each in self._todo if each is not step]

    def note(self, step: Step, seconds: float, runs: int) -> None:
        """A step of so many runs has taken so long; the next of its kind will, too."""
        share = 1.0 if step.workload.together else self._runs_per_step / runs
        self._known_s[step.workload.name] = seconds * share

    def drop(self, names: Collection[str]) -> None:
        """Workloads that failed are not run again."""
        self._todo = [each for each in self._todo if each.workload.name not in names]

    @property
    def place(self) -> int:
        """Which of all steps the one is that was begun last, counted from 1."""
        return self.total - len(self._todo) + 1

    def _has_time(self, step: Step, now_s: float) -> bool:
        """A round that is not needed leaves the time for those that are, but for what is too long in any case."""
        expected_s = self._expected_s(step)
        if not step.is_needed:
            needed_s = [self._expected_s(each) for each in self._todo if each.is_needed]
            expected_s += sum(each_s for each_s in needed_s if now_s + each_s <= self._deadline_s) + self._starts_s
        return now_s + expected_s <= self._deadline_s

    @property
    def _starts_s(self) -> float:
        """What the stands take that come after the one that is there."""
        return STAND_S * max(0, len({step.workload.stand for step in self._todo}) - 1)

    def _expected_s(self, step: Step) -> float:
        known_s = self._known_s.get(step.workload.name)
        if known_s is not None:
            return known_s
        return step.workload.expected_s * (1 if step.workload.together else self._runs_per_step)


def minutes(seconds: float) -> str:
    """For people: how much time that is."""
    return f"{seconds:.0f} s" if seconds < MINUTE_S else f"{seconds / MINUTE_S:.0f} min"
