from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from benchmarks import brokers, runner
from benchmarks.brokers import Side
from benchmarks.runner import Plan, Results, measure
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONSUMING, THREE, ClientFailed, Described, Workload
from tests.support.process import BrokerFailed, BrokerProcess

RESULT = ToolResult(10, 100.0, 1.0, 2.0)
SIDES = (brokers.ODRADEK, brokers.APACHE)


class Still:
    """Stands where brokers would: no process, but CPU time and records as a workload leaves them."""

    def __init__(self, title: str, events: list[str]) -> None:
        self.title = title
        self.events = events
        self.broker = self
        self.is_fit = True
        self.used_s = 0.0
        self.stored = 0

    @contextmanager
    def topic(self, name: str, partitions: int) -> Iterator[None]:
        self.stored = 0
        yield
        self.events.append(f"deleted {name.rpartition('-')[0]} of {partitions}")

    def cpu_s(self) -> float:
        return self.used_s

    def resident_bytes(self) -> int:
        return 5

    def peak_resident_bytes(self) -> int:
        return 7

    def reset_peak(self) -> None:
        self.events.append("reset")

    def stored_records(self, topic: str, partitions: int) -> int:
        return self.stored

    def log_tail(self) -> str:
        return "its last words"

    def revive(self) -> None:
        self.events.append(f"revived {self.title}")
        self.is_fit = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work(Described):
    """Uses two CPU seconds of a broker for ten records, and then does what it is told to."""

    then: Callable[[Still], None] = lambda still: None
    has_limit: bool = False
    sides_meet: Barrier | None = None
    result: ToolResult = RESULT

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        assert isinstance(broker, Still)
        if self.sides_meet is not None:
            self.sides_meet.wait(20.0)
        broker.used_s += 2.0
        broker.stored += 10
        broker.events.append(f"{self.name} on {broker.title}")
        self.then(broker)
        return self.result

    def limit(self, directory: Path) -> ToolResult | None:
        assert list(directory.iterdir()) == []
        return ToolResult(10, 400.0) if self.has_limit else None


@dataclasses.dataclass
class Measured:
    """A measurement without processes, and what happened in it."""

    results: Results
    events: list[str]
    said: list[str]
    times_kept: int


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Measured]:
    def run(*workloads: Workload, rounds: int = 2, time_limit_s: float = 60.0) -> Measured:
        events: list[str] = []
        said: list[str] = []
        kept: list[int] = []

        @contextmanager
        def stand(side: Side, kind: str, _directory: Path) -> Iterator[Still]:
            if kind == THREE:
                raise BrokerFailed("three are too many here")
            yield Still(side.key, events)

        monkeypatch.setattr(runner, "stand", stand)
        results = Results()
        measure(Plan(workloads, rounds, time_limit_s), SIDES, tmp_path, said.append, results, lambda: kept.append(1))
        return Measured(results, events, said, len(kept))

    return run


def work(name: str = "work") -> Work:
    return Work(name=name, title=name, group=CONSUMING)


def fail_on(title: str, error: Exception) -> Callable[[Still], None]:
    def then(still: Still) -> None:
        if still.title == title:
            raise error

    return then


def test_rounds_alternate_and_the_warm_up_does_not_count(measured: Callable[..., Measured]) -> None:
    found = measured(work())
    assert [event for event in found.events if event.startswith("work")] == [
        "work on odradek",
        "work on apache",
        "work on apache",
        "work on odradek",
        "work on odradek",
        "work on apache",
    ]
    assert {key: len(runs) for key, runs in found.results.runs["work"].items()} == {"odradek": 2, "apache": 2}


def test_a_run_has_what_the_broker_used_while_it_lasted(measured: Callable[..., Measured]) -> None:
    run = measured(work()).results.runs["work"]["odradek"][0]
    assert (run.broker_cpu_s, run.resident_bytes, run.peak_bytes) == (2.0, 5, 7)
    assert run.broker_cpu_s_per_million == 200_000.0


def test_the_limit_is_measured_once_a_round(measured: Callable[..., Measured]) -> None:
    runs = measured(replace(work(), has_limit=True)).results.runs["work"]
    assert [run.records_per_s for run in runs["limit"]] == [400.0, 400.0]
    assert len(runs["odradek"]) == 2


