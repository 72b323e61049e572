"""What a workload is, how much work it does, and what the issue wants of it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmarks.tools import ToolResult
from tests.support.apache import ROOT
from tests.support.process import BrokerProcess

if TYPE_CHECKING:
    from benchmarks.stands import Stand

PRODUCING, BATCHES, SINGLE_RECORDS = "producing", "batches", "single-records"
CONSUMING, TAILING = "consuming", "tailing"
LATENCY, CONNECTIONS, CLUSTER = "latency", "connections", "cluster"
STARTING, FAILOVER, STALLS = "starting", "failover", "stalls"
GROUPS = {
    STARTING: "Starting",
    PRODUCING: "Producing with the producers that people use",
    BATCHES: "Producing batches, with the raw load generator",
    SINGLE_RECORDS: "One record per request",
    CONSUMING: "Catching up",
    TAILING: "Reading at the end",
    LATENCY: "End-to-end latency",
    CONNECTIONS: "Many connections, long runs",
    STALLS: "A steady producer beside heavy work",
    CLUSTER: "Three nodes",
    FAILOVER: "Three nodes, of which one is killed",
}
"""Each group of figures with its title; a group is one plot."""
STOPPED, SINGLE, THREE, THREE_SHORT = "stopped", "single", "three", "three-short"
STALLED, LOADING = "stalled", "loading"
STANDS = {
    STOPPED: "a broker that does not run",
    SINGLE: "one broker",
    STALLED: "one broker that looks for what to clean and to delete every second",
    LOADING: "a broker that does not run, with the offsets of many groups",
    THREE: "three nodes",
    THREE_SHORT: "three nodes with short time-outs",
}
"""What workloads are run on, in this order; all workloads of one stand share its processes."""


class ClientFailed(Exception):
    """A client ended with an error or did not end in time; the message holds the end of its output."""


@dataclass(frozen=True)
class Scale:
    """How much work one run is."""

    name: str
    produced_records: int
    consumed_records: int
    load_seconds: float
    load_max_bytes: int
    client_timeout_s: float

    @property
    def is_quick(self) -> bool:
        return self.name == "quick"


FULL = Scale(
    name="full",
    produced_records=2_000_000,
    consumed_records=4_000_000,
    load_seconds=5.0,
    load_max_bytes=1 << 30,
    client_timeout_s=120.0,
)
QUICK = Scale(
    name="quick",
    produced_records=200_000,
    consumed_records=500_000,
    load_seconds=1.5,
    load_max_bytes=1 << 28,
    client_timeout_s=40.0,
)


@dataclass(frozen=True)
class Goal:
    """What is wanted: ratios of Odradek to Apache Kafka, but where another comparison is named. None: not asked for."""

    records_per_s_at_least: float | None = None
    cpu_at_most: float | None = None
    """CPU seconds of the broker per record."""
    p99_at_most: float | None = None
    memory_at_most: float | None = None
    """The highest resident set while the workload ran."""
    bytes_per_connection_at_most: float | None = None
    """No ratio: what each held connection may take of Odradek's memory."""
    resident_growth_at_most: float | None = None
    """No ratio to Kafka: Odradek's resident set in the last quarter of the run by that in the second quarter."""
    duration_at_most: float | None = None
    """Of what the workload is about how long it takes."""
    p99_by_quiet_at_most: float | None = None
    """No ratio to Kafka: Odradek's p99 beside heavy work by its own without."""
    beside: str | None = None
    """Another workload, by name, of which Odradek shall reach a part with this one."""
    records_per_s_beside_at_least: float | None = None


class Workload(Protocol):
    """The work of one or more client processes on one empty topic of a broker."""

    @property
    def name(self) -> str:
        """For the command line, JSON and topics: kebab case."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def group(self) -> str:
        """One of `GROUPS`."""

    @property
    def partitions(self) -> int:
        """Of the topic that the runner makes."""

    @property
    def stand(self) -> str:
        """One of `STANDS`; on three nodes ``broker`` is one of them, and the topic has three replicas."""

    @property
    def goal(self) -> Goal | None:
        """What the issue wants, where it wants something."""

    @property
    def quick(self) -> bool:
        """Whether `make bench-quick` runs it."""

    @property
    def rounds_at_most(self) -> int | None:
        """For work that is long: fewer rounds than the others have."""

    @property
    def warms_up(self) -> bool:
        """Whether there is a round before those that count."""

    @property
    def together(self) -> bool:
        """Whether it is run on all sides at the same time, and not in turn: for long work that leaves most of the
        machine idle."""

    @property
    def expected_s(self) -> float:
        """About how long a run takes, with all around it: to plan with, until one has been run."""

    @property
    def keeps_what_it_reports(self) -> bool:
        """Whether as many records as are reported must be in the topic in the end; else nobody counts them there."""

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        """What has to be there before; not measured. Raises as `run`."""

    def run_on(self, stand: Stand, topic: str) -> ToolResult:
        """The work itself. Raises ClientFailed, UnreadableOutput, BrokerFailed, TimeoutError."""

    def limit(self, directory: Path) -> ToolResult | None:
        """What the bare machine does with the same bytes, in an empty directory; None where there is no such thing."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """A workload's description; a class of workloads adds the work."""

    name: str
    title: str
    group: str
    partitions: int = 1
    stand: str = SINGLE
    goal: Goal | None = None
    quick: bool = False
    rounds_at_most: int | None = None
    warms_up: bool = True
    together: bool = False
    expected_s: float = 5.0
    keeps_what_it_reports: bool = True

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        """Nothing: the topic is empty."""

    def run_on(self, stand: Stand, topic: str) -> ToolResult:
        """With the broker alone, which is all that most want."""
        return self.run(stand.broker, topic)

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        """What a class of workloads on one broker has in place of `run_on`."""
        raise NotImplementedError

    def limit(self, directory: Path) -> ToolResult | None:  # noqa: ARG002 - a workload's own may want it
        """Nothing to compare with."""
        return None


def client(command: list[str], timeout_s: float) -> str:
    """Run a client to its end; returns what it wrote on stdout. Raises ClientFailed."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientFailed(f"not done after {timeout_s:g} s") from error
    if done.returncode:
        raise ClientFailed(f"exit {done.returncode}: {done.stdout[-400:]}{done.stderr[-400:]}")
    return done.stdout


def expect(wanted: int, found: int, what: str) -> None:
    """Raises ClientFailed unless a client has done all of its work."""
    if found != wanted:
        raise ClientFailed(f"{what} {found} instead of {wanted}")
