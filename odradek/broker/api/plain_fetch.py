"""The short way through Fetch, for what consumers send again and again: `odradek.wire.plain_fetch`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

from odradek.broker.fetch.reader import release
from odradek.broker.fetch.session import FetchedPartition, PartitionKey, SessionCache
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import NO_EPOCH, Isolation, Partition
from odradek.ports.network import Reply
from odradek.storage.log import Log
from odradek.storage.log_results import LogSlice
from odradek.storage.segment import ColdLookupError
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import KafkaError
from odradek.wire.plain_fetch import PlainAnswer, read_plain, write_plain

_MAX_PARTITIONS = 100
"""Sessions of more are read the long way, which gives way to others in between."""


_NOTHING = LogSlice(b"", 0, 0)


class _Readable(NamedTuple):
    """A partition that can be read up to `end` (exclusive), as far as its metadata says."""

    fetched: FetchedPartition
    log: Log
    end: int


class PlainFetchApi:
    """Answers plain requests for which there is something to read at once; `FetchApi` answers all others."""

    def __init__(self, replicas: ReplicaManager, sessions: SessionCache, max_bytes: int, *, waits: bool) -> None:
        """`max_bytes` is what one response may hold. `waits`: look-ups may wait for a disk."""
        self._replicas = replicas
        self._sessions = sessions
        self._max_bytes = max_bytes
        self._waits = waits
        self._image = replicas.image
        self._partitions: dict[PartitionKey, Partition] = {}
        """What sessions asked for since `_image` has been the metadata."""

    def answer(self, _version: int, correlation_id: int, frame: memoryview, body_at: int) -> Reply | None:
        """The reply (see `Handler.plain`); None if the request has to go the long way.

        Then nothing has changed, but for what the long way changes likewise: where the session's partitions are read.
        """
        request = read_plain(frame, body_at)
        if request is None or request.min_bytes > 1 or request.isolation_level not in (0, 1):
            return None
        session = self._sessions.plain(request.session_id, request.session_epoch)
        if session is None or len(session.partitions) > _MAX_PARTITIONS or not session.move(request.partitions):
            return None
        isolation = Isolation.READ_COMMITTED if request.isolation_level == 1 else Isolation.READ_UNCOMMITTED
        readable = self._readable(session.partitions.values(), isolation)
        if readable is None:
            return None
        answers = self._read(readable, min(request.max_bytes, self._max_bytes), isolation)
        if answers is None:
            return None
        told = session.tell(answers)
        self._sessions.advance(session)
        lists_aborted = isolation is Isolation.READ_COMMITTED
        return cast("Reply", write_plain(correlation_id, session.id, told, lists_aborted=lists_aborted))

    def _readable(self, partitions: Iterable[FetchedPartition], isolation: Isolation) -> list[_Readable] | None:
        """All partitions, if there is something to read and nothing unusual about any of them."""
        replicas = self._replicas
        if replicas.image is not self._image:
            self._image = replicas.image
            self._partitions.clear()
        found = []
        has_data = False
        for fetched in partitions:
            partition = self._partitions.get(fetched.key) or self._partition(fetched.key)
            if partition is None or not partition.is_leader or fetched.last_fetched_epoch >= 0:
                return None
            log = partition.log
            if log is None or fetched.current_leader_epoch not in (NO_EPOCH, partition.leader_epoch):
                return None
            if fetched.fetch_offset > log.log_end_offset:
                return None
            end = log.last_stable_offset if isolation is Isolation.READ_COMMITTED else log.high_watermark
            has_data |= fetched.fetch_offset < end
            found.append(_Readable(fetched, log, end))
        return found if has_data else None

    def _read(self, readable: list[_Readable], max_bytes: int, isolation: Isolation) -> list[PlainAnswer] | None:
        answers: list[PlainAnswer] = []
        total = 0
        for fetched, log, end in readable:
            part = _NOTHING
            if fetched.fetch_offset < end:
                found = self._slice(log, fetched, end, max_bytes - total, isolation, is_first=total == 0)
                if found is None:
                    for answer in answers:
                        release(answer.records)
                    return None
                part = found
                total += part.size
            answers.append(
                PlainAnswer(
                    cast("bytes", fetched.key[0]),
                    fetched.key[1],
                    log.high_watermark,
                    log.last_stable_offset,
                    log.log_start_offset,
                    part.records,
                    part.size,
                )
            )
        return answers if total else None

    def _slice(
        self, log: Log, fetched: FetchedPartition, end: int, max_bytes: int, isolation: Isolation, *, is_first: bool
    ) -> LogSlice | None:
        """What is read of a partition; None if that fails, needs a disk, or the list of aborted ones is not empty."""
        part = _NOTHING
        try:
            part = log.read(
                fetched.fetch_offset,
                max_bytes=max(0, min(fetched.max_bytes, max_bytes)),
                max_offset=end,
                min_one_message=is_first,
                waits=self._waits,
            )
            if isolation is not Isolation.READ_COMMITTED:
                return part
            if not part.first_entry_incomplete and not log.aborted_in(part, fetched.fetch_offset):
                return part
        except (KafkaError, ColdLookupError):
            pass
        release(part.records)
        return None

    def _partition(self, key: PartitionKey) -> Partition | None:
        topic_id, index = key
        name = self._replicas.topic_name(topic_id) if isinstance(topic_id, bytes) else None
        if name is None:
            return None
        try:
            partition = self._partitions[key] = self._replicas.partition(TopicPartition(name, index))
        except KafkaError:
            return None
        return partition
