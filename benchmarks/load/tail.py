"""Our own consumers at the end of a topic, with a steady producer in the same process: one clock for both ends.

``python -m benchmarks.load.tail HOST PORT TOPIC`` writes one JSON line. Nobody else may produce to the topic.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.load.channel import Channel
from benchmarks.load.command_line import parse, report
from benchmarks.load.fetch import find_topic_id
from benchmarks.load.fetch_wire import VERSIONS, FetchFailed, FetchSession, Limits, RequestWriter
from benchmarks.load.steady import SteadyLoop
from benchmarks.load.tail_wire import CommitWriter, ProduceWriter, check_commit, check_produce
from benchmarks.stats import quantile
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from tests.support.batches import batch
from tests.support.wire import Connection

LATEST = -1
"""The timestamp that stands for a log's end."""


@dataclass(frozen=True)
class Tail:
    """What is produced and who reads it.

    Batches go to `active` partitions in turn; each second it is the turn of the next so many of the topic's.
    """

    host: str
    port: int
    topic: str
    partitions: int = 1
    active: int = 1
    consumers: int = 1
    """Each has a connection and a session of all partitions."""
    commit_every: int = 0
    """After how many answers with records a consumer commits for its group, over another connection; 0: no groups."""
    batches: int = 1000
    batches_per_s: int = 1000
    records_per_batch: int = 10
    record_bytes: int = 100
    version: int = VERSIONS[-1]
    max_wait_ms: int = 500


@dataclass(frozen=True)
class TailResult:
    """What was read by all consumers together; latencies are from when a batch was due to its last byte's arrival."""

    records: int
    fetches: int
    commits: int
    records_per_s: float
    fetches_per_s: float
    p50_ms: float
    p99_ms: float


def group_id(topic: str, number: int) -> str:
    """The group of consumer `number`."""
    return f"{topic}-{number}"


def follow(tail: Tail) -> TailResult:
    """Produce at a steady rate until all has been sent and read by all. Raises FetchFailed, OSError."""
    run = _Run(tail)
    try:
        return run.measure()
    finally:
        run.close()


class Producer:
    """Sends batches, and keeps when each of them was due."""

    def __init__(self, tail: Tail) -> None:
        self.due_at_s: list[list[float]] = [[] for _ in range(tail.partitions)]
        """Of each partition's batches, in order."""
        self.channel = Channel(tail.host, tail.port)
        self._tail = tail
        self._sent = 0
        self._answered = 0
        records = batch([b"x" * tail.record_bytes] * tail.records_per_batch, timestamp_ms=int(time.time() * 1000))
        self._writer = ProduceWriter(tail.topic, records)

    @property
    def is_done(self) -> bool:
        return self._answered == self._sent

    def send(self, due_s: float) -> None:
        """Send the next batch, which is due since then."""
        partition = partition_of(self._tail, self._sent)
        self._sent += 1
        frame = self._writer.write(self._sent, partition)
        self.due_at_s[partition].append(due_s)
        self.channel.send(frame)

    def receive(self) -> None:
        for start, end in self.channel.receive():
            self._answered += 1
            check_produce(self.channel.buffer, start, end, self._answered, self._tail.topic)


def end_offsets(tail: Tail) -> dict[int, int]:
    """Where each partition ends. Raises FetchFailed."""
    wanted = [ListOffsetsPartition(partition_index=index, timestamp=LATEST) for index in range(tail.partitions)]
    request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(name=tail.topic, partitions=wanted)])
    with Connection(tail.host, tail.port) as connection:
        answers = connection.call(request, ListOffsetsResponse).topics[0].partitions
    for answer in answers:
        if answer.error_code:
            raise FetchFailed(f"the end of partition {answer.partition_index}: error code {answer.error_code}")
    return {answer.partition_index: answer.offset for answer in answers}


def partition_of(tail: Tail, number: int) -> int:
    """Where batch `number`, counted from 0, goes."""
    first = number // tail.batches_per_s * tail.active
    return (first + number % tail.active) % tail.partitions


class Commits:
    """What a consumer commits for its group, over a connection of its own as clients do."""

    def __init__(self, tail: Tail, number: int) -> None:
        self.channel = Channel(tail.host, tail.port)
        self.answered = 0
        self._sent = 0
        self._reads = 0
        self._tail = tail
        self._writer = CommitWriter(group_id(tail.topic, number), tail.topic)

    @property
    def is_done(self) -> bool:
        return self.answered == self._sent

    def note_read(self, partition: int, offset: int) -> None:
        """An answer with records has been read; commits `offset` if it is time to."""
        self._reads += 1
        if self._reads % self._tail.commit_every == 0:
            self._sent += 1
            self.channel.send(self._writer.write(self._sent, partition, offset))

    def receive(self) -> None:
        for start, end in self.channel.receive():
            self.answered += 1
            check_commit(self.channel.buffer, start, end, self.answered, self._tail.topic)


