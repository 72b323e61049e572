from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.cluster.__main__ import main
from benchmarks.cluster.failover import CONTROLLER, DEFAULT, LEADER, Failover
from benchmarks.cluster.measuring import NAMES, Memory, Plan, Produced, Results
from benchmarks.cluster.nodes import KINDS
from benchmarks.cluster.tables import as_json, figures, print_report
from benchmarks.report import MIB
from benchmarks.stats import Spread

PLAN = Plan(NAMES, rounds=2, failover_rounds=2, records=1_000_000, idle_s=1.0)


def results() -> Results:
    return Results(
        produced={
            "odradek": [
                Produced(1_000_000, 300_000.0, 2.0, 10.0, 20.0),
                Produced(1_000_000, 500_000.0, 4.0, None, None),
            ],
            "apache": [
                Produced(1_000_000, 100_000.0, 8.0, 10.0, 20.0),
                Produced(1_000_000, 250_000.0, 8.0, 10.0, 20.0),
            ],
        },
        idle={"odradek": Memory(100 * MIB, 0, 110 * MIB), "apache": Memory(1000 * MIB, 900 * MIB, 1100 * MIB)},
        failovers={
            (DEFAULT, LEADER): {
                "odradek": [Failover(8.0, 1.0), Failover(9.0, 1.0)],
                "apache": [Failover(10.0, 2.0), Failover(9.0, 2.0)],
            },
            (DEFAULT, CONTROLLER): {"odradek": [], "apache": []},
        },
        failures=["no write was acknowledged within 90 s"],
    )


def test_ratios_are_taken_in_each_round() -> None:
    found = figures(results(), KINDS)
    assert found["producer.records_per_s"][2].ratio == Spread(2.5, 2.0, 3.0)
    assert found["producer.nodes_cpu_s_per_million_records"][2].ratio == Spread(0.375, 0.25, 0.5)
    assert found["producer.p99_ms"][2].ratio == Spread(1.0, 1.0, 1.0)
    assert found["failover.default.leader.first_ack_s"][2].ratio == Spread(0.9, 0.8, 1.0)
    assert found["failover.default.leader.in_sync_s"][2].subject == Spread(1.0, 1.0, 1.0)


def test_what_was_not_measured_on_both_is_no_figure() -> None:
    found = figures(results(), KINDS)
    assert found["memory.idle.resident_bytes"][2].ratio == Spread(0.1, 0.1, 0.1)
    assert not any(
        name.startswith(("memory.idle.proportional", "memory.after", "failover.default.contr")) for name in found
    )
    assert figures(Results(produced={"odradek": [], "apache": []}), KINDS) == {}


def test_the_table_shows_medians_ratios_and_failures() -> None:
    output = io.StringIO()
    print_report(Console(file=output, width=170), PLAN, results(), KINDS)
    lines = output.getvalue().splitlines()
    (rate,) = [line for line in lines if "records/s" in line]
    assert [cell.strip() for cell in rate.split("│")[2:5]] == ["400,000", "175,000", "2.50 (2.00-3.00)"]
    assert "failed: no write was acknowledged within 90 s" in lines


def test_the_json_holds_figures_and_every_run() -> None:
    written = json.loads(json.dumps(as_json(PLAN, results(), KINDS)))
    assert written["figures"]["failover.default.leader.first_ack_s"]["ratio"] == {
        "median": 0.9,
        "low": 0.8,
        "high": 1.0,
    }
    assert [run["nodes_cpu_s"] for run in written["runs"]["producer"]["odradek"]] == [2.0, 4.0]
    assert [run["first_ack_s"] for run in written["runs"]["failover"]["default.leader"]["apache"]] == [10.0, 9.0]
    assert written["timeouts"]["short"]["broker.session.timeout.ms"] == "2000"


def test_without_java_it_says_so_and_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["--quick"])
    assert done.exit_code == 0
    assert done.output.startswith("skipped: ")
