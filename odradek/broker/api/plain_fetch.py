"""The short way through Fetch, for what consumers send again and again: `odradek.wire.plain_fetch`."""

from __future__ import annotations

from typing import cast

from odradek.broker.fetch.reader import release
from odradek.broker.fetch.session import FetchedPartition, Session, SessionCache, next_epoch
from odradek.broker.fetch.tracking import Tracking
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import NO_EPOCH, Isolation
from odradek.ports import Promise
from odradek.ports.network import Chunk, Reply
from odradek.storage.log import Log
from odradek.storage.log_results import LogSlice
from odradek.storage.segment import ColdLookupError
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import KafkaError
from odradek.wire.plain_fetch import PlainAnswer, PlainFetch, read_plain, write_plain

MAX_PARTITIONS = 1_000
"""Sessions of more are read the long way, which gives way to others in between: all of these with data take 10 ms."""
MAX_TRACKED = 100_000
"""Partitions that are tracked in all sessions together, at about 500 bytes each; further sessions go the long way."""
SMALL_BYTES = 16 * 1024
"""Records up to this are copied into the reply, where that waits for no disk: cheaper than a range of a file."""
MAX_SHARED = 64
"""So many of these are kept for other fetches that wait for the same records."""

_NOTHING = LogSlice(b"", 0, 0)
_Reading = tuple[Log, int, int, int, bool, Isolation]
"""The arguments of a read."""
_Found = tuple[FetchedPartition, PlainAnswer, bool]
"""A partition, what is to be told of it, and whether its reader is behind its end."""


class _UnusualError(Exception):
    """Only the long way knows what to answer."""


class _Waiting:
    """A fetch that has not found enough (see `tracking.Waiting`)."""

    __slots__ = ("_api", "_correlation_id", "_request", "_session", "deadline_ms", "promise")

    def __init__(
        self, api: PlainFetchApi, correlation_id: int, session: Session, request: PlainFetch, deadline_ms: float
    ) -> None:
        self._api = api
        self._correlation_id = correlation_id
        self._session = session
        self._request = request
        self.deadline_ms = deadline_ms
        self.promise: Promise[Reply | None] = Promise()
        # A client that is gone must not keep what it asked for until a time-out of its own choosing.
        self.promise.on_abandoned(self._forget)

    def look_again(self) -> None:
        """Answer, if there is enough now."""
        self._settle(is_over=False)

    def finish(self) -> None:
        """Answer with what there is."""
        self._settle(is_over=True)

    def _settle(self, *, is_over: bool) -> None:
        session, request = self._session, self._request
        reply: Reply | None
        try:
            reply = self._api.reply(self._correlation_id, session, request, is_over=is_over, waits=True)
            if reply is None:
                return
        except _UnusualError:
            reply = None
            if session.epoch == next_epoch(request.session_epoch):
                session.epoch = request.session_epoch  # for the long way, which begins anew with the request
            else:
                # The client has gone on: nothing that it could still be told in this session's order.
                reply = nothing_new(self._correlation_id, session, request)
        except Exception as error:  # noqa: BLE001 - logged where the promise is settled; others must still be asked
            self._forget()
            self.promise.reject(error)
            return
        self._forget()
        self.promise.resolve(reply)

    def _forget(self) -> None:
        tracking = self._session.tracking
        if tracking is not None and tracking.waiting is self:
            tracking.waiting = None


