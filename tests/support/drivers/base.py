"""What a test asks of a client library, whatever its language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.support.process import wait_for

TopicPartition = tuple[str, int]
Headers = tuple[tuple[str, bytes | None], ...]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass(frozen=True)
class Record:
    """A record to send, or one that was received (then with its place)."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None
    partition: int | None = None
    topic: str = field(default="", compare=False)
    offset: int = field(default=-1, compare=False)

    @property
    def content(self) -> tuple[bytes | None, bytes | None, Headers]:
        return self.key, self.value, self.headers


@dataclass(frozen=True)
class Ack:
    """What became of one record: a place in the log, or Kafka's name of the error."""

    partition: int = -1
    offset: int = -1
    timestamp_ms: int = -1
    error: str = ""


@dataclass(frozen=True)
class ProducerSettings:
    acks: int = -1
    compression: str = "none"
    idempotent: bool = False
    max_request_bytes: int = 1_000_000
    linger_ms: int = 20
    partitioner: str = ""


@dataclass(frozen=True)
class ConsumerSettings:
    group: str | None = None
    reset: str = "earliest"
    isolation: str = "read_uncommitted"
    session_timeout_ms: int = 10_000
    instance_id: str | None = None
    assignor: str = "range"
    protocol: str = "classic"
    """`consumer` for that of KIP-848, whose session time-out and assignor are the group's."""
    fetch_max_bytes: int = 50 * 1024 * 1024
    partition_max_bytes: int = 1024 * 1024


class Consumer(Protocol):
    """One consumer. Offsets are committed only by ``commit``."""

    def poll(self, timeout_s: float) -> list[Record]: ...

    def assignment(self) -> set[TopicPartition]: ...

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None: ...

    def committed(self, partition: TopicPartition) -> int | None: ...

    def close(self) -> None: ...


class Driver(Protocol):
    """A client library."""

    name: str

    def produce(self, topic: str, records: Sequence[Record], settings: ProducerSettings) -> list[Ack]:
        """Send the records in order with one producer and wait for all of them."""

    def subscribe(self, topics: Sequence[str], settings: ConsumerSettings) -> Consumer:
        """A member of ``settings.group``; with the consumer protocol, a topic that begins with ^ is an expression."""

    def assign(self, partitions: Mapping[TopicPartition, int], settings: ConsumerSettings) -> Consumer:
        """A consumer of these partitions from these offsets (-1: latest, -2: earliest)."""

    def offsets(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """ListOffsets: -1 for the end, -2 for the beginning, else the first offset at or after a time."""

    def close(self) -> None: ...


def collect(consumer: Consumer, count: int, timeout_s: float = 20.0) -> list[Record]:
    """Poll until ``count`` records are there, then once more: a test sees it when there are others."""
    found: list[Record] = []

    def enough() -> bool:
        found.extend(consumer.poll(0.1))
        return len(found) >= count

    wait_for(enough, f"{count} records", timeout_s)
    found.extend(consumer.poll(0.05))
    return found