class Consumer:
    """Long polls, one fetch at a time, and commits now and then."""

    def __init__(
        self, tail: Tail, number: int, producer: Producer, writer: RequestWriter, ends: Mapping[int, int]
    ) -> None:
        """`ends` are the offsets behind what is in the partitions already."""
        limits = Limits(max_wait_ms=tail.max_wait_ms)
        self.channel = Channel(tail.host, tail.port)
        self.commits = Commits(tail, number) if tail.commit_every else None
        self.latencies_s = array("d")
        """Of each batch that has been read."""
        self.fetches = 0
        self._session = FetchSession(writer, tail.version, ends, limits, incremental=True)
        self._ends = ends
        self._tail = tail
        self._producer = producer
        self._read_batches = [0] * tail.partitions

    @property
    def is_done(self) -> bool:
        has_all = len(self.latencies_s) == self._tail.batches
        return has_all and (self.commits is None or self.commits.is_done)

    def poll(self) -> None:
        """Send the next fetch."""
        self.channel.send(self._session.request())

    def receive(self) -> None:
        """Read an answer, if it is whole, and fetch again, unless everything has been read."""
        for start, end in self.channel.receive():
            now_s = time.perf_counter()
            self.fetches += 1
            moved = -1
            for answer in self._session.accept(self.channel.buffer, start, end):
                if answer.record_bytes:
                    moved = answer.partition
                    self._note(moved, now_s)
            if len(self.latencies_s) < self._tail.batches:
                self.poll()
            if moved >= 0 and self.commits is not None:
                self.commits.note_read(moved, self._session.offsets[moved])

    def _note(self, partition: int, now_s: float) -> None:
        due_at_s = self._producer.due_at_s[partition]
        read = (self._session.offsets[partition] - self._ends[partition]) // self._tail.records_per_batch
        if read > len(due_at_s):
            raise FetchFailed(f"partition {partition} has more records than were sent to it")
        for number in range(self._read_batches[partition], read):
            self.latencies_s.append(now_s - due_at_s[number])
        self._read_batches[partition] = read


class _Run:
    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        topic_id = find_topic_id(tail.host, tail.port, tail.topic)
        self._producer = Producer(tail)
        writer = RequestWriter(tail.version, tail.topic, topic_id, Limits(max_wait_ms=tail.max_wait_ms))
        ends = end_offsets(tail)
        self._consumers = [Consumer(tail, number, self._producer, writer, ends) for number in range(tail.consumers)]
        self._loop = SteadyLoop()
        self._loop.watch(self._producer.channel, self._producer.receive)
        for consumer in self._consumers:
            self._loop.watch(consumer.channel, consumer.receive)
            if consumer.commits is not None:
                self._loop.watch(consumer.commits.channel, consumer.commits.receive)

    def measure(self) -> TailResult:
        consumers, producer, tail = self._consumers, self._producer, self._tail
        for consumer in consumers:
            consumer.poll()
        self._loop.serve_until(lambda: all(consumer.fetches for consumer in consumers), "no sessions")
        before = sum(consumer.fetches for consumer in consumers)
        elapsed_s = self._loop.run(
            tail.batches,
            tail.batches_per_s,
            producer.send,
            lambda: producer.is_done and all(consumer.is_done for consumer in consumers),
        )
        return self._result(elapsed_s, sum(consumer.fetches for consumer in consumers) - before)

    def close(self) -> None:
        self._loop.close()
        self._producer.channel.close()
        for consumer in self._consumers:
            consumer.channel.close()
            if consumer.commits is not None:
                consumer.commits.channel.close()

    def _result(self, elapsed_s: float, fetches: int) -> TailResult:
        latencies_s = sorted(latency for consumer in self._consumers for latency in consumer.latencies_s)
        records = len(latencies_s) * self._tail.records_per_batch
        return TailResult(
            records=records,
            fetches=fetches,
            commits=sum(each.commits.answered for each in self._consumers if each.commits is not None),
            records_per_s=records / elapsed_s,
            fetches_per_s=fetches / elapsed_s,
            p50_ms=quantile(latencies_s, 0.5) * 1000,
            p99_ms=quantile(latencies_s, 0.99) * 1000,
        )


def main(argv: list[str]) -> int:
    tail = parse(Tail, "benchmarks.load.tail", "Produce, and read at the end.", argv)
    return report(lambda: follow(tail), FetchFailed, OSError)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
