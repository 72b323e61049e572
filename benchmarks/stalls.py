"""What a steady producer notices of heavy work that the broker does beside it: `python -m benchmarks.stalls`.

For each kind of work a producer sends 2,000 requests a second, alone and then beside the work, which others ask for all
the while, at a lower priority, so that what is measured is the broker and not who gets a processor. TLS is not
measured: there is none yet.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.brokers import APACHE, ODRADEK, ODRADEK_SETTINGS, MeasuredApache, running
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from odradek.wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.records.batch import build_batch
from odradek.wire.records.compression import Codec
from odradek.wire.records.record import Record
from tests.support.odradek import Odradek
from tests.support.requests import (
    NAMED_FETCH_VERSION,
    TOPIC,
    alter_configs,
    await_coordinator,
    connect,
    create_topic,
    produce,
    wait_for_topic,
)

Broker = Odradek | MeasuredApache
PER_S = 2000.0
PARTITIONS = 1000
BURST_CONNECTIONS = 2000
BATCH_BYTES = 900_000
NICENESS = 10
STEADY_TOPIC = "steady"
MIB = 1 << 20


@dataclass(frozen=True)
class Work:
    """One kind of heavy work: `prepare` once, then `step` again and again while the producer is measured."""

    name: str
    step: Callable[[Broker], None]
    prepare: Callable[[Broker], None] = lambda _broker: None


def big_batch(codec: Codec, record_bytes: int = 100) -> bytes:
    """A batch of nearly 1 MiB before it is compressed, which halves it, about."""
    source = random.Random(1)
    now_ms = int(time.time() * 1000)
    count = BATCH_BYTES // record_bytes
    records = [
        Record(
            index,
            now_ms,
            b"key-%08d" % index,
            source.randbytes(record_bytes // 4).hex().encode() + b"x" * (record_bytes // 2 - 12),
        )
        for index in range(count)
    ]
    return build_batch(records, codec=codec)


def recompression(sent: Codec, topic_codec: str) -> Work:
    """Batches whose records have to be opened, and compressed anew."""
    topic = f"{sent.config_name}-{topic_codec}"
    return producing(
        f"records of {sent.config_name} for compression.type={topic_codec}",
        topic,
        sent,
        {"compression.type": topic_codec},
    )


def producing(name: str, topic: str, codec: Codec, configs: dict[str, str], record_bytes: int = 100) -> Work:
    """One producer of batches of 1 MiB, one in flight."""
    batch = big_batch(codec, record_bytes)

    def prepare(broker: Broker) -> None:
        with connect(broker) as connection:
            create_topic(
                connection, topic, configs={"retention.bytes": str(64 * MIB), "segment.bytes": str(32 * MIB), **configs}
            )

    def step(broker: Broker) -> None:
        with connect(broker, 60.0) as connection:
            for _ in range(10):
                answer = produce(connection, topic, batch, acks=1)
                assert answer.error_code == 0, ErrorCode(answer.error_code)

    return Work(name, step, prepare)


def with_partitions(topic: str) -> Callable[[Broker], None]:
    """A topic of `PARTITIONS` partitions with a batch in each."""

    def prepare(broker: Broker) -> None:
        batch = build_batch([Record(0, int(time.time() * 1000), b"key", b"x" * 100)])
        with connect(broker, 60.0) as connection:
            create_topic(connection, topic, PARTITIONS)
            for index in range(PARTITIONS):
                assert produce(connection, topic, batch, partition=index, acks=1).error_code == 0

    return prepare


def fetch_all(broker: Broker) -> None:
    """A fetch of all partitions outside of any session."""
    with connect(broker) as connection:
        partitions = [
            FetchPartition(partition=index, fetch_offset=0, partition_max_bytes=1000) for index in range(PARTITIONS)
        ]
        request = FetchRequest(
            max_wait_ms=500, min_bytes=1, max_bytes=50 * MIB, session_id=0, session_epoch=-1,
            topics=[FetchTopic(topic="fetched", partitions=partitions)],
        )  # fmt: skip
        for _ in range(10):
            answer = connection.call(request, FetchResponse, NAMED_FETCH_VERSION)
            assert len(answer.responses[0].partitions) == PARTITIONS


def list_all(broker: Broker) -> None:
    """Offsets by timestamp in all partitions."""
    with connect(broker) as connection:
        wanted = [ListOffsetsPartition(partition_index=index, timestamp=1) for index in range(PARTITIONS)]
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name="listed", partitions=wanted)])
        for _ in range(10):
            answer = connection.call(request, ListOffsetsResponse)
            assert len(answer.topics[0].partitions) == PARTITIONS


def describe_dirs(broker: Broker) -> None:
    """Everything that is stored."""
    with connect(broker) as connection:
        for _ in range(10):
            connection.call(DescribeLogDirsRequest(topics=None), DescribeLogDirsResponse)


def ask_metadata(broker: Broker) -> None:
    """All topics."""
    with connect(broker) as connection:
        for _ in range(10):
            connection.call(MetadataRequest(topics=None), MetadataResponse)


def create_and_delete(broker: Broker) -> None:
    """A topic of many partitions, made and deleted."""
    with connect(broker, 60.0) as connection:
        topic = CreatableTopic(name="passing", num_partitions=PARTITIONS, replication_factor=1)
        answer = connection.call(CreateTopicsRequest(topics=[topic], timeout_ms=30_000), CreateTopicsResponse)
        assert answer.topics[0].error_code == 0, ErrorCode(answer.topics[0].error_code)
        wait_for_topic(connection, "passing", PARTITIONS)
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name="passing")], timeout_ms=30_000)
        assert connection.call(request, DeleteTopicsResponse).responses[0].error_code == 0
        time.sleep(1.0)


def connect_many(broker: Broker) -> None:
    """A burst of connections, each with a request."""
    request = struct.pack(">ihhih", 10, 18, 0, 7, -1)
    address = (broker.host, broker.port)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(address, timeout=30)) for _ in range(BURST_CONNECTIONS)]
        for each in sockets:
            each.sendall(request)
        for each in sockets:
            assert each.recv(1 << 16)
    time.sleep(0.5)


def roll_and_delete(broker: Broker) -> None:
    """A topic of many small segments, written and deleted."""
    batch = build_batch([Record(index, int(time.time() * 1000), b"key", b"x" * 1000) for index in range(500)])
    with connect(broker, 60.0) as connection:
        name = f"rolled-{time.monotonic_ns()}"
        create_topic(connection, name, configs={"segment.bytes": str(MIB)})
        for _ in range(400):
            assert produce(connection, name, batch, acks=1).error_code == 0
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=30_000)
        assert connection.call(request, DeleteTopicsResponse).responses[0].error_code == 0
        time.sleep(0.5)


def fill_dirty(broker: Broker) -> None:
    """A log that has all to be cleaned, but is not dirty enough."""
    source = random.Random(2)
    now_ms = int(time.time() * 1000)
    batches = [
        build_batch(
            [Record(n, now_ms, b"key-%08d" % source.randrange(100_000), source.randbytes(1000)) for n in range(128)]
        )
        for _ in range(20)
    ]
    with connect(broker, 60.0) as connection:
        configs = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1.0", "segment.bytes": str(16 * MIB)}
        create_topic(connection, "compacted", configs=configs)
        for number in range(300 * MIB // len(batches[0])):
            assert produce(connection, "compacted", batches[number % len(batches)], acks=1).error_code == 0


def clean(broker: Broker) -> None:
    """Have the log cleaned, from now on."""
    with connect(broker) as connection:
        alter_configs(connection, TOPIC, "compacted", {"min.cleanable.dirty.ratio": "0.01"})
    time.sleep(5.0)


def commit_offsets(broker: Broker) -> None:
    """A group's offsets for all partitions, again and again."""
    with connect(broker) as connection:
        await_coordinator(connection, "committing")
        partitions = [
            OffsetCommitRequestPartition(partition_index=index, committed_offset=1) for index in range(PARTITIONS)
        ]
        request = OffsetCommitRequest(
            group_id="committing", topics=[OffsetCommitRequestTopic(name="committed", partitions=partitions)]
        )
        for _ in range(10):
            answer = connection.call(request, OffsetCommitResponse, 9)
            assert answer.topics[0].partitions[0].error_code == 0, ErrorCode(answer.topics[0].partitions[0].error_code)