class PlainFetchApi:
    """Answers plain requests of sessions that it can track; `FetchApi` answers all others."""

    def __init__(self, replicas: ReplicaManager, sessions: SessionCache, max_bytes: int, *, waits: bool) -> None:
        """`max_bytes` is what one response may hold. `waits`: look-ups may wait for a disk."""
        self._replicas = replicas
        self._sessions = sessions
        self._max_bytes = max_bytes
        self._waits = waits
        self._shared: dict[_Reading, LogSlice] = {}
        """What was read for fetches that waited, in the wake `_shared_in`: many may wait for the same records."""
        self._shared_in = 0

    def answer(
        self, _version: int, correlation_id: int, frame: memoryview, body_at: int
    ) -> Reply | Promise[Reply | None] | None:
        """The reply (see `Handler.plain`); None if the request has to go the long way.

        Then nothing has changed, but for what the long way changes likewise: where the session's partitions are read.
        """
        request = read_plain(frame, body_at)
        if request is None or request.isolation_level not in (0, 1):
            return None
        session = self._sessions.plain(request.session_id, request.session_epoch)
        if session is None:
            return None
        tracking = session.tracking
        if tracking is not None and tracking.waiting is not None:
            return None
        try:
            if tracking is None or tracking.is_stale:
                tracking = self._track(session)
            if not session.move(request.partitions, tracking):
                return None
            is_over = request.max_wait_ms <= 0
            reply = self.reply(correlation_id, session, request, is_over=is_over, waits=self._waits)
        except _UnusualError:
            return None
        self._sessions.advance(session)
        if reply is not None:
            return reply
        deadline_ms = self._replicas.waiting_timing.clock.monotonic_ms() + request.max_wait_ms
        waiting = _Waiting(self, correlation_id, session, request, deadline_ms)
        tracking.wait(waiting)
        return waiting.promise

    def reply(
        self, correlation_id: int, session: Session, request: PlainFetch, *, is_over: bool, waits: bool
    ) -> Reply | None:
        """What is sent now; None if that is less than the request waits for, and its time is not over.

        Raises _UnusualError.
        """
        tracking = session.tracking
        if tracking is None:
            raise _UnusualError
        isolation = Isolation.READ_COMMITTED if request.isolation_level == 1 else Isolation.READ_UNCOMMITTED
        tracking.prepare(isolation, self._replicas.logs.log_starts)
        found, size = self._read(tracking, min(request.max_bytes, self._max_bytes), isolation, waits)
        if size < request.min_bytes and not is_over:
            tracking.changed = {
                fetched.key: fetched
                for fetched, answer, is_behind in found
                if is_behind or fetched.is_news(answer.high_watermark, answer.log_start_offset)
            }
            _release(found)
            return None
        told = self._tell(session, tracking, found)
        lists_aborted = isolation is Isolation.READ_COMMITTED
        return cast("Reply", write_plain(correlation_id, session.id, told, lists_aborted=lists_aborted))

    @staticmethod
    def _tell(session: Session, tracking: Tracking, found: list[_Found]) -> list[PlainAnswer]:
        """What of it, none of which is an error, is news to the client; it counts as told then."""
        news = []
        tracking.changed = {}
        for fetched, answer, is_behind in found:
            if answer.size or fetched.is_news(answer.high_watermark, answer.log_start_offset):
                fetched.told_high_watermark = answer.high_watermark
                fetched.told_log_start_offset = answer.log_start_offset
                news.append(answer)
            if answer.size:
                session.move_last(fetched.key)
                tracking.put_last(fetched)
            if is_behind:
                tracking.changed[fetched.key] = fetched
        return news

    def _track(self, session: Session) -> Tracking:
        """Look at all of the session's partitions, and from now on at those that change. Raises _UnusualError."""
        replicas = self._replicas
        before, session.tracking = session.tracking, None
        if before is not None:
            before.close()
        count = len(session.partitions)
        if count > MAX_PARTITIONS or replicas.readers.count + count > MAX_TRACKED:
            raise _UnusualError
        by_name: dict[TopicPartition, FetchedPartition] = {}
        for (topic_id, index), fetched in session.partitions.items():
            topic = replicas.topic_name(cast("bytes", topic_id))
            name = None if topic is None else TopicPartition(topic, index)
            fetched.partition = None if name is None else replicas.partitions.get(name)
            if name is None or fetched.partition is None:
                raise _UnusualError
            by_name[name] = fetched
        tracking = session.tracking = Tracking(by_name, replicas.readers, replicas.waiting_timing)
        return tracking

    def _read(self, tracking: Tracking, max_bytes: int, isolation: Isolation, waits: bool) -> tuple[list[_Found], int]:
        """All that have to be looked at, and the bytes of their records. Raises _UnusualError."""
        found: list[_Found] = []
        size = 0
        try:
            for fetched in tracking.in_order():
                log = self._log(fetched)
                end = log.last_stable_offset if isolation is Isolation.READ_COMMITTED else log.high_watermark
                records: Chunk = b""
                read = 0
                is_behind = fetched.fetch_offset < end
                if is_behind:
                    most = max(0, min(fetched.max_bytes, max_bytes - size))
                    part = self._slice((log, fetched.fetch_offset, end, most, size == 0, isolation), waits=waits)
                    records, read = part.records, part.size
                    size += read
                topic_id, index = fetched.key
                answer = PlainAnswer(
                    cast("bytes", topic_id),
                    index,
                    log.high_watermark,
                    log.last_stable_offset,
                    log.log_start_offset,
                    records,
                    read,
                )
                found.append((fetched, answer, is_behind))
        except _UnusualError:
            _release(found)
            raise
        return found, size

    def _slice(self, reading: _Reading, *, waits: bool) -> LogSlice:
        """What is read of a partition; what a fetch that was woken with this one has read is not read again."""
        readers = self._replicas.readers
        if not readers.is_waking:
            return _take(_slice(reading, waits=waits))
        if self._shared_in != readers.wakes:
            self._shared_in = readers.wakes
            self._shared = {}
        part = self._shared.get(reading)
        if part is None:
            part = _take(_slice(reading, waits=waits))
            if isinstance(part.records, bytes) and len(self._shared) < MAX_SHARED:
                self._shared[reading] = part
        return part

    def _log(self, fetched: FetchedPartition) -> Log:
        """The log of a partition, if there is nothing unusual about it. Raises _UnusualError."""
        partition = fetched.partition
        if (
            partition is None
            or not partition.is_leader
            or fetched.last_fetched_epoch >= 0
            or fetched.current_leader_epoch not in (NO_EPOCH, partition.leader_epoch)
            or self._replicas.partitions.get(partition.topic_partition) is not partition
        ):
            raise _UnusualError
        log = partition.log
        if log is None or fetched.fetch_offset > log.log_end_offset:
            raise _UnusualError
        return log


