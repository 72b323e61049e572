from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import brokers, runner
from benchmarks.brokers import Side
from benchmarks.runner import Plan, Results, measure
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONSUMING, QUICK, ClientFailed, Described, Workload
from tests.support.process import BrokerFailed, BrokerProcess

SIDES = (brokers.ODRADEK, brokers.APACHE)


class Still:
    """Stands where brokers would: no process, but CPU time and records as a workload leaves them."""

    def __init__(self, title: str, events: list[str]) -> None:
        self.title = title
        self.events = events
        self.broker = self
        self.running = True
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
        self.running = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work(Described):
    """Uses two CPU seconds of a broker for ten records, and then does what it is told to."""

    then: Callable[[Still], None] = lambda still: None
    has_limit: bool = False

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        assert isinstance(broker, Still)
        broker.used_s += 2.0
        broker.stored += 10
        broker.events.append(f"{self.name} on {broker.title}")
        self.then(broker)
        return ToolResult(10, 100.0, 1.0, 2.0)

    def limit(self, directory: Path) -> ToolResult | None:
        assert list(directory.iterdir()) == []
        return ToolResult(10, 400.0) if self.has_limit else None


@dataclasses.dataclass
class Measured:
    """A measurement without processes, and what happened in it."""

    results: Results
    events: list[str]
    said: list[str]
    rounds_kept: int


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Measured]:
    def run(*workloads: Workload, rounds: int = 2, time_limit_s: float = 60.0) -> Measured:
        events: list[str] = []
        said: list[str] = []
        kept: list[int] = []

        @contextmanager
        def stand(side: Side, nodes: int, _directory: Path) -> Iterator[Still]:
            if nodes == 3:
                raise BrokerFailed("three are too many here")
            yield Still(side.key, events)

        monkeypatch.setattr(runner, "stand", stand)
        plan = Plan(workloads, QUICK, rounds, time_limit_s, measures_starts=False)
        results = measure(plan, SIDES, tmp_path, said.append, lambda found: kept.append(found.rounds))
        return Measured(results, events, said, len(kept))

    return run


def work(
    name: str = "work",
    *,
    then: Callable[[Still], None] = lambda still: None,
    has_limit: bool = False,
    partitions: int = 1,
    nodes: int = 1,
    rounds_at_most: int | None = None,
) -> Work:
    return Work(
        name=name,
        title=name,
        group=CONSUMING,
        then=then,
        has_limit=has_limit,
        partitions=partitions,
        nodes=nodes,
        rounds_at_most=rounds_at_most,
    )


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
    assert found.results.rounds == 2


def test_a_run_has_what_the_broker_used_while_it_lasted(measured: Callable[..., Measured]) -> None:
    run = measured(work()).results.runs["work"]["odradek"][0]
    assert (run.broker_cpu_s, run.resident_bytes, run.peak_bytes) == (2.0, 5, 7)
    assert run.broker_cpu_s_per_million == 200_000.0


def test_the_limit_is_measured_once_a_round(measured: Callable[..., Measured]) -> None:
    runs = measured(work(has_limit=True)).results.runs["work"]
    assert [run.records_per_s for run in runs["limit"]] == [400.0, 400.0]
    assert len(runs["odradek"]) == 2


def test_every_run_has_a_topic_of_its_own_and_a_peak_of_its_own(measured: Callable[..., Measured]) -> None:
    events = measured(work(partitions=3)).events
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
    found = measured(work("bad", then=fail_on("apache", error)), work("good"))
    assert found.results.failures == {"bad": reason}
    assert "bad" not in found.results.runs
    assert len(found.results.runs["good"]["odradek"]) == 2
    assert any(text.startswith("failed: bad") for text in found.said)


def lose_one(still: Still) -> None:
    still.stored -= 1


def test_records_that_are_not_in_the_log_are_a_failure(measured: Callable[..., Measured]) -> None:
    failures = measured(work(then=lose_one)).results.failures
    assert failures == {"work": "on odradek: 10 records were reported, and 9 are in the log"}


def test_a_reader_reports_what_nobody_stored(measured: Callable[..., Measured]) -> None:
    assert measured(dataclasses.replace(work(then=lose_one), keeps_what_it_reports=False)).results.failures == {}


def test_a_broker_that_ended_is_started_again(measured: Callable[..., Measured]) -> None:
    def die(still: Still) -> None:
        if still.title == "odradek":
            still.running = False
            raise ClientFailed("nobody answers")

    found = measured(work("deadly", then=die), work("good"))
    assert "revived odradek" in found.events
    assert any("its last words" in text for text in found.said)
    assert len(found.results.runs["good"]["odradek"]) == 2


def test_long_work_comes_last_and_once(measured: Callable[..., Measured]) -> None:
    found = measured(work("long", rounds_at_most=1), work("short"))
    order = [event.partition(" on ")[0] for event in found.events if " on " in event]
    assert order == ["short"] * 6 + ["long"] * 2
    assert len(found.results.runs["long"]["odradek"]) == 1


def test_no_round_begins_that_would_end_too_late(measured: Callable[..., Measured]) -> None:
    found = measured(work(), work("long", rounds_at_most=2), rounds=5, time_limit_s=0.0)
    assert len(found.results.runs["work"]["odradek"]) == 1
    assert len(found.results.runs["long"]["odradek"]) == 2


def test_figures_are_kept_after_each_round(measured: Callable[..., Measured]) -> None:
    assert measured(work(), rounds=3).rounds_kept >= 3


def test_nodes_that_do_not_start_cost_their_workloads_only(measured: Callable[..., Measured]) -> None:
    found = measured(work("three", nodes=3), work("one"))
    assert found.results.failures == {"three": "three are too many here"}
    assert len(found.results.runs["one"]["odradek"]) == 2
