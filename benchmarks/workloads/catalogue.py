"""All workloads, in the order in which a round runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.workloads import (
    connections,
    consume,
    failover,
    groups,
    java,
    latency,
    librdkafka,
    mixed,
    produce,
    sessions,
    stalls,
    starting,
)
from benchmarks.workloads.base import QUICK, Scale, Workload

SOURCES: tuple[Callable[[Path | None, Scale], list[Workload]], ...] = (
    starting.workloads,
    java.workloads,
    produce.workloads,
    consume.workloads,
    sessions.workloads,
    connections.workloads,
    librdkafka.workloads,
    latency.workloads,
    groups.workloads,
    mixed.workloads,
    stalls.workloads,
    failover.workloads,
)
"""What each module offers; the first argument are the jars of Kafka's tools, None where they are missing."""


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:
    """Those of all topics; Kafka's tools only where ``libs`` has their jars."""
    return [workload for source in SOURCES for workload in source(libs, scale)]


NAMES = tuple(workload.name for workload in workloads(Path(), QUICK))