def works() -> list[Work]:
    """All kinds, in the order in which they are measured."""
    compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1.0"}
    appending = {"message.timestamp.type": "LogAppendTime"}
    return [
        recompression(Codec.NONE, "lz4"),
        recompression(Codec.LZ4, "zstd"),
        recompression(Codec.ZSTD, "gzip"),
        recompression(Codec.GZIP, "uncompressed"),
        producing("records of lz4 for a compacted topic", "keyed", Codec.LZ4, compacted),
        producing("records of 10 KiB, zstd for lz4", "large", Codec.ZSTD, {"compression.type": "lz4"}, 10_240),
        producing("1 MiB with LogAppendTime", "appended", Codec.NONE, appending),
        Work("segments rolled, a topic of 200 deleted", roll_and_delete),
        Work("compaction of 300 MB", clean, fill_dirty),
        Work("fetches of 1,000 partitions", fetch_all, with_partitions("fetched")),
        Work("ListOffsets by timestamp of 1,000 partitions", list_all, with_partitions("listed")),
        Work("OffsetCommit of 1,000 partitions", commit_offsets, with_partitions("committed")),
        Work("DescribeLogDirs of 3,000 partitions", describe_dirs),
        Work("Metadata of 3,000 partitions", ask_metadata),
        Work("1,000 partitions created and deleted", create_and_delete),
        Work("2,000 connections at once", connect_many),
    ]  # fmt: skip


