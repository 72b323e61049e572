from __future__ import annotations

import dataclasses

import pytest

from benchmarks.goals import verdicts
from benchmarks.page import page
from benchmarks.stats import Spread
from benchmarks.workloads.base import Goal
from tests.unit.benchmarks.samples import CONSUMER, SAMPLE, STALLED, TAKEN, entry, figures, run


def test_each_wish_is_judged_by_its_median() -> None:
    rate, cpu = verdicts(figures(CONSUMER))
    assert (rate.what, rate.bound, rate.measured, rate.is_met) == ("records/s", "≥ 1.2", Spread(2.5, 2.0, 3.0), True)
    assert (cpu.bound, cpu.measured, cpu.is_met) == ("≤ 0.3", Spread(0.5, 0.25, 0.75), False)


def test_a_bound_that_is_just_reached_is_met() -> None:
    runs = {"odradek": [run(12.0, 3.0)], "apache": [run(10.0, 10.0)]}
    exact = entry("exact", runs, goal=Goal(records_per_s_at_least=1.2, cpu_at_most=0.3))
    assert [each.is_met for each in verdicts(figures(exact))] == [True, True]


def test_the_start_is_judged_too() -> None:
    start = verdicts(SAMPLE)[0]
    assert (start.what, start.bound) == ("time", "≤ 0.1")
    assert start.measured is not None
    assert start.measured.median == pytest.approx(0.15)
    assert start.is_met is False


def test_the_limit_is_measured_by_the_same_measure() -> None:
    rate, cpu = verdicts(figures(CONSUMER))
    assert rate.limit == Spread(5.0, 4.0, 6.0)
    assert cpu.limit == Spread(0.09375, 0.0625, 0.125)
    assert verdicts(SAMPLE)[0].limit is None
    assert [each.is_met_by_limit for each in verdicts(SAMPLE)] == [None, True, True]
    slow = entry("slow", {**CONSUMER.runs, "limit": [run(90_000.0, 2.0), run(100_000.0, 2.0)]}, goal=CONSUMER.goal)
    assert [each.is_met_by_limit for each in verdicts(figures(slow))] == [False, False]
    assert "the bare machine does not reach 1 either" in page(figures(slow))


def test_latency_and_memory_are_ratios() -> None:
    runs = {"odradek": [run(1.0, p99_ms=3.0, peak_bytes=10)], "apache": [run(1.0, p99_ms=4.0, peak_bytes=200)]}
    latency, memory = verdicts(figures(entry("held", runs, goal=Goal(p99_at_most=1.0, memory_at_most=0.1))))
    assert (latency.measured, latency.is_met) == (Spread(0.75, 0.75, 0.75), True)
    assert (memory.measured, memory.is_met) == (Spread(0.05, 0.05, 0.05), True)


def test_bytes_of_a_connection_and_growth_need_no_other_broker() -> None:
    runs = {"odradek": [run(1.0, bytes_per_connection=26_000.0, series=(9, 100, 5, 104))]}
    goal = Goal(bytes_per_connection_at_most=25_000, resident_growth_at_most=1.05)
    connection, growth = verdicts(figures(entry("held", runs, goal=goal)))
    assert (connection.bound, connection.is_met) == ("≤ 25,000 bytes", False)
    assert (growth.measured, growth.is_met) == (Spread(1.04, 1.04, 1.04), True)


def test_a_producer_beside_heavy_work_is_compared_with_itself() -> None:
    (quiet,) = verdicts(figures(STALLED))
    assert (quiet.what, quiet.bound) == ("p99 beside it by the quiet one", "≤ 2")
    assert (quiet.measured, quiet.is_met) == (Spread(2.5, 2.0, 3.0), False)


def test_without_the_other_broker_nobody_knows() -> None:
    alone = entry("alone", {"odradek": [run(1.0)]}, goal=Goal(records_per_s_at_least=1.2))
    (rate,) = verdicts(figures(alone))
    assert (rate.measured, rate.is_met) == (None, None)


def test_a_workload_beside_another_one_is_compared_round_by_round() -> None:
    plain = entry("plain", {"odradek": [run(100.0), run(50.0), run(80.0)]})
    goal = Goal(beside="plain", records_per_s_beside_at_least=0.95)
    sequenced = entry("sequenced", {"odradek": [run(96.0), run(49.0), run(60.0)]}, goal=goal)
    (beside,) = verdicts(figures(plain, sequenced))
    assert beside.measured == Spread(0.96, 0.75, 0.98)
    assert beside.is_met is True
    assert verdicts(figures(sequenced))[0].is_met is None


def test_rounds_of_different_runs_do_not_pair() -> None:
    plain = entry(
        "plain", {"odradek": [run(100.0), run(200.0)]}, taken=dataclasses.replace(TAKEN, at="2026-01-03 00:00 UTC")
    )
    goal = Goal(beside="plain", records_per_s_beside_at_least=0.95)
    (beside,) = verdicts(figures(plain, entry("sequenced", {"odradek": [run(150.0), run(90.0)]}, goal=goal)))
    assert beside.measured == Spread(0.8, 0.8, 0.8)
