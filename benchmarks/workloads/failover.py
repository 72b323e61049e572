"""Three nodes, of which the leader of a partition is killed: how long no write is acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.cluster.failover import CONTROLLER, LEADER, fail_over
from benchmarks.cluster.nodes import PARTITIONS
from benchmarks.stands import Stand
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import FAILOVER, THREE, THREE_SHORT, Described, Scale, Workload

ROUNDS = 2
VICTIMS = {LEADER: "the leader", CONTROLLER: "the leader, the active controller as well"}
TIMEOUTS = {THREE: "", THREE_SHORT: ", short time-outs"}


@dataclass(frozen=True, kw_only=True)
class FailOver(Described):
    """kill -9 of one node to the first acknowledged write; then its start until it is in sync, and leads again."""

    victim: str

    def run_on(self, stand: Stand, topic: str) -> ToolResult:
        assert stand.nodes is not None, "a stand of three nodes"
        found = fail_over(stand.nodes, topic, self.victim)
        return ToolResult(
            1, 1 / found.first_ack_s, server_cpu_s=0.0, duration_s=found.first_ack_s, restored_s=found.in_sync_s
        )


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - the work is the same in all scales
    """In the order in which a round runs them."""
    return [
        FailOver(
            name=f"failover-{victim}{'-short' if stand == THREE_SHORT else ''}",
            title=f"kill -9 of {title}{TIMEOUTS[stand]}",
            group=FAILOVER,
            stand=stand,
            partitions=PARTITIONS,
            rounds_at_most=ROUNDS,
            warms_up=False,
            expected_s=20.0 if stand == THREE else 12.0,
            keeps_what_it_reports=False,
            victim=victim,
        )
        for stand in (THREE, THREE_SHORT)
        for victim, title in VICTIMS.items()
    ]
