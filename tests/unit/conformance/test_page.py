from __future__ import annotations

from collections import Counter
from pathlib import Path

from click.testing import CliRunner

from odradek.cli.conformance import conformance
from tests.conformance.page import render, table
from tests.conformance.results import Key, Outcome, Results, load, of_run, save

RESULTS: Results = {
    Key("protocol", "", "test_fetch", "odradek"): Outcome(3, [], Counter()),
    Key("java", "4.4.0", "test_clients", "apache"): Outcome(2, [], Counter()),
    Key("java", "4.4.0", "test_clients", "odradek"): Outcome(1, ["test_b[java]"], Counter({"no zstd": 2, "old": 1})),
}


def test_a_row_tells_what_passed_on_each_target_and_why_the_rest_did_not_run() -> None:
    lines = table(RESULTS).splitlines()
    assert lines[2:4] == [
        "| java 4.4.0 | clients | 1 of 2, 2 skipped (1), 1 skipped (2) | 2 of 2 |",
        "| protocol | fetch | 3 of 3 |  |",
    ]
    assert lines[5:] == ["1. no zstd", "2. old"]


def test_what_failed_is_named() -> None:
    assert "- Odradek, java 4.4.0: `test_clients`, `test_b[java]`\n" in render(RESULTS)
    passed = {key: outcome._replace(failed=[]) for key, outcome in RESULTS.items()}
    assert render(passed).endswith("## What failed\n\nNothing.\n")


def test_results_are_kept_as_they_are_in_one_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    save(RESULTS, first)
    save(dict(reversed(RESULTS.items())), second)
    assert first.read_bytes() == second.read_bytes()
    assert load(first) == RESULTS


def test_a_run_gets_its_target_and_the_versions_of_its_clients(tmp_path: Path) -> None:
    written = tmp_path / "results"
    written.write_text('[{"client": "java", "feature": "test_x", "passed": 1, "failed": [], "skipped": {}}]')
    found = of_run(written, "apache", {"java": "3.9.2"})
    assert found == {Key("java", "3.9.2", "test_x", "apache"): Outcome(1, [], Counter())}


def test_without_the_sources_the_command_says_what_to_do(tmp_path: Path) -> None:
    done = CliRunner().invoke(conformance, ["--suite", str(tmp_path)])
    assert done.exit_code == 2
    assert "clone them" in done.output