def test_every_run_has_a_topic_of_its_own_and_a_peak_of_its_own(measured: Callable[..., Measured]) -> None:
    events = measured(replace(work(), partitions=3)).events
    assert events.count("deleted bench-work of 3") == events.count("reset") == 6


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ClientFailed("exit 1\nand more"), "on apache: exit 1\nand more"),
        (KeyError("records"), "on apache: KeyError: 'records'"),
        (OSError(), "on apache: OSError"),
    ],
)
def test_a_workload_that_fails_is_told_and_the_others_go_on(
    measured: Callable[..., Measured], error: Exception, reason: str
) -> None:
    found = measured(replace(work("bad"), then=fail_on("apache", error)), work("good"))
    assert found.results.failures == {"bad": reason}
    assert "bad" not in found.results.runs
    assert len(found.results.runs["good"]["odradek"]) == 2
    assert any(text.startswith("failed: bad") for text in found.said)


def lose_one(still: Still) -> None:
    still.stored -= 1


def test_records_that_are_not_in_the_log_are_a_failure(measured: Callable[..., Measured]) -> None:
    failures = measured(replace(work(), then=lose_one)).results.failures
    assert failures == {"work": "on odradek: 10 records were reported, and 9 are in the log"}


def test_a_reader_reports_what_nobody_stored(measured: Callable[..., Measured]) -> None:
    assert measured(replace(replace(work(), then=lose_one), keeps_what_it_reports=False)).results.failures == {}


def test_a_broker_that_ended_is_started_again(measured: Callable[..., Measured]) -> None:
    def die(still: Still) -> None:
        if still.title == "odradek":
            still.is_fit = False
            raise ClientFailed("nobody answers")

    found = measured(replace(work("deadly"), then=die), work("good"))
    assert "revived odradek" in found.events
    assert any("its last words" in text for text in found.said)
    assert len(found.results.runs["good"]["odradek"]) == 2


def test_long_work_comes_last_and_once(measured: Callable[..., Measured]) -> None:
    found = measured(replace(work("long"), rounds_at_most=1, warms_up=False), work("short"))
    order = [event.partition(" on ")[0] for event in found.events if " on " in event]
    assert order == ["short"] * 6 + ["long"] * 2
    assert len(found.results.runs["long"]["odradek"]) == 1


def test_without_time_nothing_begins_and_it_is_told(measured: Callable[..., Measured]) -> None:
    found = measured(work(), time_limit_s=0.0)
    assert found.results.runs == {}
    assert found.said == ["no time for round 1 of work", "no time for round 2 of work"]


def test_a_round_is_left_out_for_which_there_is_no_time(measured: Callable[..., Measured]) -> None:
    found = measured(replace(work("long"), expected_s=25.0, rounds_at_most=1, warms_up=False), work(), time_limit_s=70)
    assert "long" not in found.results.runs
    assert len(found.results.runs["work"]["odradek"]) == 2


def test_figures_are_kept_after_each_run(measured: Callable[..., Measured]) -> None:
    assert measured(work(), work("other"), rounds=3).times_kept == 6


def test_it_is_told_how_far_it_is(measured: Callable[..., Measured]) -> None:
    said = [text for text in measured(work(), work("other"), rounds=1, time_limit_s=600.0).said if " of " in text]
    assert [re.sub(r"\d+ \w+ left", "", text) for text in said] == [
        "1 of 4, : work, warm-up",
        "2 of 4, : other, warm-up",
        "3 of 4, : work, round 1 of 1",
        "4 of 4, : other, round 1 of 1",
    ]
    assert "1 min left" in said[0]


def test_nodes_that_do_not_start_cost_their_workloads_only(measured: Callable[..., Measured]) -> None:
    found = measured(replace(work("three"), stand=THREE), work("one"))
    assert found.results.failures == {"three": "three are too many here"}
    assert len(found.results.runs["one"]["odradek"]) == 2


def test_what_is_run_together_meets_on_all_sides(measured: Callable[..., Measured]) -> None:
    found = measured(replace(work(), together=True, sides_meet=Barrier(2)), rounds=1)
    assert {key: len(runs) for key, runs in found.results.runs["work"].items()} == {"odradek": 1, "apache": 1}
    assert found.results.runs["work"]["apache"][0].client_cpu_s == 0.0


def test_one_side_that_fails_is_a_failure_of_what_is_run_together(measured: Callable[..., Measured]) -> None:
    found = measured(replace(work(), together=True, then=fail_on("apache", ClientFailed("exit 1"))), work("good"))
    assert found.results.failures == {"work": "on apache: exit 1"}
    assert list(found.results.runs) == ["good"]


def test_a_workload_may_tell_itself_what_the_broker_used(measured: Callable[..., Measured]) -> None:
    told = ToolResult(1, 2.0, server_cpu_s=0.25, duration_s=0.5, restored_s=3.0, resident_bytes=9)
    run = measured(replace(work(), result=told)).results.runs["work"]["odradek"][0]
    assert (run.broker_cpu_s, run.duration_s, run.restored_s, run.resident_bytes) == (0.25, 0.5, 3.0, 9)
