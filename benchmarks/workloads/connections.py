"""Many connections that are held, and what they take of the broker's memory."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.load.command_line import arguments
from benchmarks.load.connections import Held, HeldResult
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import CONNECTIONS, Described, Goal, Scale, Workload, client
from tests.support.process import BrokerProcess

COUNTS = (1000, 5000)
CONNECTION_BYTES = 25_000
SECONDS, QUICK_SECONDS = 6.0, 4.0


@dataclass(frozen=True, kw_only=True)
class ManyConnections(Described):
    """All have asked for the versions, and a third of them sends a record now and then."""

    scale: Scale
    held: Held

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        held = replace(self.held, host=broker.host, port=broker.port, topic=topic, pid=broker.pid)
        output = client(
            [sys.executable, "-m", "benchmarks.load.connections", *arguments(held)], self.scale.client_timeout_s
        )
        result = HeldResult(**json.loads(output))
        return ToolResult(
            result.records,
            result.records_per_s,
            result.p50_ms,
            result.p99_ms,
            bytes_per_connection=(result.held_bytes - result.before_bytes) / held.connections,
            resident_series_bytes=tuple(result.series_bytes),
        )


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    seconds = QUICK_SECONDS if scale.is_quick else SECONDS
    return [
        ManyConnections(
            name=f"connections-{count}",
            title=f"{count:,} connections, a third of them sends a record each second",
            group=CONNECTIONS,
            goal=Goal(bytes_per_connection_at_most=CONNECTION_BYTES),
            rounds_at_most=2,
            warms_up=False,
            expected_s=seconds + count / 1000,
            scale=scale,
            held=Held("", 0, "", 0, connections=count, seconds=seconds),
        )
        for count in COUNTS
    ]
