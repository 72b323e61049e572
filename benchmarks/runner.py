"""Rounds of paired runs: both brokers run all the time, and take turns in going first."""

from __future__ import annotations

import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from uuid import uuid4

from benchmarks import procfs
from benchmarks.brokers import Side, end_offset, running, topic
from benchmarks.tools import UnreadableOutput
from benchmarks.workloads import ClientFailed, Scale, Workload
from odradek.wire.errors import ProtocolError
from tests.support.process import BrokerFailed, BrokerProcess
from tests.support.wire import Closed

FAILURES = (ClientFailed, UnreadableOutput, BrokerFailed, Closed, ProtocolError, OSError, AssertionError)
"""What ends one run and not the others: the client's or the broker's fault, or a request that was refused."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure, how often, and until when: past ``time_limit_s`` from the begin no round is started."""

    workloads: Sequence[Workload]
    scale: Scale
    rounds: int
    time_limit_s: float
    measures_starts: bool


@dataclass(frozen=True)
class Run:
    """One run of a workload against one broker. CPU seconds are user and system, of the processes with children."""

    records: int
    records_per_s: float
    broker_cpu_s: float
    client_cpu_s: float
    wall_s: float
    resident_bytes: int
    p50_ms: float | None
    p99_ms: float | None

    @property
    def broker_cpu_s_per_million(self) -> float:
        """Broker CPU seconds per million records."""
        return self.broker_cpu_s / self.records * 1e6


@dataclass
class Results:
    """Everything measured, by the side's key. The runs of one workload hold one entry per round, in order."""

    ready_s: dict[str, list[float]] = field(default_factory=dict)
    idle_bytes: dict[str, int] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    rounds: int = 0


def measure(plan: Plan, sides: tuple[Side, Side], directory: Path, say: Say) -> Results:
    """All of a plan, in new directories below ``directory``. Raises BrokerFailed where a broker does not start."""
    begun_s = time.monotonic()
    results = Results(runs={workload.name: {side.key: [] for side in sides} for workload in plan.workloads})
    if plan.measures_starts:
        results.ready_s = _measure_starts(sides, plan.scale.starts, directory, say)
    with ExitStack() as stack:
        brokers: dict[str, BrokerProcess] = {
            side.key: stack.enter_context(running(side, directory / side.key)) for side in sides
        }
        if plan.measures_starts:
            say(f"both brokers idle for {plan.scale.idle_s:g} s")
            time.sleep(plan.scale.idle_s)
            results.idle_bytes = {key: procfs.resident_bytes(broker.pid) for key, broker in brokers.items()}
        if plan.workloads:
            _measure_rounds(plan, sides, brokers, results, begun_s + plan.time_limit_s, say)
        results.peak_bytes = {
            key: procfs.peak_resident_bytes(broker.pid) for key, broker in brokers.items() if broker.running
        }
    return results


def _measure_starts(sides: tuple[Side, Side], count: int, directory: Path, say: Say) -> dict[str, list[float]]:
    """Seconds from process start to ready in an empty directory, in turn, while no other broker runs."""
    ready_s: dict[str, list[float]] = {side.key: [] for side in sides}
    for number in range(count):
        for side in in_turn(sides, number):
            say(f"start {number + 1} of {count}: {side.title}")
            with running(side, directory / f"start-{number}-{side.key}") as broker:
                ready_s[side.key].append(broker.ready_after_s)
    return ready_s


def _measure_rounds(
    plan: Plan,
    sides: tuple[Side, Side],
    brokers: dict[str, BrokerProcess],
    results: Results,
    deadline_s: float,
    say: Say,
) -> None:
    """Round 0 warms both brokers up and does not count. A workload that failed is left out of later rounds."""
    remaining = list(plan.workloads)
    round_s = 0.0
    for number in range(plan.rounds + 1):
        begun_s = time.monotonic()
        if number > 1 and begun_s + round_s > deadline_s:
            say(f"no time left for round {number}")
            return
        for workload in list(remaining):
            say(f"{f'round {number} of {plan.rounds}' if number else 'warm-up'}: {workload.title}")
            runs = _run_pair(workload, in_turn(sides, number), brokers, results.failures)
            if runs is None:
                remaining.remove(workload)
            elif number:
                for key, run in runs.items():
                    results.runs[workload.name][key].append(run)
        results.rounds = number
        round_s = time.monotonic() - begun_s


def _run_pair(
    workload: Workload, sides: Sequence[Side], brokers: dict[str, BrokerProcess], failures: list[str]
) -> dict[str, Run] | None:
    runs: dict[str, Run] = {}
    for side in sides:
        broker = brokers[side.key]
        try:
            if not broker.running:
                raise BrokerFailed("the broker does not run any more")
            runs[side.key] = _run(workload, broker)
        except FAILURES as error:
            reason = str(error) or type(error).__name__
            tail = "" if broker.running else f"\nits log ends:\n{broker.log_tail(15)}"
            failures.append(f"{workload.name} on {side.title}: {reason}{tail}")
            return None
    return runs


def _run(workload: Workload, broker: BrokerProcess) -> Run:
    with topic(broker, f"bench-{workload.name}-{uuid4().hex[:8]}") as name:
        workload.prepare(broker, name)
        client_before_s, broker_before_s = _children_cpu_s(), procfs.cpu_s(broker.pid)
        begun_s = time.monotonic()
        result = workload.run(broker, name)
        wall_s = time.monotonic() - begun_s
        broker_cpu_s = procfs.cpu_s(broker.pid) - broker_before_s
        client_cpu_s = _children_cpu_s() - client_before_s
        stored = end_offset(broker, name)
        if stored < result.records:
            raise ClientFailed(f"{result.records} records were reported, and {stored} are in the log")
        return Run(
            records=result.records,
            records_per_s=result.records_per_s,
            broker_cpu_s=broker_cpu_s,
            client_cpu_s=client_cpu_s,
            wall_s=wall_s,
            resident_bytes=procfs.resident_bytes(broker.pid),
            p50_ms=result.p50_ms,
            p99_ms=result.p99_ms,
        )


def in_turn(sides: Sequence[Side], number: int) -> Sequence[Side]:
    """The sides in the order in which round ``number`` takes them."""
    return sides if number % 2 == 0 else sides[::-1]


def leave_on_sigterm() -> None:
    """SIGTERM ends this process by an exception, so that brokers and clients are stopped on the way out."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    signal.signal(signal.SIGTERM, leave)


def _children_cpu_s() -> float:
    """Of children that have ended: while the brokers run, these are the clients."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
