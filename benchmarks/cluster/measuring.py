"""Rounds of paired runs on two clusters of three nodes, which run all the time and take turns in going first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from benchmarks import tools
from benchmarks.cluster import failover
from benchmarks.cluster.failover import DEFAULT, TIMEOUTS, VICTIMS, fail_over
from benchmarks.cluster.nodes import Kind, Nodes, running
from benchmarks.runner import FAILURES
from benchmarks.workloads.base import client
from tests.support.apache import Unavailable, tools_libs

PRODUCER, MEMORY, FAILOVER, FAILOVER_SHORT = "producer", "memory", "failover", "failover-short"
NAMES = (PRODUCER, MEMORY, FAILOVER, FAILOVER_SHORT)
CLIENT_TIMEOUT_S = 180.0
PROPERTIES = {"acks": "all", "enable.idempotence": "true"}
ENDS_RUN = (*FAILURES, TimeoutError, Unavailable)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured, and how much of it: rounds that count, after one that warms up (of fail-overs, all count)."""

    names: tuple[str, ...]
    rounds: int
    failover_rounds: int
    records: int
    idle_s: float


@dataclass(frozen=True)
class Produced:
    """One run of ProducerPerformance. CPU seconds are those of all three nodes."""

    records: int
    records_per_s: float
    nodes_cpu_s: float
    p50_ms: float | None
    p99_ms: float | None

    @property
    def cpu_s_per_million(self) -> float:
        """CPU seconds per million records."""
        return self.nodes_cpu_s / self.records * 1e6


@dataclass(frozen=True)
class Memory:
    """Bytes of three nodes: resident, the same with shared pages divided (0: unreadable), and the highest resident."""

    resident: int
    proportional: int
    peak: int


@dataclass
class Results:
    """Everything measured, by the kind's key; runs in order, one per round."""

    produced: dict[str, list[Produced]] = field(default_factory=dict)
    idle: dict[str, Memory] = field(default_factory=dict)
    loaded: dict[str, Memory] = field(default_factory=dict)
    failovers: dict[tuple[str, str], dict[str, list[failover.Failover]]] = field(default_factory=dict)
    """By time-outs and victim."""
    failures: list[str] = field(default_factory=list)


def measure(plan: Plan, kinds: tuple[Kind, Kind], directory: Path, say: Say) -> Results:
    """All of a plan. What fails ends its part, and is told in the results."""
    results = Results(produced={kind.key: [] for kind in kinds})
    wanted = set(plan.names)
    if wanted & {PRODUCER, MEMORY, FAILOVER}:
        with ExitStack() as stack:
            _attempt(results, lambda: _with_default_timeouts(plan, kinds, directory, results, say, stack))
    if FAILOVER_SHORT in wanted:
        with ExitStack() as stack:
            _attempt(results, lambda: _with_short_timeouts(plan, kinds, directory, results, say, stack))
    return results


def _attempt(results: Results, part: Callable[[], None]) -> None:
    try:
        part()
    except ENDS_RUN as error:
        results.failures.append(str(error) or type(error).__name__)


def _with_default_timeouts(
    plan: Plan, kinds: tuple[Kind, Kind], directory: Path, results: Results, say: Say, stack: ExitStack
) -> None:
    clusters = _started(kinds, directory / DEFAULT, DEFAULT, say, stack)
    if MEMORY in plan.names:
        say(f"both clusters idle for {plan.idle_s:g} s")
        time.sleep(plan.idle_s)
        results.idle = {key: _memory(nodes) for key, nodes in clusters.items()}
    if PRODUCER in plan.names or MEMORY in plan.names:
        _attempt(results, lambda: _produce(plan, kinds, clusters, results, say))
    if MEMORY in plan.names:
        results.loaded = {key: _memory(nodes) for key, nodes in clusters.items()}
    if FAILOVER in plan.names:
        _attempt(results, lambda: _fail_over(plan, kinds, clusters, DEFAULT, results, say))


def _with_short_timeouts(
    plan: Plan, kinds: tuple[Kind, Kind], directory: Path, results: Results, say: Say, stack: ExitStack
) -> None:
    clusters = _started(kinds, directory / failover.SHORT, failover.SHORT, say, stack)
    _fail_over(plan, kinds, clusters, failover.SHORT, results, say)


def _started(
    kinds: tuple[Kind, Kind], directory: Path, timeouts: str, say: Say, stack: ExitStack
) -> Mapping[str, Nodes]:
    found = {}
    for kind in kinds:
        say(f"starting {kind.title}, {timeouts} time-outs")
        found[kind.key] = stack.enter_context(running(kind, directory / kind.key, TIMEOUTS[timeouts]))
    return found


def _produce(plan: Plan, kinds: tuple[Kind, Kind], clusters: Mapping[str, Nodes], results: Results, say: Say) -> None:
    libs = tools_libs()
    for number in range(plan.rounds + 1):
        runs = {}
        for kind in _in_turn(kinds, number):
            say(f"{f'round {number} of {plan.rounds}' if number else 'warm-up'}: ProducerPerformance on {kind.title}")
            runs[kind.key] = _run_producer(libs, clusters[kind.key], plan.records)
        if number:
            for key, run in runs.items():
                results.produced[key].append(run)


def _run_producer(libs: Path, nodes: Nodes, records: int) -> Produced:
    topic = f"bench-{uuid4().hex[:8]}"
    nodes.create_topic(topic)
    command = tools.producer_command(
        libs, nodes.bootstrap, topic, records=records, warmup_records=records // 5, properties=PROPERTIES
    )
    before_s = nodes.cpu_s()
    result = tools.parse_producer(client(command, CLIENT_TIMEOUT_S))
    used_s = nodes.cpu_s() - before_s
    nodes.delete_topic(topic)
    return Produced(result.records, result.records_per_s, used_s, result.p50_ms, result.p99_ms)


def _fail_over(
    plan: Plan, kinds: tuple[Kind, Kind], clusters: Mapping[str, Nodes], timeouts: str, results: Results, say: Say
) -> None:
    topic = "failover"
    for nodes in clusters.values():
        nodes.create_topic(topic)
    for victim in VICTIMS:
        results.failovers[timeouts, victim] = {kind.key: [] for kind in kinds}
    for number in range(plan.failover_rounds):
        for victim, title in VICTIMS.items():
            runs = {}
            for kind in _in_turn(kinds, number):
                say(f"fail-over {number + 1} of {plan.failover_rounds}, {timeouts} time-outs, {kind.title}: {title}")
                runs[kind.key] = fail_over(clusters[kind.key], topic, victim)
            for key, run in runs.items():
                results.failovers[timeouts, victim][key].append(run)


def _memory(nodes: Nodes) -> Memory:
    return Memory(nodes.resident_bytes(), nodes.proportional_bytes(), nodes.peak_resident_bytes())


def _in_turn(kinds: tuple[Kind, Kind], number: int) -> tuple[Kind, ...]:
    return kinds if number % 2 == 0 else kinds[::-1]
