from __future__ import annotations

import dataclasses
from pathlib import Path

from click.testing import CliRunner

from benchmarks.figures import to_json
from benchmarks.page import DOCS, FIGURES_FILE, PAGE, files, main, page
from benchmarks.workloads.base import FAILOVER, TAILING
from tests.unit.benchmarks.samples import CONSUMER, SAMPLE, STALLED, START, TAKEN, entry, figures, run, started


def row(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_goals_are_listed_with_what_came_of_them() -> None:
    text = page(figures(CONSUMER))
    assert "Of 2 goals 1 are met; the median decides. Of the others, the bare machine does not reach 0 either." in text
    assert [row(line, "ConsumerPerformance")[1:] for line in text.splitlines() if "| ≥ 1.2 |" in line] == [
        ["records/s", "≥ 1.2", "2.50 (2.00\N{NON-BREAKING HYPHEN}3.00)", "met", "5.00"]
    ]
    assert "| ≤ 0.3 | 0.50 (0.25\N{NON-BREAKING HYPHEN}0.75) | **missed** | 0.09 |" in text


def test_what_takes_its_time_has_a_table_of_its_own() -> None:
    ends = entry(
        "failover-leader",
        {"odradek": [started(8.0, 50, 1.0)], "apache": [started(10.0, 500, 4.0)]},
        group=FAILOVER,
        title="kill -9",
    )
    text = page(figures(START, ends)).partition("## Starting")[2]
    assert row(text, "start to the first answer")[1:4] == [
        "0.35",
        "2.50",
        "0.15 (0.10\N{NON-BREAKING HYPHEN}0.20)",
    ]
    assert row(text, "kill -9")[1:7:3] == ["8.00", "1.00"]
    assert row(text, "kill -9")[3:7:3] == [
        "0.80 (0.80\N{NON-BREAKING HYPHEN}0.80)",
        "0.25 (0.25\N{NON-BREAKING HYPHEN}0.25)",
    ]


def test_heavy_work_has_a_table_of_both_p99_of_each_broker() -> None:
    text = page(figures(dataclasses.replace(STALLED, goal=None)))
    assert row(text, "compaction") == [
        "compaction",
        "0.50",
        "1.00",
        "2.50 (2.00\N{NON-BREAKING HYPHEN}3.00)",
        "0.50",
        "3.00",
        "6.00 (4.00\N{NON-BREAKING HYPHEN}8.00)",
        "3",
    ]
    assert '--8<-- "docs/performance/stalls.svg"' in text


def test_a_group_has_its_plot_and_a_row_for_each_workload() -> None:
    text = page(figures(dataclasses.replace(CONSUMER, goal=None)))
    assert '--8<-- "docs/performance/consuming.svg"' in text
    assert row(text, "ConsumerPerformance")[1:8] == [
        "400 k",
        "175 k",
        "2.50 (2.00\N{NON-BREAKING HYPHEN}3.00)",
        "0.50 (0.50\N{NON-BREAKING HYPHEN}0.50)",
        "1.00 / 2.00",
        "0.50 (0.25\N{NON-BREAKING HYPHEN}0.75)",
        "5.00",
    ]
    assert "Reading at the end" not in text


def test_failures_and_circumstances_are_told() -> None:
    text = page(SAMPLE)
    assert "- `raw-single`: on Odradek: [gone]" in text
    assert "1. 2026-01-02 03:04 UTC: `python -m benchmarks`" in text
    assert "2 cores of a processor, 8 GiB, Linux" in text
    assert "Odradek 1.0, Apache Kafka 4.4.0" in text


def test_figures_of_several_runs_say_which() -> None:
    later = dataclasses.replace(TAKEN, at="2026-01-03 00:00 UTC")
    tail = entry("tail", {"odradek": [run(2.0)]}, group=TAILING, taken=later)
    text = page(figures(dataclasses.replace(CONSUMER, goal=None), tail))
    assert row(text, "ConsumerPerformance")[-1] == "1"
    assert row(text, "tail")[-1] == "2"


def test_the_files_are_written_and_checked(tmp_path: Path) -> None:
    source = tmp_path / "one.json"
    source.write_text(to_json(SAMPLE))
    docs = tmp_path / "docs"
    stray = docs / "performance" / "tailing.svg"
    stray.parent.mkdir(parents=True)
    stray.write_text("of figures that are no more")
    invoke = CliRunner().invoke
    assert invoke(main, [str(source), "--docs", str(docs), "--check"]).exit_code == 1
    assert invoke(main, [str(source), "--docs", str(docs)]).exit_code == 0
    assert sorted(each.name for each in (docs / "performance").iterdir()) == [
        "consuming.svg",
        "figures.json",
        "starting.svg",
    ]
    assert invoke(main, ["--docs", str(docs), "--check"]).exit_code == 0
    (docs / PAGE).write_text("edited")
    assert PAGE.name in invoke(main, ["--docs", str(docs), "--check"]).output


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text("{}")
    done = CliRunner().invoke(main, [str(tmp_path / "some.json"), "--docs", str(tmp_path)])
    assert done.exit_code == 1
    assert "some.json" in done.output


def test_the_guides_page_is_what_its_figures_say() -> None:
    done = CliRunner().invoke(main, ["--check"])
    assert done.exit_code == 0, done.output
    assert (DOCS / FIGURES_FILE).exists()
    assert files(SAMPLE)