def nothing_new(correlation_id: int, session: Session, request: PlainFetch) -> Reply:
    """The reply that tells of no partition."""
    return cast("Reply", write_plain(correlation_id, session.id, (), lists_aborted=request.isolation_level == 1))


def _slice(reading: _Reading, *, waits: bool) -> LogSlice:
    """What is read of a partition. Raises _UnusualError if that fails, needs a disk, or some of it was aborted."""
    log, offset, end, max_bytes, is_first, isolation = reading
    part = _NOTHING
    try:
        part = log.read(offset, max_bytes=max_bytes, max_offset=end, min_one_message=is_first, waits=waits)
        if isolation is not Isolation.READ_COMMITTED:
            return part
        if not part.first_entry_incomplete and not log.aborted_in(part, offset):
            return part
    except (KafkaError, ColdLookupError):
        pass
    release(part.records)
    raise _UnusualError


def _take(part: LogSlice) -> LogSlice:
    """The same in memory, if it is small and can be had at once."""
    records, size = part.records, part.size
    if isinstance(records, bytes) or size > SMALL_BYTES:
        return part
    try:
        data = records.read_warm(0, size)
    except OSError:
        return part  # which is met again when it is sent
    if data is None or len(data) != size:
        return part
    records.release()
    return LogSlice(bytes(data), part.segment_base_offset, part.position, part.first_entry_incomplete)


def _release(found: list[_Found]) -> None:
    """Give back what was read and is not sent."""
    for _fetched, answer, _is_behind in found:
        release(answer.records)
