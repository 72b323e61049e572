from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

import benchmarks.__main__
from benchmarks import brokers, procfs
from benchmarks.__main__ import chosen, command, main
from benchmarks.brokers import Side
from benchmarks.machine import java_version
from benchmarks.report import print_report
from benchmarks.runner import Plan, Results, in_turn
from benchmarks.workloads.base import FULL, GROUPS, QUICK, SINGLE_RECORDS
from benchmarks.workloads.catalogue import NAMES, workloads
from tests.unit.benchmarks.samples import SAMPLE, STALLED, figures, run

WORKLOADS = workloads(Path("libs"), QUICK)


def test_the_tables_show_medians_ratios_goals_and_failures() -> None:
    output = io.StringIO()
    print_report(Console(file=output, width=170), SAMPLE)
    lines = output.getvalue().splitlines()
    rate, _memory, wanted, _cpu = [line for line in lines if "ConsumerPerformance" in line]
    assert [cell.strip() for cell in rate.split("│")[2:6]] == [
        "400,000",
        "175,000",
        "2.50 (2.00-3.00)",
        "0.50 (0.50-0.50)",
    ]
    assert [cell.strip() for cell in wanted.split("│")[2:7]] == [
        "records/s",
        "≥ 1.2",
        "2.50 (2.00-3.00)",
        "met",
        "5.00",
    ]
    assert any("resident set, MiB: start" in line and "50.0" in line and "400.0" in line for line in lines)
    assert any("the first answer" in line and "0.350" in line and "2.500" in line for line in lines)
    assert "failed: raw-single: on Odradek: [gone]" in lines


def test_heavy_work_is_in_a_table_of_its_own() -> None:
    output = io.StringIO()
    print_report(Console(file=output, width=170), figures(STALLED))
    beside, _memory, _wanted = [line for line in output.getvalue().splitlines() if "compaction" in line]
    assert [cell.strip() for cell in beside.split("│")[2:8]] == [
        "0.50",
        "1.00",
        "2.50 (2.00-3.00)",
        "0.50",
        "3.00",
        "6.00 (4.00-8.00)",
    ]


def test_the_sides_take_turns_in_going_first() -> None:
    sides = (brokers.ODRADEK, brokers.APACHE)
    assert [in_turn(sides, number)[0].key for number in range(3)] == ["odradek", "apache", "odradek"]


def test_names_and_groups_choose() -> None:
    assert [each.name for each in chosen(WORKLOADS, ["consumer"], (), FULL)] == ["consumer"]
    assert {each.group for each in chosen(WORKLOADS, [SINGLE_RECORDS], (), FULL)} == {SINGLE_RECORDS}
    assert chosen(WORKLOADS, (), (), FULL) == WORKLOADS
    left = {each.name for each in WORKLOADS if each.group != SINGLE_RECORDS and each.name != "mixed"}
    assert {each.name for each in chosen(WORKLOADS, (), ["mixed", SINGLE_RECORDS], FULL)} == left
    assert all(each.quick for each in chosen(WORKLOADS, (), (), QUICK))


def test_every_workload_has_a_name_of_its_own_and_a_group() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert {each.group for each in WORKLOADS} <= set(GROUPS)
    assert not set(NAMES) & set(GROUPS)


def test_goals_beside_another_workload_name_one() -> None:
    named = {each.goal.beside for each in WORKLOADS if each.goal is not None and each.goal.beside is not None}
    assert named <= set(NAMES)


@pytest.mark.parametrize(("ending", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
@pytest.mark.skipif(not procfs.available(), reason="no /proc here")
def test_who_ends_it_early_has_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: BaseException, code: int
) -> None:
    def measure(
        _plan: Plan,
        _sides: Sequence[Side],
        _directory: Path,
        say: Callable[[str], None],
        results: Results,
        after_step: Callable[[], None],
    ) -> None:
        say("1 of 2")
        results.runs["raw-single"] = {"odradek": [run(1.0)]}
        after_step()
        assert "raw-single" in (tmp_path / "figures.json").read_text()
        raise ending

    monkeypatch.setattr(benchmarks.__main__, "measure", measure)
    monkeypatch.setattr(benchmarks.__main__, "leave_on_sigterm", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["--json", str(tmp_path / "figures.json"), "--page", str(tmp_path / "docs")])
    assert done.exit_code == code
    assert "raw, 5 in flight, 1 record each" in done.output
    assert (tmp_path / "docs" / "performance" / "single-records.svg").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["docs", "figures.json"]


def test_the_command_is_told_without_files() -> None:
    assert command(3, QUICK, ["consumer"]) == "python -m benchmarks --quick --rounds 3 --only consumer"
    assert command(None, FULL, []) == "python -m benchmarks"
    assert command(None, FULL, [], ["mixed"]) == "python -m benchmarks --without mixed"


def test_the_list_names_all() -> None:
    lines = CliRunner().invoke(main, ["--list"]).output.splitlines()
    assert [line.split()[1] for line in lines] == list(NAMES) or not procfs.available()


def test_without_proc_it_says_so_and_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(procfs, "PROC", tmp_path)
    done = CliRunner().invoke(main, ["--quick"])
    assert done.exit_code == 0
    assert done.output.startswith("skipped: ")


def test_without_java_there_is_nothing_to_compare_apache_kafka_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["--quick", "--noise-floor"])
    assert done.exit_code == (1 if procfs.available() else 0)
    assert "java" in done.output or not procfs.available()


def test_machines_java_is_found_in_what_it_says() -> None:
    assert java_version('openjdk version "17.0.9" 2023-10-17\nOpenJDK Runtime') == "17.0.9"
    assert java_version(None) is None
