"""Heavy work beside a steady producer: what its answers take longer than while the broker has nothing else to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stall_works import PARTITIONS, Work, commit, with_wide_topic, works
from benchmarks.stalls import PER_S, STEADY_TOPIC, Latencies, WorkFailed, beside, steady, with_steady_topic
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import LOADING, STALLED, STALLS, ClientFailed, Described, Goal, Scale, Workload
from odradek.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse
from tests.support.process import BrokerProcess
from tests.support.requests import await_coordinator, connect, wait_for_topic

WANTED = Goal(p99_by_quiet_at_most=2.0)
ROUNDS = 3
SECONDS = 1.5
"""Of each measurement: 3,000 requests."""
WARMING_S = 5.0
SETTLING_S = 0.5
LOADED_GROUPS, LOADED_COMMITS = 20, 10
"""Records in `__consumer_offsets` are these and `PARTITIONS` multiplied."""
_OFFSET_FETCH_VERSION = 9


@dataclass(frozen=True, kw_only=True)
class Stalled(Described):
    """One kind of work on the workload's topic, after as long without it."""

    work: Work

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        with_steady_topic(broker, WARMING_S)
        self.work.prepare(broker, topic)
        time.sleep(SETTLING_S)

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        try:
            quiet = steady(broker, SECONDS)
            busy = beside(self.work, broker, topic, SECONDS)
        except WorkFailed as error:
            raise ClientFailed(str(error)) from error
        return result(quiet, busy)


@dataclass(frozen=True, kw_only=True)
class Loaded(Described):
    """A broker that has just been started reads the offsets of its groups; the quiet time is when it has them."""

    def prepare(self, broker: BrokerProcess, topic: str) -> None:  # noqa: ARG002 - it is not running
        if not any(broker.data_dir.glob("__consumer_offsets-*")):
            broker.start()
            with_steady_topic(broker, SECONDS)
            with_wide_topic(broker)
            for group in groups():
                commit(broker, group, LOADED_COMMITS)
            broker.stop()

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:  # noqa: ARG002 - likewise
        broker.start()
        try:
            with connect(broker) as connection:
                wait_for_topic(connection, STEADY_TOPIC, 1)
            busy = steady(broker, SECONDS)
            with connect(broker) as connection:
                for group in groups():
                    await_coordinator(connection, group)
                    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=None)])
                    answer = connection.call(request, OffsetFetchResponse, _OFFSET_FETCH_VERSION)
                    assert len(answer.groups[0].topics[0].partitions) == PARTITIONS
            time.sleep(SETTLING_S)
            quiet = steady(broker, SECONDS)
        except WorkFailed as error:
            raise ClientFailed(str(error)) from error
        finally:
            broker.stop()
        return result(quiet, busy)


def groups() -> list[str]:
    return [f"loaded-{number}" for number in range(LOADED_GROUPS)]


def result(quiet: Latencies, busy: Latencies) -> ToolResult:
    """Of the producer beside the work, with how it was without."""
    count = int(busy["count"])
    return ToolResult(count, PER_S, busy["p50_ms"], busy["p99_ms"], quiet_p99_ms=quiet["p99_ms"], server_cpu_s=0.0)


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - the work is the same in all scales
    """In the order in which a round runs them."""
    found: list[Workload] = [
        Stalled(
            name=f"stalls-{work.name}",
            title=work.title,
            group=STALLS,
            stand=STALLED,
            goal=WANTED,
            rounds_at_most=ROUNDS,
            warms_up=False,
            expected_s=5.0,
            keeps_what_it_reports=False,
            work=work,
        )
        for work in works()
        if work.figured
    ]
    found.append(
        Loaded(
            name="stalls-loading",
            title=f"loading {LOADED_GROUPS * LOADED_COMMITS * PARTITIONS:,} records of groups after a start",
            group=STALLS,
            stand=LOADING,
            goal=WANTED,
            rounds_at_most=ROUNDS,
            warms_up=False,
            expected_s=8.0,
            keeps_what_it_reports=False,
        )
    )
    return found
