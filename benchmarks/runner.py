"""Rounds of paired runs: brokers run all the time, and take turns, with the bare machine, in going first."""

from __future__ import annotations

import math
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TypeVar
from uuid import uuid4

from benchmarks.brokers import Side, running
from benchmarks.stands import CLUSTER, SINGLE, Stand, stand
from benchmarks.tools import ToolResult, UnreadableOutput
from benchmarks.workloads.base import ClientFailed, Scale, Workload
from odradek.wire.errors import ProtocolError
from tests.support.process import BrokerFailed
from tests.support.wire import Closed

FAILURES = (ClientFailed, UnreadableOutput, BrokerFailed, Closed, ProtocolError, OSError, AssertionError)
"""What ends one run and not the others: the client's or the broker's fault, or a request that was refused."""
LIMIT = "limit"
"""The key of what the bare machine does, beside those of the sides."""
STARTUP = "startup"
"""In place of a workload's name: what is measured of processes without one."""

Say = Callable[[str], None]
Item = TypeVar("Item")


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
    """One run of a workload against one broker, or of what it is compared with.

    CPU seconds are user and system, of the processes with children; the limit's are the client's, but for what its
    server tells of.
    """

    records: int
    records_per_s: float
    broker_cpu_s: float
    client_cpu_s: float
    wall_s: float
    resident_bytes: int
    p50_ms: float | None
    p99_ms: float | None
    peak_bytes: int = 0
    """The highest resident set while it ran."""
    bytes_per_connection: float | None = None
    resident_series_bytes: tuple[int, ...] = ()

    @property
    def broker_cpu_s_per_million(self) -> float | None:
        """Broker CPU seconds per million records; None where there is no broker, or no record."""
        return self.broker_cpu_s / self.records * 1e6 if self.broker_cpu_s and self.records else None

    @property
    def resident_growth(self) -> float | None:
        """The mean resident set of the last quarter by that of the second one; None without a series to tell it."""
        quarter = len(self.resident_series_bytes) // 4
        if quarter == 0:
            return None
        return sum(self.resident_series_bytes[-quarter:]) / sum(self.resident_series_bytes[quarter : 2 * quarter])


@dataclass
class Results:
    """Everything measured, by the side's key. The runs of one workload hold one entry per round, in order."""

    ready_s: dict[str, list[float]] = field(default_factory=dict)
    idle_bytes: dict[str, int] = field(default_factory=dict)
    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """By workload."""
    rounds: int = 0


def measure(
    plan: Plan, sides: Sequence[Side], directory: Path, say: Say, after_round: Callable[[Results], None]
) -> Results:
    """All of a plan, in new directories below ``directory``; ``after_round`` is told what there is so far.

    A side that does not start is a failure of all its workloads.
    """
    results = Results()
    deadline_s = time.monotonic() + plan.time_limit_s
    for nodes in (SINGLE, CLUSTER):
        workloads = [workload for workload in plan.workloads if workload.nodes == nodes]
        starts = plan.measures_starts and nodes == SINGLE
        if not workloads and not starts:
            continue
        part = _Part(
            replace(plan, workloads=workloads, measures_starts=starts),
            sides,
            directory / f"nodes-{nodes}",
            results,
            deadline_s,
            say,
            after_round,
        )
        try:
            part.measure(nodes)
        except (BrokerFailed, TimeoutError) as error:
            say(f"{nodes} of each broker: {error}")
            lost = [workload.name for workload in workloads if not results.runs.get(workload.name)]
            results.failures |= {name: str(error) for name in lost or [STARTUP]}
        after_round(results)
    return results


