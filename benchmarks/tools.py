"""Apache Kafka's own performance tools: how they are called and what they print."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

JVM_OPTIONS = (
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)
"""What Kafka's start scripts give every JVM, broker or tool, unless they are told otherwise."""
CLIENT_HEAP = "-Xmx256m"
"""Likewise: the heap of a tool."""
_PRODUCED = re.compile(
    r"^(?P<records>\d+) (?:steady state )?records sent, (?P<rate>[\d.]+) records/sec .*?"
    r"(?P<p50>\d+) ms 50th, \d+ ms 95th, (?P<p99>\d+) ms 99th",
    re.MULTILINE,
)
_ROUND_TRIP = re.compile(r"^Avg latency: (?P<average>[\d.]+) ms$", re.MULTILINE)


class UnreadableOutput(Exception):
    """A tool printed something else than expected; the message holds its end."""


@dataclass(frozen=True)
class ToolResult:
    """What a tool measured."""

    records: int
    records_per_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    bytes_per_connection: float | None = None
    """What each of the connections that a workload holds takes of the broker's memory."""
    server_cpu_s: float | None = None
    """CPU seconds of what stands for the broker in a limit, or of brokers that begin or end in the run; those of a
    broker that runs all the time are measured by the runner."""
    resident_series_bytes: tuple[int, ...] = ()
    """The broker's resident set at equal intervals during the run, where that is what the workload is about."""
    duration_s: float | None = None
    """How long it took, where that is what the workload is about."""
    restored_s: float | None = None
    """How long it took from then on until all was as before."""
    resident_bytes: int | None = None
    """Of a broker that ends with the run; else the runner looks."""
    quiet_p99_ms: float | None = None
    """What `p99_ms` is without the work that the workload is about."""


def producer_command(
    libs: Path,
    bootstrap: str,
    topic: str,
    *,
    records: int,
    warmup_records: int,
    properties: Mapping[str, str],
    record_bytes: int = 100,
    transaction_ms: int | None = None,
) -> list[str]:
    """ProducerPerformance, as fast as it goes; the records are random capital letters.

    With `transaction_ms` it commits a transaction as often as that.
    """
    options = ["--bootstrap-server", bootstrap, "--topic", topic]
    options += ["--record-size", str(record_bytes), "--throughput", "-1"]
    options += ["--num-records", str(records), "--warmup-records", str(warmup_records)]
    if transaction_ms is not None:
        options += ["--transaction-duration-ms", str(transaction_ms)]
    options += ["--command-property", *(f"{key}={value}" for key, value in properties.items())]
    return _java(libs, "org.apache.kafka.tools.ProducerPerformance", options)


def consumer_command(libs: Path, bootstrap: str, topic: str, *, records: int, timeout_ms: int) -> list[str]:
    """ConsumerPerformance, from the topic's beginning, in a group of its own."""
    options = ["--bootstrap-server", bootstrap, "--topic", topic, "--num-records", str(records)]
    options += ["--timeout", str(timeout_ms)]
    return _java(libs, "org.apache.kafka.tools.ConsumerPerformance", options)


def round_trip_command(libs: Path, bootstrap: str, topic: str, *, records: int, acks: str) -> list[str]:
    """EndToEndLatency with records of 100 bytes: send one, wait for its acknowledgement, read it, and so on."""
    options = ["--bootstrap-server", bootstrap, "--topic", topic, "--num-records", str(records)]
    options += ["--producer-acks", acks, "--record-size", "100"]
    return _java(libs, "org.apache.kafka.tools.EndToEndLatency", options)


def parse_producer(output: str) -> ToolResult:
    """The last summary line: where records are set aside as warm-up, that is the steady state's.

    Raises UnreadableOutput.
    """
    summaries = list(_PRODUCED.finditer(output))
    if not summaries:
        raise UnreadableOutput(output[-800:])
    last = summaries[-1]
    return ToolResult(
        records=max(int(summary["records"]) for summary in summaries),
        records_per_s=float(last["rate"]),
        p50_ms=float(last["p50"]),
        p99_ms=float(last["p99"]),
    )


def parse_consumer(output: str) -> ToolResult:
    """The tool's table, by the names of its columns: the rate is that of fetching, without the time to join the group.

    Raises UnreadableOutput.
    """
    lines = output.splitlines()
    for header, values in itertools.pairwise(lines):
        if header.startswith("start.time"):
            row = dict(zip(header.split(", "), values.split(", "), strict=False))
            try:
                return ToolResult(int(row["data.consumed.in.nMsg"]), float(row["fetch.nMsg.sec"]))
            except (KeyError, ValueError) as error:
                raise UnreadableOutput(output[-800:]) from error
    raise UnreadableOutput(output[-800:])


def parse_round_trips(output: str, records: int) -> ToolResult:
    """The rate of `records` round trips, one after the other.

    The tool cuts its percentiles down to whole milliseconds, which is 0 for most of them: they are left out.

    Raises UnreadableOutput.
    """
    found = _ROUND_TRIP.search(output)
    if found is None or not float(found["average"]):
        raise UnreadableOutput(output[-800:])
    return ToolResult(records, 1000 / float(found["average"]))


def _java(libs: Path, main_class: str, options: list[str]) -> list[str]:
    return ["java", CLIENT_HEAP, *JVM_OPTIONS, "-cp", f"{libs}/*", main_class, *options]