def steady(broker: Broker, seconds: float, until: Callable[[], bool] | None = None) -> dict[str, float]:
    """What the steady producer measured, over `seconds` or until `until` holds, if that is later."""
    command = [
        sys.executable, "-m", "benchmarks.steady", broker.host, str(broker.port), STEADY_TOPIC,
        "--per-s", str(PER_S), "--seconds", str(seconds if until is None else 600), "--stop-with-stdin",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        if until is not None:
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s or not until():
                time.sleep(0.05)
            process.stdin.close()
        assert process.stdout is not None
        out = process.stdout.read()
    return dict(json.loads(out)["answered"])


def keep_working(work: Work, broker: Broker, until_s: float) -> None:
    """In a process of its own: one step after another."""
    os.nice(NICENESS)
    while time.monotonic() < until_s:
        work.step(broker)


def measure(work: Work, broker: Broker, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """The producer alone, and beside the work."""
    work.prepare(broker)
    time.sleep(1.0)
    quiet = steady(broker, seconds)
    process = multiprocessing.get_context("fork").Process(
        target=keep_working, args=(work, broker, time.monotonic() + seconds)
    )
    process.start()
    try:
        busy = steady(broker, seconds, lambda: not process.is_alive())
    finally:
        process.kill()
        process.join()
    if process.exitcode:
        raise click.ClickException(f"{work.name} failed")
    return quiet, busy


class TurnsOdradek(Odradek):
    """Tells in its log which callbacks take long."""

    program = ("benchmarks.turns",)


@click.command()
@click.option("--only", default="", help="Kinds of work whose names have this in them.")
@click.option("--seconds", default=4.0, help="How long each measurement takes at least.")
@click.option("--apache", is_flag=True, help="Measure Apache Kafka instead.")
@click.option(
    "--turns", is_flag=True, help="Have the broker tell which of its callbacks take long; the figures suffer."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Where to write the figures, too.")
def main(only: str, seconds: float, apache: bool, turns: bool, json_path: Path | None) -> None:
    """Measure what heavy work does to a steady producer."""
    root = Path(tempfile.mkdtemp(prefix="stalls-"))
    rows = []
    click.echo(
        f"{'work':52} {'quiet p50':>9} {'p99':>7} {'max':>7}   {'beside p50':>10} {'p99':>8} {'max':>8}  {'ratio':>6}"
    )
    try:
        if turns:
            (root / "broker").mkdir()
            broker: Broker = TurnsOdradek(root / "broker", ODRADEK_SETTINGS)
            broker.start()
            context: contextlib.AbstractContextManager[Broker] = contextlib.nullcontext(broker)
        else:
            context = running(APACHE if apache else ODRADEK, root / "broker")
        with context as broker:
            with connect(broker) as connection:
                create_topic(connection, STEADY_TOPIC)
            steady(broker, 5.0 if apache else 1.0)
            for work in works():
                if only not in work.name:
                    continue
                seen = len(broker.log_path.read_bytes())
                quiet, busy = measure(work, broker, seconds)
                ratio = busy["p99_ms"] / quiet["p99_ms"]
                rows.append({"work": work.name, "quiet": quiet, "beside": busy, "p99_ratio": ratio})
                click.echo(
                    f"{work.name:52} {quiet['p50_ms']:9.2f} {quiet['p99_ms']:7.2f} {quiet['max_ms']:7.2f}   "
                    f"{busy['p50_ms']:10.2f} {busy['p99_ms']:8.2f} {busy['max_ms']:8.2f}  {ratio:6.1f}"
                )
                if turns:
                    slow = [
                        line
                        for line in broker.log_path.read_bytes()[seen:].decode().splitlines()
                        if line.startswith("SLOW")
                    ]
                    slow.sort(key=lambda line: -float(line.split()[1]))
                    click.echo("\n".join(f"    {line[:600]}" for line in slow[:6]))
            if turns:
                broker.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if json_path is not None:
        json_path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
