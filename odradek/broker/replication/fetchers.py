"""All fetchers of a broker: which partition is copied by which (Kafka's ReplicaFetcherManager)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from odradek.broker.replication.cluster import ReplicaClient
from odradek.broker.replication.fetcher import Fetcher, FetcherPorts
from odradek.broker.replication.followed_logs import FollowedLogs
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.uuids import Uuid


class Source(NamedTuple):
    """Whom a partition is copied from."""

    topic_id: Uuid
    leader_id: int
    leader_epoch: int


class Fetchers:
    """`num.replica.fetchers` for each broker that leads a partition which is followed here."""

    def __init__(self, logs: FollowedLogs, new_client: Callable[[str], ReplicaClient], ports: FetcherPorts) -> None:
        self._logs = logs
        self._new_client = new_client
        self._ports = ports
        self._fetchers: dict[tuple[int, int], Fetcher] = {}
        self._sources: dict[TopicPartition, Source] = {}
        self._count = ports.options().fetchers
        self._is_started = False
        self._is_closed = False
        self._is_retiring = False

    @property
    def sources(self) -> dict[TopicPartition, Source]:
        """What is, or shall be, copied from whom."""
        return dict(self._sources)

    def start(self) -> None:
        """Begin to fetch what has been added by now and will be."""
        if not self._is_started:
            self._is_started = True
            for name, source in self._sources.items():
                self._add(name, source)

    def close(self) -> None:
        """Stop all."""
        self._is_closed = True
        for fetcher in self._fetchers.values():
            fetcher.close()
        self._fetchers.clear()

    def add(self, name: TopicPartition, source: Source) -> None:
        """Copy a partition from its leader in this epoch, and from nobody else."""
        before = self._sources.get(name)
        if before is not None and before.leader_id != source.leader_id:
            self.remove(name)
        self._sources[name] = source
        if self._is_started:
            self._add(name, source)

    def remove(self, name: TopicPartition) -> None:
        """Copy a partition no more."""
        source = self._sources.pop(name, None)
        if source is not None:
            fetcher = self._fetchers.get(self._place(name, source))
            if fetcher is not None:
                fetcher.remove([name])
                self._retire_idle_later()

    def resize(self) -> None:
        """Spread the partitions anew if `num.replica.fetchers` has changed."""
        count = self._ports.options().fetchers
        if count == self._count:
            return
        self._count = count
        for fetcher in self._fetchers.values():
            fetcher.close()
        self._fetchers.clear()
        if self._is_started:
            for name, source in self._sources.items():
                self._add(name, source)

    def failed_partitions(self) -> Iterable[TopicPartition]:
        """What is not copied though it should be, until there is a new leader epoch."""
        return [name for fetcher in self._fetchers.values() for name in fetcher.failed_partitions]

    def _add(self, name: TopicPartition, source: Source) -> None:
        if self._is_closed:
            return
        place = self._place(name, source)
        fetcher = self._fetchers.get(place)
        if fetcher is None:
            client = self._new_client(f"replica-fetcher-{place[0]}-{place[1]}")
            fetcher = self._fetchers[place] = Fetcher(source.leader_id, client, self._logs, self._ports)
        fetcher.add(name, source.topic_id, source.leader_epoch)

    def _place(self, name: TopicPartition, source: Source) -> tuple[int, int]:
        return source.leader_id, fetcher_id(name, self._count)

    def _retire_idle_later(self) -> None:
        """Not at once: partitions often go and come within one change of the metadata."""
        if not self._is_retiring:
            self._is_retiring = True
            self._ports.scheduler.call_soon(self._retire_idle)

    def _retire_idle(self) -> None:
        self._is_retiring = False
        for place, fetcher in list(self._fetchers.items()):
            if not fetcher.partitions and not fetcher.failed_partitions:
                fetcher.close()
                del self._fetchers[place]


def fetcher_id(name: TopicPartition, count: int) -> int:
    """Which of `count` fetchers copies a partition: spread as Kafka does, by Java's hash of the topic's name."""
    number = 31 * _java_hash(name.topic) + name.partition
    number = (number + 2**31) % 2**32 - 2**31
    return (0 if number == -(2**31) else abs(number)) % count


def _java_hash(text: str) -> int:
    value = 0
    for character in text:
        value = (31 * value + ord(character)) % 2**32
    return value
