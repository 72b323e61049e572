"""Load on a group coordinator: many small groups, or one large group in a rolling restart.

``python -m benchmarks.group_load HOST PORT SCENARIO PROTOCOL`` writes one JSON line.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import json
import random
import resource
import sys
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from benchmarks.members import ClassicMember, ConsumerMember, Fleet, Group, Member, MemberFailed
from benchmarks.stats import quantile
from tests.support.requests import await_coordinator, create_topic
from tests.support.wire import Closed, Connection

PROTOCOLS: dict[str, type[Member]] = {"classic": ClassicMember, "consumer": ConsumerMember}
CONNECTS_AT_ONCE = 100
SETTLE_TIMEOUT_S = 120.0
TOPIC_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Scenario:
    """Who is in the groups, and what happens to them."""

    name: str
    title: str
    groups: int
    members: int
    partitions: int
    """Of the one topic that all groups read."""
    interval_s: float
    """Between two heartbeats of a member."""
    steady_s: float
    """How long they only heartbeat."""
    steps: int
    """How often members are replaced: in each step by `replaced` new ones, in one group after the other."""
    replaced: int
    pause_s: float
    """Between the begins of two steps; 0: each step waits for the one before."""


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("many", "1,000 groups of 5", 1000, 5, 5, 3.0, 10.0, steps=300, replaced=1, pause_s=0.03),
        Scenario("hundred", "1 group of 100, one replaced", 1, 100, 100, 0.25, 1.0, steps=5, replaced=1, pause_s=0.0),
        Scenario("large", "1 group of 500, restarted", 1, 500, 1000, 1.0, 5.0, steps=12, replaced=10, pause_s=0.0),
    )
}
"""`many` heartbeats as Java's classic consumer does by default, which is 1,667 times in a second."""


@dataclass(frozen=True)
class GroupResult:
    """What was measured. A rebalance takes from the first member's request to the last member's assignment."""

    formed_s: float
    """All members of all groups join at once."""
    heartbeats: int
    steady_p50_ms: float
    steady_p99_ms: float
    rebalance_p50_s: float
    rebalance_p99_s: float
    busy_p99_ms: float
    """Of heartbeats during rebalances."""
    restart_s: float
    """From the first step's begin to the last one's end."""
    answered_p50_s: float | None
    """The part of a rebalance after the last JoinGroup was sent, which no heartbeat interval is in."""


async def run(scenario: Scenario, protocol: str, host: str, port: int, topic: str = "") -> GroupResult:
    """Run it in groups of their own, with a topic of their own where none is named.

    Raises MemberFailed, OSError, TimeoutError.
    """
    with Connection(host, port, TOPIC_TIMEOUT_S) as connection:
        if not topic:
            topic = f"groups-{uuid4().hex[:8]}"
            create_topic(connection, topic, scenario.partitions)
        await_coordinator(connection, topic)
    fleet = Fleet(host, port, topic, scenario.interval_s)
    fleet_run = _Run(scenario, PROTOCOLS[protocol], fleet)
    try:
        return await fleet_run.measure()
    finally:
        fleet_run.close()


