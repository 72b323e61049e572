from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.progress import Agenda, Step, is_due, minutes, steps
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONSUMING, SINGLE, STOPPED, THREE, Described, Goal
from tests.support.process import BrokerProcess


class Work(Described):
    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        raise NotImplementedError

    def limit(self, directory: Path) -> ToolResult | None:
        raise NotImplementedError


def work(name: str, *, stand: str = SINGLE, at_most: int | None = None, warms_up: bool = True, s: float = 5.0) -> Work:
    return Work(
        name=name,
        title=name,
        group=CONSUMING,
        stand=stand,
        rounds_at_most=at_most,
        warms_up=warms_up,
        expected_s=s,
    )


def names(found: list[Step]) -> list[str]:
    return [f"{step.workload.name}{step.number}" for step in found]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_stands_follow_each_other_and_long_work_comes_last_in_each() -> None:
    found = steps([work("c", stand=THREE), work("l", at_most=1), work("a"), work("s", stand=STOPPED), work("b")], 2)
    assert names(found) == ["s0", "s1", "s2", "a0", "b0", "a1", "b1", "a2", "b2", "l0", "l1", "c0", "c1", "c2"]


def test_what_has_a_goal_comes_first_in_each_round() -> None:
    wanted = dataclasses.replace(work("w"), goal=Goal(p99_at_most=1.0))
    assert names(steps([work("a"), wanted, work("b")], 1)) == ["w0", "a0", "b0", "w1", "a1", "b1"]


def test_fewer_rounds_and_no_warm_up_where_the_workload_says_so() -> None:
    once = work("w", at_most=1, warms_up=False)
    assert [number for number in range(4) if is_due(once, number)] == [1]
    assert [number for number in range(4) if is_due(work("w", at_most=2), number)] == [0, 1, 2]
    assert [number for number in range(4) if is_due(work("w"), number)] == [0, 1, 2, 3]


def run_all(agenda: Agenda, clock: Clock, seconds: float, stands: tuple[str, ...] = (SINGLE,)) -> list[str]:
    taken = []
    for stand in stands:
        for step in agenda.begin(clock, stand):
            taken.append(step)
            clock.now_s += seconds
            agenda.note(step, seconds, 3)
    return names(taken)


def test_later_rounds_leave_the_time_for_first_ones() -> None:
    todo = steps([work("a"), work("c", stand=THREE)], 3)
    agenda, clock = Agenda(todo, 3, deadline_s=85.0), Clock()
    # What is needed for the figures of `c` is expected to take 30 s, and 20 s before it begins.
    assert run_all(agenda, clock, 10.0, (SINGLE, THREE)) == ["a0", "a1", "a2", "c0", "c1", "c2", "c3"]
    assert names(agenda.skipped) == ["a3"]


def test_what_would_end_too_late_does_not_begin_needed_or_not() -> None:
    agenda = Agenda(steps([work("long", s=30.0, at_most=1, warms_up=False), work("a")], 1), 3, deadline_s=80.0)
    assert run_all(agenda, Clock(), 1.0) == ["a0", "a1"]
    assert names(agenda.skipped) == ["long1"]


def test_the_time_that_is_left_is_that_of_the_last_run_of_each() -> None:
    agenda = Agenda(steps([work("a", s=5.0), work("b", s=2.0)], 1), 3, deadline_s=1000.0)
    assert agenda.left_s(0.0) == 2 * 15 + 2 * 6
    assert [agenda.left_s(now_s) for now_s in (990.0, 1010.0)] == [10.0, 0.0]
    first = agenda.begin(Clock(), SINGLE)
    step = next(first)
    assert agenda.place == 1
    agenda.note(step, 8.0, runs=2)
    next(first)
    assert agenda.left_s(0.0) == pytest.approx(6 + 12 + 6)
    assert (agenda.place, agenda.total) == (2, 4)


def test_a_workload_that_failed_is_not_begun_again() -> None:
    agenda = Agenda(steps([work("a"), work("b")], 2), 3, deadline_s=1000.0)
    taken = []
    for step in agenda.begin(Clock(), SINGLE):
        taken.append(step)
        if step.workload.name == "a":
            agenda.drop({"a"})
    assert names(taken) == ["a0", "b0", "b1", "b2"]
    assert agenda.skipped == []


def test_times_are_told_in_minutes() -> None:
    assert [minutes(30.4), minutes(125.0)] == ["30 s", "2 min"]
