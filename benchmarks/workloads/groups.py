"""One consumer group of 100 members: how long until all have their share, and what a change of members takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.group_load import SCENARIOS, GroupResult, Scenario, arguments
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONNECTIONS, Described, Scale, Workload, client
from tests.support.process import BrokerProcess

HUNDRED = SCENARIOS["hundred"]


@dataclass(frozen=True, kw_only=True)
class GroupOfMembers(Described):
    """All join at once, then one leaves and another joins, again and again."""

    scale: Scale
    protocol: str

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        command = arguments(HUNDRED.name, self.protocol, broker.host, broker.port, topic)
        return as_tool_result(GroupResult(**json.loads(client(command, self.scale.client_timeout_s))), HUNDRED)


def as_tool_result(result: GroupResult, scenario: Scenario) -> ToolResult:
    """A record is a member that got its share, in the beginning or in a rebalance; latencies are rebalances'."""
    assignments = scenario.members * (1 + scenario.steps)
    return ToolResult(
        assignments,
        assignments / (result.formed_s + result.restart_s),
        p50_ms=result.rebalance_p50_s * 1000,
        p99_ms=result.rebalance_p99_s * 1000,
    )


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    return [
        GroupOfMembers(
            name=f"group-100-{protocol}",
            title=f"a group of 100, {protocol} protocol: members assigned; a rebalance",
            group=CONNECTIONS,
            partitions=HUNDRED.partitions,
            rounds_at_most=2,
            expected_s=10.0,
            keeps_what_it_reports=False,
            scale=scale,
            protocol=protocol,
        )
        for protocol in ("classic", "consumer")
    ]
