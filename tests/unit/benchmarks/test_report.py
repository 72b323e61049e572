from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import brokers, procfs
from benchmarks.__main__ import main
from benchmarks.report import as_json, compare, comparisons, print_report
from benchmarks.runner import Plan, Results, Run, in_turn
from benchmarks.stats import Spread
from benchmarks.workloads.base import QUICK
from benchmarks.workloads.catalogue import workloads

SIDES = (brokers.ODRADEK, brokers.APACHE)
WORKLOADS = workloads(Path("libs"), QUICK)
PLAN = Plan(workloads=WORKLOADS, scale=QUICK, rounds=2, time_limit_s=1.0, measures_starts=True)
needs_proc = pytest.mark.skipif(not procfs.available(), reason="no /proc here")


def run(records_per_s: float, broker_cpu_s: float, p99_ms: float | None = None) -> Run:
    return Run(2_000_000, records_per_s, broker_cpu_s, 1.0, 2.0, 1 << 20, p99_ms, p99_ms)


def results() -> Results:
    runs: dict[str, dict[str, list[Run]]] = {workload.name: {side.key: [] for side in SIDES} for workload in WORKLOADS}
    runs["consumer"] = {
        "odradek": [run(300_000.0, 1.0), run(500_000.0, 3.0)],
        "apache": [run(100_000.0, 4.0), run(250_000.0, 4.0)],
    }
    return Results(
        ready_s={"odradek": [0.3, 0.4], "apache": [3.0, 2.0]},
        idle_bytes={"odradek": 50 << 20, "apache": 400 << 20},
        peak_bytes={"odradek": 60 << 20, "apache": 600 << 20},
        runs=runs,
        failures=["raw-single on Odradek: [gone]"],
        rounds=2,
    )


def test_ratios_are_taken_in_each_round() -> None:
    figures = comparisons(results(), WORKLOADS[2], SIDES)
    assert figures["records_per_s"].ratio == Spread(2.5, 2.0, 3.0)
    assert figures["records_per_s"].subject == Spread(400_000.0, 300_000.0, 500_000.0)


def test_cpu_is_per_million_records() -> None:
    cpu = comparisons(results(), WORKLOADS[2], SIDES)["broker_cpu_s_per_million_records"]
    assert cpu == compare([0.5, 1.5], [2.0, 2.0])
    assert cpu.ratio == Spread(0.5, 0.25, 0.75)


@needs_proc
def test_the_json_holds_figures_and_every_run() -> None:
    written = json.loads(json.dumps(as_json(PLAN, results(), SIDES)))
    consumer = written["workloads"]["consumer"]
    assert consumer["figures"]["records_per_s"]["ratio"] == {"median": 2.5, "low": 2.0, "high": 3.0}
    assert consumer["figures"]["p99_ms"]["ratio"] is None
    assert [entry["broker_cpu_s"] for entry in consumer["runs"]["odradek"]] == [1.0, 3.0]
    assert written["start"]["idle_resident_bytes"]["odradek"] == 50 << 20
    assert written["failures"] == ["raw-single on Odradek: [gone]"]


def test_the_tables_show_medians_ratios_and_failures() -> None:
    output = io.StringIO()
    print_report(Console(file=output, width=140), PLAN, results(), SIDES)
    lines = output.getvalue().splitlines()
    (consumer,) = [line for line in lines if "ConsumerPerformance" in line]
    assert [cell.strip() for cell in consumer.split("│")[2:5]] == ["400,000", "175,000", "2.50 (2.00-3.00)"]
    assert any("before any client, MiB" in line and "50.0" in line and "400.0" in line for line in lines)
    assert "failed: raw-single on Odradek: [gone]" in lines
    assert not any("ProducerPerformance" in line for line in lines)


def test_the_sides_take_turns_in_going_first() -> None:
    assert [in_turn(SIDES, number)[0].key for number in range(3)] == ["odradek", "apache", "odradek"]


def test_without_java_it_says_so_and_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["--quick"])
    assert done.exit_code == 0
    assert done.output.startswith("skipped: ")
    assert not procfs.available() or "java" in done.output
