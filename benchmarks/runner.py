"""Rounds of paired runs: brokers run all the time, and take turns, with the bare machine, in going first."""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TypeVar
from uuid import uuid4

from benchmarks.brokers import Side
from benchmarks.progress import Agenda, Step, minutes, steps
from benchmarks.stands import Stand, stand
from benchmarks.tools import ToolResult, UnreadableOutput
from benchmarks.workloads.base import STANDS, STOPPED, ClientFailed, Workload
from odradek.wire.errors import ProtocolError
from tests.support.process import BrokerFailed
from tests.support.wire import Closed

FAILURES = (ClientFailed, UnreadableOutput, BrokerFailed, Closed, ProtocolError, OSError, AssertionError)
"""What ends one run and not the others: the client's or the broker's fault, or a request that was refused."""
LIMIT = "limit"
"""The key of what the bare machine does, beside those of the sides."""

Say = Callable[[str], None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Plan:
    """What to measure, how often, and how long at most."""

    workloads: Sequence[Workload]
    rounds: int
    time_limit_s: float


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
    duration_s: float | None = None
    restored_s: float | None = None
    quiet_p99_ms: float | None = None

    @property
    def p99_by_quiet(self) -> float | None:
        """The p99 beside heavy work by the one without."""
        return self.p99_ms / self.quiet_p99_ms if self.p99_ms and self.quiet_p99_ms else None

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

    runs: dict[str, dict[str, list[Run]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """By workload."""


def measure(
    plan: Plan, sides: Sequence[Side], directory: Path, say: Say, results: Results, after_step: Callable[[], None]
) -> None:
    """All of a plan, in new directories below ``directory``; ``after_step`` is called when there are new ``results``.

    A side that does not start is a failure of all its workloads.
    """
    agenda = Agenda(steps(plan.workloads, plan.rounds), len(sides) + 1, time.monotonic() + plan.time_limit_s)
    for kind in STANDS:
        workloads = [workload for workload in plan.workloads if workload.stand == kind]
        if not workloads:
            continue
        part = _Part(sides, directory / kind, results, agenda, plan.rounds, say, after_step)
        try:
            part.measure(kind)
        except (BrokerFailed, TimeoutError) as error:
            say(f"{STANDS[kind]}: {error}")
            lost = {workload.name: str(error) for workload in workloads if not results.runs.get(workload.name)}
            results.failures |= lost
            agenda.drop({workload.name for workload in workloads})
            after_step()
    for number in range(1, plan.rounds + 1):
        skipped = [step.workload.name for step in agenda.skipped if step.number == number]
        if skipped:
            say(f"no time for round {number} of {', '.join(skipped)}")


@dataclass
class _Part:
    """What is measured with the same processes."""

    sides: Sequence[Side]
    directory: Path
    results: Results
    agenda: Agenda
    rounds: int
    say: Say
    after_step: Callable[[], None]
    stands: dict[str, Stand] = field(default_factory=dict)

    def measure(self, kind: str) -> None:
        self.directory.mkdir(parents=True)
        with ExitStack() as stack:
            for step in self.agenda.begin(time.monotonic, kind):
                if not self.stands:
                    self._start(kind, stack)
                self._take(step)

    def _start(self, kind: str, stack: ExitStack) -> None:
        for side in self.sides:
            if kind != STOPPED:
                self.say(f"starting {side.title}, {STANDS[kind]}")
            self.stands[side.key] = stack.enter_context(stand(side, kind, self.directory / side.key))

    def _take(self, step: Step) -> None:
        """Run a step, and keep what came of it if all sides did."""
        workload, number = step.workload, step.number
        said = f"round {number} of {min(self.rounds, workload.rounds_at_most or self.rounds)}" if number else "warm-up"
        left = minutes(self.agenda.left_s(time.monotonic()))
        self.say(f"{self.agenda.place} of {self.agenda.total}, {left} left: {workload.title}, {said}")
        begun_s = time.monotonic()
        # The bare machine needs no warming up.
        keys = in_turn([*self.stands, LIMIT], number) if number else list(self.stands)
        runs = self._run_together(workload) if workload.together else self._run_in_turn(workload, keys)
        self.agenda.note(step, time.monotonic() - begun_s, len(keys))
        if number:
            for key, run in runs.items():
                self.results.runs.setdefault(workload.name, {}).setdefault(key, []).append(run)
            self.after_step()

    def _run_in_turn(self, workload: Workload, keys: Sequence[str]) -> dict[str, Run]:
        """One run each; nothing if any of them failed."""
        runs: dict[str, Run] = {}
        for key in keys:
            try:
                run = _run_limit(workload, self.directory) if key == LIMIT else _run(workload, self.stands[key])
            except Exception as error:  # noqa: BLE001 - a mistake in one workload costs the others nothing; it is told
                self._note_failure(workload, key, error)
                return {}
            if run is not None:
                runs[key] = run
        return runs

    def _run_together(self, workload: Workload) -> dict[str, Run]:
        """The same on all sides at once; whose clients use what is not known then."""
        pool = ThreadPoolExecutor(len(self.stands))
        try:
            running = {key: pool.submit(_run, workload, found) for key, found in self.stands.items()}
            wait(running.values())
        finally:
            # Who ends this process early does not wait for the clients: they end with their brokers.
            pool.shutdown(wait=False, cancel_futures=True)
        for key, each in running.items():
            error = each.exception()
            if isinstance(error, Exception):
                self._note_failure(workload, key, error)
                return {}
        return {key: replace(each.result(), client_cpu_s=0.0) for key, each in running.items()}

    def _note_failure(self, workload: Workload, key: str, error: Exception) -> None:
        """A broker that has ended is started again: the other workloads go on."""
        name = type(error).__name__
        if isinstance(error, FAILURES):
            reason = str(error) or name
        else:
            reason = f"{name}: {error}"
            self.say("".join(traceback.format_exception(error)))
        found = self.stands.get(key)
        where = key if found is None else found.title
        self.results.failures[workload.name] = f"on {where}: {reason}"
        self.agenda.drop({workload.name})
        self.after_step()
        self.say(f"failed: {workload.name} on {where}: {reason}")
        if found is not None and not found.is_fit:
            self.say(f"its log ends:\n{found.log_tail()}")
            try:
                found.revive()
            except BrokerFailed as failure:
                self.say(f"{where} does not start again: {failure}")


def _run(workload: Workload, found: Stand) -> Run:
    if not found.is_fit:
        raise BrokerFailed("the broker does not run any more")
    name = f"bench-{workload.name}-{uuid4().hex[:8]}"
    with found.topic(name, workload.partitions):
        workload.prepare(found.broker, name)
        found.reset_peak()
        client_before_s, broker_before_s = _children_cpu_s(), found.cpu_s()
        begun_s = time.monotonic()
        result = workload.run_on(found, name)
        wall_s = time.monotonic() - begun_s
        used_s = found.cpu_s() - broker_before_s
        client_cpu_s = _children_cpu_s() - client_before_s
        if workload.keeps_what_it_reports:
            stored = found.stored_records(name, workload.partitions)
            if stored < result.records:
                raise ClientFailed(f"{result.records} records were reported, and {stored} are in the log")
        return _as_run(
            result,
            broker_cpu_s=used_s if result.server_cpu_s is None else result.server_cpu_s,
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
        resident_bytes=resident_bytes if result.resident_bytes is None else result.resident_bytes,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        peak_bytes=peak_bytes,
        bytes_per_connection=result.bytes_per_connection,
        resident_series_bytes=tuple(result.resident_series_bytes),
        duration_s=result.duration_s,
        restored_s=result.restored_s,
        quiet_p99_ms=result.quiet_p99_ms,
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
