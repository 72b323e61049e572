"""Reading at the end of a topic, in fetch sessions (KIP-227), while a steady producer writes."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.limits.tail import bare_tail
from benchmarks.load.command_line import arguments
from benchmarks.load.tail import Tail, TailResult, group_id
from benchmarks.tools import ToolResult
from benchmarks.workloads.base import TAILING, ClientFailed, Described, Scale, Workload, client, expect
from tests.support.batches import batch
from tests.support.process import BrokerProcess
from tests.support.requests import await_coordinator, connect, produce
from tests.support.wire import Connection

SECONDS, QUICK_SECONDS = 3, 2
COMMIT_EVERY = 10
"""At 100 batches a second, which is 10 commits a second of each group: often, to see them at all."""


INDEX_INTERVAL_BYTES = 4096
"""`index.interval.bytes`."""


@dataclass(frozen=True, kw_only=True)
class Tailing(Described):
    """A steady producer and its readers; the same batches at the same rate, whoever the broker is."""

    scale: Scale
    tail: Tail

    def prepare(self, broker: BrokerProcess, topic: str) -> None:
        with connect(broker) as connection:
            begin_indexes(connection, topic, self.partitions)
        if self.tail.commit_every:
            with connect(broker) as connection:
                for number in range(self.tail.consumers):
                    await_coordinator(connection, group_id(topic, number))

    def run(self, broker: BrokerProcess, topic: str) -> ToolResult:
        tail = replace(self.tail, host=broker.host, port=broker.port, topic=topic)
        result = run_tail(tail, self.scale.client_timeout_s)
        expect(tail.batches * tail.records_per_batch * tail.consumers, result.records, "consumed records")
        return ToolResult(result.records, result.records_per_s, result.p50_ms, result.p99_ms)

    def limit(self, directory: Path) -> ToolResult | None:
        return bare_tail(
            directory,
            batches=self.tail.batches,
            batches_per_s=self.tail.batches_per_s,
            records_per_batch=self.tail.records_per_batch,
            record_bytes=self.tail.record_bytes,
            readers=self.tail.consumers,
            timeout_s=self.scale.client_timeout_s,
        )


def workloads(libs: Path | None, scale: Scale) -> list[Workload]:  # noqa: ARG001 - Kafka's tools are not used here
    """In the order in which a round runs them."""
    found: list[Workload] = [
        _tailing(
            scale,
            name=f"tail-{partitions}",
            title=f"1,000 batches/s in {_count(partitions, 'partition')}, 1 reader",
            quick=partitions == 1,
            tail=Tail("", 0, "", partitions=partitions, active=partitions, batches_per_s=1000),
        )
        for partitions in (1, 10, 100)
    ]
    found += [
        _tailing(
            scale,
            name=f"tail-groups-{groups}",
            title=f"100 batches/s, {_count(groups, 'group')} of 1 reader, committing",
            tail=Tail("", 0, "", consumers=groups, commit_every=COMMIT_EVERY, batches_per_s=100),
        )
        for groups in (1, 50)
    ]
    found.append(
        _tailing(
            scale,
            name="sessions-1000",
            title="200 batches/s in 20 of 1,000 partitions, 1 reader",
            tail=Tail("", 0, "", partitions=1000, active=20, batches_per_s=200),
            # To make 1,000 partitions takes Apache Kafka longer than the work itself.
            rounds_at_most=2,
            warms_up=False,
        )
    )
    return found


def begin_indexes(connection: Connection, topic: str, partitions: int) -> None:
    """Have all partitions hold more than is written between two entries of their indexes.

    What begins then is steady: where many new partitions come to their first entries together, Apache Kafka waits for
    the disk to have a place for these, for half a second and more.
    """
    # Of now: behind a batch of long ago, each partition would begin another segment.
    records = batch([bytes(INDEX_INTERVAL_BYTES)], timestamp_ms=int(time.time() * 1000))
    for _ in range(2):
        for partition in range(partitions):
            error_code = produce(connection, topic, records, partition=partition).error_code
            if error_code:
                raise ClientFailed(f"a first batch for partition {partition}: error code {error_code}")


def run_tail(tail: Tail, timeout_s: float) -> TailResult:
    """Producer and readers in a process of their own. Raises ClientFailed."""
    output = client([sys.executable, "-m", "benchmarks.load.tail", *arguments(tail)], timeout_s)
    return TailResult(**json.loads(output))


def _tailing(
    scale: Scale,
    *,
    name: str,
    title: str,
    tail: Tail,
    quick: bool = False,
    rounds_at_most: int | None = None,
    warms_up: bool = True,
) -> Tailing:
    seconds = QUICK_SECONDS if scale.is_quick else SECONDS
    return Tailing(
        name=name,
        title=title,
        group=TAILING,
        partitions=tail.partitions,
        quick=quick,
        rounds_at_most=rounds_at_most,
        warms_up=warms_up,
        expected_s=seconds + (1.0 if warms_up else 12.0),
        keeps_what_it_reports=tail.consumers == 1,
        scale=scale,
        tail=replace(tail, batches=seconds * tail.batches_per_s),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