class _Run:
    def __init__(self, scenario: Scenario, kind: type[Member], fleet: Fleet) -> None:
        self._scenario = scenario
        self._kind = kind
        self._fleet = fleet
        self._phases = random.Random(1)
        run_id = uuid4().hex[:8]
        self._groups = [Group(f"{run_id}-{number}", scenario.partitions) for number in range(scenario.groups)]
        self._rebalances_s: list[float] = []
        self._answered_s: list[float] = []

    async def measure(self) -> GroupResult:
        scenario = self._scenario
        for group in self._groups:
            group.members = await self._connected(group, scenario.members)
        gc.collect()
        gc.freeze()
        gc.disable()
        settled = [group.rebalance() for group in self._groups]
        begun_s = time.perf_counter()
        await self._join([member for group in self._groups for member in group.members])
        await self._all(settled)
        formed_s = time.perf_counter() - begun_s

        await self._pass(scenario.interval_s)
        steady_s = await self._latencies(self._pass(scenario.steady_s))
        begun_s = time.perf_counter()
        busy_s = await self._latencies(self._restart())
        restart_s = time.perf_counter() - begun_s
        await self._leave([member for group in self._groups for member in group.members])
        return GroupResult(
            formed_s=formed_s,
            heartbeats=len(steady_s) + len(busy_s),
            steady_p50_ms=quantile(steady_s, 0.5) * 1000,
            steady_p99_ms=quantile(steady_s, 0.99) * 1000,
            rebalance_p50_s=quantile(sorted(self._rebalances_s), 0.5),
            rebalance_p99_s=quantile(sorted(self._rebalances_s), 0.99),
            busy_p99_ms=quantile(busy_s, 0.99) * 1000,
            restart_s=restart_s,
            answered_p50_s=quantile(sorted(self._answered_s), 0.5) if self._answered_s else None,
        )

    def close(self) -> None:
        for group in self._groups:
            for member in group.members:
                member.close()

    async def _restart(self) -> None:
        scenario = self._scenario
        steps = []
        for number in range(scenario.steps):
            step = asyncio.ensure_future(self._replace(self._groups[number % scenario.groups]))
            steps.append(step)
            await self._fleet.until(asyncio.ensure_future(asyncio.sleep(scenario.pause_s)), SETTLE_TIMEOUT_S)
            if not scenario.pause_s:
                await self._all([step])
        await self._all(steps)

    async def _replace(self, group: Group) -> None:
        """The members that have been there longest leave; new ones take their places once that has settled.

        Where members are replaced one by one in many groups, the new one does not wait.
        """
        count = self._scenario.replaced
        new = await self._connected(group, count)
        begun_s = time.perf_counter()
        settled = group.rebalance()
        await self._leave(group.members[:count])
        if count > 1:
            await self._settled(group, settled, begun_s)
            begun_s = time.perf_counter()
            settled = group.rebalance()
        group.members += new
        await self._join(new)
        await self._settled(group, settled, begun_s)

    async def _settled(self, group: Group, settled: asyncio.Future[None], begun_s: float) -> None:
        await self._all([settled])
        now_s = time.perf_counter()
        self._rebalances_s.append(now_s - begun_s)
        if group.last_joined_s:
            self._answered_s.append(now_s - group.last_joined_s)

    async def _connected(self, group: Group, count: int) -> list[Member]:
        members = [self._kind(self._fleet, group) for _ in range(count)]
        for first in range(0, count, CONNECTS_AT_ONCE):
            await asyncio.gather(*(member.connect() for member in members[first : first + CONNECTS_AT_ONCE]))
        return members

    async def _join(self, members: Sequence[Member]) -> None:
        await self._all([asyncio.ensure_future(member.join()) for member in members])
        for member in members:
            member.start_heartbeats(self._phases.uniform(0, self._scenario.interval_s))

    async def _leave(self, members: Sequence[Member]) -> None:
        await self._all([asyncio.ensure_future(member.leave()) for member in list(members)])

    async def _all(self, work: Sequence[asyncio.Future[None]]) -> None:
        await self._fleet.until(asyncio.ensure_future(_gathered(work)), SETTLE_TIMEOUT_S)

    async def _pass(self, seconds: float) -> None:
        await self._fleet.until(asyncio.ensure_future(asyncio.sleep(seconds)), seconds + SETTLE_TIMEOUT_S)

    async def _latencies(self, phase: Awaitable[None]) -> list[float]:
        """Of the heartbeats during `phase`, ascending."""
        self._fleet.latencies_s.clear()
        await phase
        return sorted(self._fleet.latencies_s)


async def _gathered(work: Sequence[asyncio.Future[None]]) -> None:
    await asyncio.gather(*work)


def arguments(scenario: str, protocol: str, host: str, port: int, topic: str = "") -> list[str]:
    """The command line for this load; a topic that is named has as many partitions as the scenario wants."""
    return [sys.executable, "-m", "benchmarks.group_load", host, str(port), scenario, protocol, "--topic", topic]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("--topic", default="")
    parsed = parser.parse_args(argv)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    try:
        result = asyncio.run(run(SCENARIOS[parsed.scenario], parsed.protocol, parsed.host, parsed.port, parsed.topic))
    except (MemberFailed, Closed, OSError, TimeoutError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(dataclasses.asdict(result)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
