from __future__ import annotations

import dataclasses
import json

import pytest

from benchmarks.figures import UnreadableFigures, compare, from_json, merged, of_results, to_json
from benchmarks.runner import Results
from benchmarks.stats import Spread
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONSUMING, TAILING, Described, Goal
from tests.support.process import BrokerProcess
from tests.unit.benchmarks.samples import CONSUMER, SAMPLE, START, TAKEN, entry, figures, run

LATER = dataclasses.replace(TAKEN, at="2026-01-03 00:00 UTC")


def test_ratios_are_taken_in_each_round() -> None:
    rate = CONSUMER.compare("records_per_s")
    assert rate.ratio == Spread(2.5, 2.0, 3.0)
    assert rate.subject == Spread(400_000.0, 300_000.0, 500_000.0)


def test_the_limit_is_another_side() -> None:
    assert CONSUMER.compare("records_per_s", "limit").ratio == Spread(0.5, 0.5, 0.5)
    assert CONSUMER.compare("broker_cpu_s_per_million_records", "limit").ratio == Spread(5.0, 4.0, 6.0)


def test_cpu_is_per_million_records() -> None:
    cpu = CONSUMER.compare("broker_cpu_s_per_million_records")
    assert cpu == compare([0.5, 1.5], [2.0, 2.0])
    assert cpu.ratio == Spread(0.5, 0.25, 0.75)


def test_a_side_that_was_not_measured_leaves_the_other() -> None:
    alone = entry("alone", {"odradek": [run(10.0)]}).compare("records_per_s")
    assert (alone.subject, alone.reference, alone.ratio) == (Spread(10.0, 10.0, 10.0), None, None)


def test_memory_grows_from_the_second_quarter_to_the_last() -> None:
    grown = run(1.0, series=(10, 999, 100, 100, 500, 500, 140, 160))
    assert grown.resident_growth == pytest.approx(300 / 200)
    assert run(1.0, series=(1, 2, 3)).resident_growth is None


def test_what_is_written_is_read_again() -> None:
    held = entry(
        "held",
        {"odradek": [run(1.5, p99_ms=2.5, peak_bytes=7, bytes_per_connection=20_000.0, series=(1, 2))]},
        goal=Goal(bytes_per_connection_at_most=25_000, beside="consumer", records_per_s_beside_at_least=0.95),
        taken=LATER,
    )
    sample = figures(START, CONSUMER, held, failures={"other": "on Odradek: [gone]"})
    assert from_json(to_json(sample)) == sample


def test_the_json_has_ratios_for_those_who_read_it() -> None:
    written = json.loads(to_json(SAMPLE))
    consumer = written["workloads"]["consumer"]
    assert consumer["ratios"]["records_per_s"] == {"median": 2.5, "low": 2.0, "high": 3.0}
    assert consumer["ratios"]["records_per_s_by_limit"]["median"] == 0.5
    assert consumer["ratios"]["broker_cpu_s_per_million_records_by_limit"]["median"] == 5.0
    assert "p99_ms" not in consumer["ratios"]
    assert [each["broker_cpu_s"] for each in consumer["runs"]["odradek"]] == [1.0, 3.0]
    assert written["taken"][consumer["taken"]]["command"] == "python -m benchmarks"


def test_the_same_circumstances_are_written_once() -> None:
    assert len(json.loads(to_json(SAMPLE))["taken"]) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        to_json(SAMPLE).replace('"consuming"', '"unheard-of"'),
        to_json(SAMPLE).replace('"taken": 0', '"taken": 7'),
    ],
)
def test_a_file_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFigures, match=r"some\.json"):
        from_json(text, "some.json")


def test_newer_figures_replace_older_ones_and_keep_the_others() -> None:
    again = dataclasses.replace(CONSUMER, runs={"odradek": [run(1.0)]}, taken=LATER)
    other = entry("tail", {"odradek": [run(2.0)]}, group=TAILING)
    found = merged(figures(other, CONSUMER), figures(again), ["consumer", "tail"])
    assert list(found.entries) == ["consumer", "tail"]
    assert found.entries["consumer"].taken == LATER
    assert found.entries["tail"] == other
    assert found.titles["apache"] == "Apache Kafka 4.4.0"


def test_an_older_failure_goes_once_the_workload_has_worked() -> None:
    older = figures(failures={"consumer": "on Odradek: gone", "tail": "on Odradek: gone"})
    newer = figures(CONSUMER, failures={"raw": "on limit: gone"})
    assert merged(older, newer, []).failures == {"tail": "on Odradek: gone", "raw": "on limit: gone"}


def test_a_failure_keeps_the_figures_from_before() -> None:
    found = merged(figures(CONSUMER), figures(failures={"consumer": "on Odradek: gone"}), [])
    assert found.entries == {"consumer": CONSUMER}
    assert found.failures == {"consumer": "on Odradek: gone"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Idle(Described):
    """A workload that is only described."""

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        raise NotImplementedError


def test_results_become_entries_where_a_round_was_whole() -> None:
    goal = Goal(cpu_at_most=0.5)
    one = Idle(name="one", title="One", group=CONSUMING, goal=goal)
    two = Idle(name="two", title="Two", group=TAILING)
    results = Results(
        runs={"one": {"odradek": [run(1.0)], "apache": [run(2.0)]}},
        failures={"two": "on Odradek: it ended\nits log ends:\n/somewhere/on/this/machine"},
    )
    found = of_results(results, [one, two], {"odradek": "Odradek"}, TAKEN)
    assert list(found.entries) == ["one"]
    assert found.entries["one"].goal == goal
    assert found.failures == {"two": "on Odradek: it ended"}
