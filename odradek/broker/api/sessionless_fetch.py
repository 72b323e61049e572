"""The short way through Fetch for requests without a session, which name all partitions and are told of all.

So do librdkafka, sarama and others, for whom sessions (KIP-227) are an option that they have not taken.
"""

from __future__ import annotations

from odradek.broker.api.plain_reads import PlainReads, UnusualError, release_all
from odradek.broker.fetch.deadlines import Deadlines
from odradek.broker.fetch.session import INVALID_SESSION_ID, FetchedPartition, PartitionKey
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Isolation, Partition
from odradek.ports import Promise
from odradek.ports.network import Reply
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.plain_fetch import PlainFetch, write_plain

MAX_PARTITIONS = 500
"""Requests of more go the long way, which gives way to others while it reads."""


class SessionlessFetchApi:
    """Answers plain requests that belong to no session."""

    def __init__(self, replicas: ReplicaManager, reads: PlainReads, *, waits: bool) -> None:
        """`waits`: look-ups may wait for a disk."""
        self._replicas = replicas
        self._reads = reads
        self._waits = waits
        self._deadlines = Deadlines(replicas.waiting_timing)
        self._image = replicas.image
        self._partitions: dict[PartitionKey, Partition] = {}
        """What requests named since `_image` has been the metadata."""

    def answer(self, version: int, correlation_id: int, request: PlainFetch) -> Reply | Promise[Reply | None] | None:
        """The reply; None, with nothing changed, if the request has to go the long way."""
        if not 0 < len(request.partitions) <= MAX_PARTITIONS:
            return None
        try:
            fetch = _Fetch(version, correlation_id, request, self._named_by(request))
            reply = self.reply(fetch, is_over=request.max_wait_ms <= 0, waits=self._waits)
        except UnusualError:
            return None
        return self._wait(fetch) if reply is None else reply

    def reply(self, fetch: _Fetch, *, is_over: bool, waits: bool) -> Reply | None:
        """What is sent now; None if that is less than is waited for, and the time is not over. Raises UnusualError."""
        request = fetch.request
        isolation = Isolation.READ_COMMITTED if request.isolation_level == 1 else Isolation.READ_UNCOMMITTED
        found, size = self._reads.read(fetch.partitions, isolation, request.max_bytes, waits=waits)
        if size < request.min_bytes and not is_over:
            release_all(found)
            return None
        answers = [answer for _, answer, _ in found]
        # What is sent as it is; a cast would cost a call.
        return write_plain(fetch.version, fetch.correlation_id, INVALID_SESSION_ID, answers)  # type: ignore[return-value]

    def _wait(self, fetch: _Fetch) -> Promise[Reply | None]:
        readers = self._replicas.readers
        waiting = _Waiting(self, fetch)
        # What has moved up to here was read already.
        readers.tell()
        for name in fetch.names():
            readers.watch(name, waiting)
        self._deadlines.add(waiting, fetch.request.max_wait_ms)
        return waiting.promise

    def forget(self, waiting: _Waiting, fetch: _Fetch) -> None:
        """It waits no more."""
        self._deadlines.done()
        readers = self._replicas.readers
        for name in fetch.names():
            readers.unwatch(name, waiting)

    def _named_by(self, request: PlainFetch) -> list[FetchedPartition]:
        """The partitions that a request names, each once: the last mention counts. Raises UnusualError."""
        if self._replicas.image is not self._image:
            self._image = self._replicas.image
            self._partitions.clear()
        named: dict[PartitionKey, FetchedPartition] = {}
        for topic, asked in request.partitions:
            key = topic, asked.partition
            partition = self._partitions.get(key) or self._partition(key)
            fetched = named[key] = FetchedPartition(
                key,
                asked.fetch_offset,
                asked.max_bytes,
                asked.current_leader_epoch,
                asked.last_fetched_epoch,
                asked.log_start_offset,
            )
            fetched.partition = partition
        return list(named.values())

    def _partition(self, key: PartitionKey) -> Partition:
        """Raises UnusualError if there is none here."""
        topic, index = key
        name = topic if isinstance(topic, str) else self._replicas.topic_name(topic)
        partition = None if name is None else self._replicas.partitions.get(TopicPartition(name, index))
        if partition is None:
            raise UnusualError
        self._partitions[key] = partition
        return partition


class _Fetch:
    """A request, and the partitions that it names."""

    __slots__ = ("correlation_id", "partitions", "request", "version")

    def __init__(
        self, version: int, correlation_id: int, request: PlainFetch, partitions: list[FetchedPartition]
    ) -> None:
        self.version = version
        self.correlation_id = correlation_id
        self.request = request
        self.partitions = partitions

    def names(self) -> list[TopicPartition]:
        """The partitions' names."""
        return [fetched.partition.topic_partition for fetched in self.partitions if fetched.partition is not None]


class _Waiting:
    """A fetch that has not found enough: it is answered when there is more, or its time is over."""

    __slots__ = ("_api", "_fetch", "promise")

    def __init__(self, api: SessionlessFetchApi, fetch: _Fetch) -> None:
        self._api = api
        self._fetch: _Fetch | None = fetch
        self.promise: Promise[Reply | None] = Promise()
        # A client that is gone must not keep what it asked for until a time-out of its own choosing.
        self.promise.on_abandoned(self._forget)

    @property
    def is_done(self) -> bool:
        """Whether it waits no more."""
        return self._fetch is None

    def moved(self, key: TopicPartition) -> None:
        """A partition moved (see `Watcher`): all are read again."""

    def wake(self) -> None:
        """Answer, if there is enough now (see `Watcher`)."""
        self._settle(is_over=False)

    def finish(self) -> None:
        """Answer with what there is."""
        self._settle(is_over=True)

    def _settle(self, *, is_over: bool) -> None:
        fetch = self._fetch
        if fetch is None:
            return
        reply: Reply | None
        try:
            reply = self._api.reply(fetch, is_over=is_over, waits=True)
            if reply is None:
                return
        except UnusualError:
            reply = None  # for the long way, which begins anew with the request
        except Exception as error:  # noqa: BLE001 - logged where the promise is settled; others must still be asked
            self._forget()
            self.promise.reject(error)
            return
        self._forget()
        self.promise.resolve(reply)

    def _forget(self) -> None:
        fetch, self._fetch = self._fetch, None
        if fetch is None:
            return
        self._api.forget(self, fetch)
