"""How long it takes from the start of a broker's process until it answers a client, while no other broker runs."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks import procfs
from benchmarks.brokers import MeasuredApache, MeasuredOdradek
from benchmarks.load.produce import Load
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import STARTING, STOPPED, Described, Goal, Scale, Workload, expect
from benchmarks.workloads.produce import run_load
from tests.support.process import BrokerProcess
from tests.support.requests import connect, create_topic

READY_AT_MOST = 0.1
USED_TOPIC, USED_PARTITIONS = "used", 100
USED_BATCHES, USED_RECORDS_PER_BATCH = 1500, 600
"""Of 100 bytes each: about 100 MB."""
IDLE_S, QUICK_IDLE_S = 3.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Start(Described):
    """The process's start, to its first answer to ApiVersions; then nobody asks it anything for a while."""

    scale: Scale
    used: bool
    """Whether the broker has a topic of 100 partitions with 100 MB, and was stopped properly; else it has nothing."""

    def prepare(self, broker: BrokerProcess, topic: str) -> None:  # noqa: ARG002 - each start is without topics
        if not self.used:
            shutil.rmtree(broker.data_dir, ignore_errors=True)
        elif not any(broker.data_dir.glob(f"{USED_TOPIC}-*")):
            broker.start()
            _use(broker, self.scale)
            broker.stop()

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:  # noqa: ARG002 - likewise
        broker.start()
        try:
            ready_s = cast("MeasuredOdradek | MeasuredApache", broker).ready_after_s
            used_s = procfs.cpu_s(broker.pid)
            time.sleep(QUICK_IDLE_S if self.scale.is_quick else IDLE_S)
            resident_bytes = procfs.resident_bytes(broker.pid)
        finally:
            broker.stop()
        return ToolResult(
            1, 1 / ready_s, server_cpu_s=used_s, duration_s=ready_s, resident_bytes=resident_bytes
        )  # fmt: skip


def _use(broker: BrokerProcess, scale: Scale) -> None:
    with connect(broker) as connection:
        create_topic(connection, USED_TOPIC, USED_PARTITIONS, timeout_s=60.0)
    load = Load(
        broker.host,
        broker.port,
        USED_TOPIC,
        records_per_batch=USED_RECORDS_PER_BATCH,
        max_batches=USED_BATCHES,
        seconds=60.0,
    )
    expect(USED_BATCHES, run_load(load, scale.client_timeout_s).requests, "loaded batches")


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    return [
        Start(
            name=f"start-{name}",
            title=f"start to the first answer, {title}",
            group=STARTING,
            stand=STOPPED,
            goal=Goal(duration_at_most=READY_AT_MOST),
            quick=not used,
            rounds_at_most=1 if scale.is_quick else None,
            warms_up=not scale.is_quick,
            expected_s=4.0,
            keeps_what_it_reports=False,
            scale=scale,
            used=used,
        )
        for name, title, used in (
            ("empty", "nothing stored", False),
            ("used", f"{USED_PARTITIONS} partitions and 100 MB stored", True),
        )
    ]