@dataclass
class _Part:
    """What is measured with the same processes."""

    plan: Plan
    sides: Sequence[Side]
    directory: Path
    results: Results
    deadline_s: float
    say: Say
    after_round: Callable[[Results], None]
    stands: dict[str, Stand] = field(default_factory=dict)

    def measure(self, nodes: int) -> None:
        self.directory.mkdir(parents=True)
        if self.plan.measures_starts:
            self._measure_starts()
        with ExitStack() as stack:
            for side in self.sides:
                self.say(f"starting {side.title}")
                self.stands[side.key] = stack.enter_context(stand(side, nodes, self.directory / side.key))
            if self.plan.measures_starts:
                self.say(f"idle for {self.plan.scale.idle_s:g} s")
                time.sleep(self.plan.scale.idle_s)
                self.results.idle_bytes = {key: found.resident_bytes() for key, found in self.stands.items()}
            # What takes minutes has a few rounds of its own; the time limit is for those that may be fewer.
            few = [workload for workload in self.plan.workloads if workload.rounds_at_most is not None]
            self._measure_rounds([each for each in self.plan.workloads if each not in few], self.deadline_s)
            self._measure_rounds(few, math.inf)

    def _measure_starts(self) -> None:
        """Seconds from process start to ready in an empty directory, in turn, while no other broker runs."""
        count = self.plan.scale.starts
        for number in range(count):
            for side in in_turn(self.sides, number):
                self.say(f"start {number + 1} of {count}: {side.title}")
                with running(side, self.directory / f"start-{number}-{side.key}") as broker:
                    self.results.ready_s.setdefault(side.key, []).append(broker.ready_after_s)

    def _measure_rounds(self, workloads: Sequence[Workload], deadline_s: float) -> None:
        """Round 0 warms the brokers up and does not count. A workload that failed is left out of later rounds."""
        round_s = 0.0
        keys = [*self.stands, LIMIT]
        for number in range(self.plan.rounds + 1):
            failed = self.results.failures
            due = [each for each in workloads if each.name not in failed and is_due(each, number)]
            begun_s = time.monotonic()
            if due and number > 1 and begun_s + round_s > deadline_s:
                self.say(f"no time left for round {number}")
                return
            for place, workload in enumerate(due, start=1):
                said = f"round {number} of {self.plan.rounds}" if number else "warm-up"
                self.say(f"{said}, {place} of {len(due)}: {workload.title}")
                # The bare machine needs no warming up.
                runs = self._run_in_turn(workload, in_turn(keys, number) if number else list(self.stands))
                if number:
                    for key, run in runs.items():
                        self.results.runs.setdefault(workload.name, {}).setdefault(key, []).append(run)
            if number and due:
                self.results.rounds = max(self.results.rounds, number)
                self.after_round(self.results)
            round_s = time.monotonic() - begun_s

    def _run_in_turn(self, workload: Workload, keys: Sequence[str]) -> dict[str, Run]:
        """One run each; nothing if any of them failed."""
        runs: dict[str, Run] = {}
        for key in keys:
            try:
                run = _run_limit(workload, self.directory) if key == LIMIT else _run(workload, self.stands[key])
            except FAILURES as error:
                self._note_failure(workload, key, str(error) or type(error).__name__)
                return {}
            except Exception as error:  # noqa: BLE001 - a mistake in one workload costs the others nothing; it is told
                self.say(traceback.format_exc())
                self._note_failure(workload, key, f"{type(error).__name__}: {error}")
                return {}
            if run is not None:
                runs[key] = run
        return runs

    def _note_failure(self, workload: Workload, key: str, reason: str) -> None:
        """A broker that has ended is started again: the other workloads go on."""
        found = self.stands.get(key)
        where = key if found is None else found.title
        self.results.failures[workload.name] = f"on {where}: {reason}"
        self.say(f"failed: {workload.name} on {where}: {reason}")
        if found is not None and not found.running:
            self.say(f"its log ends:\n{found.log_tail()}")
            try:
                found.revive()
            except BrokerFailed as error:
                self.say(f"{where} does not start again: {error}")


def is_due(workload: Workload, number: int) -> bool:
    """Whether a workload is part of round ``number``; 0 is the warm-up."""
    most = workload.rounds_at_most
    return most is None or 0 < number <= most or (number == 0 and most > 1)


def _run(workload: Workload, found: Stand) -> Run:
    if not found.running:
        raise BrokerFailed("the broker does not run any more")
    name = f"bench-{workload.name}-{uuid4().hex[:8]}"
    with found.topic(name, workload.partitions):
        workload.prepare(found.broker, name)
        found.reset_peak()
        client_before_s, broker_before_s = _children_cpu_s(), found.cpu_s()
        begun_s = time.monotonic()
        result = workload.run(found.broker, name)
        wall_s = time.monotonic() - begun_s
        broker_cpu_s = found.cpu_s() - broker_before_s
        client_cpu_s = _children_cpu_s() - client_before_s
        if workload.keeps_what_it_reports:
            stored = found.stored_records(name, workload.partitions)
            if stored < result.records:
                raise ClientFailed(f"{result.records} records were reported, and {stored} are in the log")
        return _as_run(
            result,
            broker_cpu_s=broker_cpu_s,
            client_cpu_s=client_cpu_s,
            wall_s=wall_s,
            resident_bytes=found.resident_bytes(),
            peak_bytes=found.peak_resident_bytes(),
        )


def _run_limit(workload: Workload, parent: Path) -> Run | None:
    """On the file system of the brokers' data."""
    with tempfile.TemporaryDirectory(prefix="limit-", dir=parent) as directory:
        before_s = _children_cpu_s() + time.process_time()
        begun_s = time.monotonic()
        result = workload.limit(Path(directory))
        wall_s = time.monotonic() - begun_s
        if result is None:
            return None
        used_s = _children_cpu_s() + time.process_time() - before_s
        server_s = result.server_cpu_s or 0.0
        return _as_run(
            result,
            broker_cpu_s=server_s,
            client_cpu_s=max(0.0, used_s - server_s),
            wall_s=wall_s,
            resident_bytes=0,
            peak_bytes=0,
        )


def _as_run(
    result: ToolResult,
    *,
    broker_cpu_s: float,
    client_cpu_s: float,
    wall_s: float,
    resident_bytes: int,
    peak_bytes: int,
) -> Run:
    return Run(
        records=result.records,
        records_per_s=result.records_per_s,
        broker_cpu_s=broker_cpu_s,
        client_cpu_s=client_cpu_s,
        wall_s=wall_s,
        resident_bytes=resident_bytes,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        peak_bytes=peak_bytes,
        bytes_per_connection=result.bytes_per_connection,
        resident_series_bytes=tuple(result.resident_series_bytes),
    )


def in_turn(items: Sequence[Item], number: int) -> Sequence[Item]:
    """The items in the order in which round ``number`` takes them."""
    return items if number % 2 == 0 else items[::-1]


def leave_on_sigterm() -> None:
    """SIGTERM ends this process by an exception, so that brokers and clients are stopped on the way out."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    signal.signal(signal.SIGTERM, leave)


def _children_cpu_s() -> float:
    """Of children that have ended: while the brokers run, these are the clients."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
