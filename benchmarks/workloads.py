"""What is measured: each workload drives one broker with one client process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks import tools
from benchmarks.load import Load, LoadResult, arguments
from benchmarks.tools import ToolResult
from tests.support.apache import ROOT
from tests.support.process import BrokerProcess

JAVA_BATCH_RECORDS = 150
"""How many records of 100 bytes the Java producer puts into a batch by default (16 KiB)."""


class ClientFailed(Exception):
    """A client ended with an error or did not end in time; the message holds the end of its output."""


@dataclass(frozen=True)
class Scale:
    """How much work one run is."""

    produced_records: int
    consumed_records: int
    load_seconds: float
    load_max_bytes: int
    client_timeout_s: float
    idle_s: float
    starts: int


FULL = Scale(
    produced_records=2_000_000,
    consumed_records=4_000_000,
    load_seconds=5.0,
    load_max_bytes=1 << 30,
    client_timeout_s=120.0,
    idle_s=10.0,
    starts=5,
)
QUICK = Scale(
    produced_records=200_000,
    consumed_records=500_000,
    load_seconds=1.5,
    load_max_bytes=1 << 28,
    client_timeout_s=40.0,
    idle_s=10.0,
    starts=2,
)


class Workload(Protocol):
    """A client's work on one empty topic."""

    @property
    def name(self) -> str:
        """For the command line, JSON and topics."""

    @property
    def title(self) -> str:
        """For people."""

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        """What has to be there before; not measured."""

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        """The work itself. Raises ClientFailed, UnreadableOutput."""


@dataclass(frozen=True)
class JavaProducer:
    """ProducerPerformance."""

    name: str
    title: str
    libs: Path
    scale: Scale
    properties: Mapping[str, str]

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        """Nothing: it writes into an empty topic."""

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        records = self.scale.produced_records
        command = tools.producer_command(
            self.libs,
            broker.bootstrap,
            topic,
            records=records,
            warmup_records=records // 5,
            properties=self.properties,
        )
        result = tools.parse_producer(client(command, self.scale.client_timeout_s))
        _expect(records, result.records, "sent")
        return result


@dataclass(frozen=True)
class JavaConsumer:
    """ConsumerPerformance over records that are already there."""

    name: str
    title: str
    libs: Path
    scale: Scale

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        batches = -(-self.scale.consumed_records // JAVA_BATCH_RECORDS)
        load = Load(
            broker.host, broker.port, topic, records_per_batch=JAVA_BATCH_RECORDS, max_batches=batches, seconds=60.0
        )
        _expect(batches, run_load(load, self.scale.client_timeout_s).requests, "loaded batches")

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        records = self.scale.consumed_records
        command = tools.consumer_command(self.libs, broker.bootstrap, topic, records=records, timeout_ms=15_000)
        result = tools.parse_consumer(client(command, self.scale.client_timeout_s))
        if result.records < records:
            raise ClientFailed(f"consumed {result.records} records of {records}")
        return result


@dataclass(frozen=True)
class RawLoad:
    """Our own load generator."""

    name: str
    title: str
    scale: Scale
    load: Load

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        """Nothing: it writes into an empty topic."""

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        result = run_load(
            replace(self.load, host=broker.host, port=broker.port, topic=topic), self.scale.client_timeout_s
        )
        return ToolResult(result.records, result.records_per_s, result.p50_ms, result.p99_ms)


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:
    """All workloads, in the order in which a round runs them; Kafka's tools only where ``libs`` has their jars."""
    found: list[Workload] = []
    if libs is not None:
        found += [
            JavaProducer(
                "producer-acks1",
                "ProducerPerformance, acks=1",
                libs,
                scale,
                {"acks": "1", "enable.idempotence": "false"},
            ),
            JavaProducer(
                "producer-acks-all",
                "ProducerPerformance, acks=all, idempotent",
                libs,
                scale,
                {"acks": "all", "enable.idempotence": "true"},
            ),
            JavaConsumer("consumer", "ConsumerPerformance", libs, scale),
        ]
    found += [
        RawLoad("raw-single", "raw, 5 in flight, 1 record each", scale, _load(scale, records=1, record_bytes=100)),
        RawLoad(
            "raw-batches", "raw, 5 in flight, 600 records each", scale, _load(scale, records=600, record_bytes=100)
        ),
    ]
    return found


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


def run_load(load: Load, timeout_s: float) -> LoadResult:
    """The load generator in a process of its own. Raises ClientFailed."""
    output = client([sys.executable, "-m", "benchmarks.load", *arguments(load)], timeout_s)
    return LoadResult(**json.loads(output))


def _load(scale: Scale, *, records: int, record_bytes: int) -> Load:
    batch_bytes = records * (record_bytes + 10)
    return Load(
        "",
        0,
        "",
        records_per_batch=records,
        record_bytes=record_bytes,
        seconds=scale.load_seconds,
        max_batches=scale.load_max_bytes // batch_bytes,
    )


def _expect(wanted: int, found: int, what: str) -> None:
    if found != wanted:
        raise ClientFailed(f"{what} {found} instead of {wanted}")


NAMES = tuple(workload.name for workload in workloads(Path(), QUICK))
