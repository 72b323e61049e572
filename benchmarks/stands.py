"""What is measured stands here: a broker that runs or does not, or three nodes, with topics, CPU time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import brokers, procfs
from benchmarks.brokers import Side
from benchmarks.cluster import nodes as clusters
from benchmarks.cluster.failover import DEFAULT, SHORT, TIMEOUTS
from benchmarks.cluster.nodes import Nodes
from benchmarks.stall_works import SETTINGS as STALL_SETTINGS
from benchmarks.workloads.base import LOADING, SINGLE, STALLED, STOPPED, THREE
from tests.support.process import BrokerProcess
from tests.support.requests import connect, list_offset

_LATEST = -1


@dataclass(frozen=True)
class Stand:
    """Processes of one kind that run all the time; clients are given the first of them."""

    title: str
    members: Sequence[BrokerProcess]
    nodes: Nodes | None = None

    @property
    def broker(self) -> BrokerProcess:
        return self.members[0]

    @property
    def is_fit(self) -> bool:
        """Whether a workload can be run here: all processes run."""
        return all(member.running for member in self.members)

    def cpu_s(self) -> float:
        """User and system time of all processes and their children so far."""
        return sum(procfs.cpu_s(member.pid) for member in self.members)

    def resident_bytes(self) -> int:
        return sum(procfs.resident_bytes(member.pid) for member in self.members)

    def peak_resident_bytes(self) -> int:
        """The highest resident sets since `reset_peak`, added up."""
        return sum(procfs.peak_resident_bytes(member.pid) for member in self.members)

    def reset_peak(self) -> None:
        for member in self.members:
            procfs.reset_peak(member.pid)

    @contextmanager
    def topic(self, name: str, partitions: int) -> Iterator[None]:
        """Made, and deleted at the exit, when its files are waited for. On three nodes it has their own partitions."""
        if self.nodes is None:
            with brokers.topic(self.broker, name, partitions):
                yield
            return
        self.nodes.create_topic(name)
        try:
            yield
        finally:
            if self.is_fit:
                self.nodes.delete_topic(name)

    def stored_records(self, topic: str, partitions: int) -> int:
        """How far the ends of a topic's partitions have come, in all."""
        if self.nodes is None:
            with connect(self.broker) as connection:
                ends = [list_offset(connection, topic, _LATEST, partition=each) for each in range(partitions)]
            return sum(end.offset for end in ends)
        total = 0
        for partition in self.nodes.partitions(topic):
            with connect(self.nodes.node(partition.leader_id)) as connection:
                total += list_offset(connection, topic, _LATEST, partition=partition.partition_index).offset
        return total

    def revive(self) -> None:
        """Start what has ended by itself. Raises BrokerFailed."""
        for member in self.members:
            if not member.running:
                member.start()

    def log_tail(self) -> str:
        """The end of the log of each process that runs no more."""
        return "\n".join(member.log_tail(15) for member in self.members if not member.running)


class StoppedStand(Stand):
    """A broker that workloads start and stop; it has no topics of theirs, and uses nothing between them."""

    @property
    def is_fit(self) -> bool:
        return True

    def cpu_s(self) -> float:
        return 0.0

    def resident_bytes(self) -> int:
        return 0

    def peak_resident_bytes(self) -> int:
        return 0

    def reset_peak(self) -> None:
        """There is none."""

    @contextmanager
    def topic(self, name: str, partitions: int) -> Iterator[None]:  # noqa: ARG002 - there is no broker to make it
        yield


def stand(side: Side, kind: str, directory: Path) -> AbstractContextManager[Stand]:
    """One of `STANDS` in a new directory, ended at the exit. Raises BrokerFailed, TimeoutError."""
    if kind in (STOPPED, LOADING):
        return _stopped(side, directory)
    if kind in (SINGLE, STALLED):
        return _single(side, directory, STALL_SETTINGS if kind == STALLED else {})
    return _three(side, DEFAULT if kind == THREE else SHORT, directory)


@contextmanager
def _stopped(side: Side, directory: Path) -> Iterator[Stand]:
    directory.mkdir(parents=True)
    broker = side.new(directory)
    try:
        yield StoppedStand(side.title, [broker])
    finally:
        broker.close()


@contextmanager
def _single(side: Side, directory: Path, settings: Mapping[str, str]) -> Iterator[Stand]:
    with brokers.running(side, directory, settings) as broker:
        yield Stand(side.title, [broker])


@contextmanager
def _three(side: Side, timeouts: str, directory: Path) -> Iterator[Stand]:
    kind = {brokers.ODRADEK.key: clusters.ODRADEK}.get(side.key, clusters.APACHE)
    with clusters.running(kind, directory, TIMEOUTS[timeouts]) as nodes:
        yield Stand(kind.title, list(nodes.nodes), nodes)
