"""The short way through Fetch, for what consumers send again and again: `odradek.wire.plain_fetch`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from odradek.broker.api.plain_reads import Found, PlainReads, UnusualError, release_all
from odradek.broker.api.sessionless_fetch import SessionlessFetchApi
from odradek.broker.fetch.session import (
    FINAL_EPOCH,
    INVALID_SESSION_ID,
    FetchedPartition,
    Session,
    SessionCache,
    next_epoch,
)
from odradek.broker.fetch.tracking import Tracking
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Isolation
from odradek.ports import Promise
from odradek.ports.network import Reply
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.plain_fetch import FIRST_WITH_TOPIC_IDS, PlainAnswer, PlainFetch, read_plain, write_plain

MAX_PARTITIONS = 1_000
"""Sessions of more are read the long way, which gives way to others in between: all of these with data take 10 ms."""
MAX_TRACKED = 100_000
"""Partitions that are tracked in all sessions together, at about 500 bytes each; further sessions go the long way."""


class _Waiting:
    """A fetch that has not found enough (see `tracking.Waiting`)."""

    __slots__ = ("_api", "_correlation_id", "_request", "_session", "_version", "deadline_ms", "promise")

    def __init__(
        self, api: PlainFetchApi, version: int, correlation_id: int, session: Session, request: PlainFetch,
        deadline_ms: float,
    ) -> None:  # fmt: skip
        self._api = api
        self._version = version
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
            reply = self._api.reply(self._version, self._correlation_id, session, request, is_over=is_over, waits=True)
            if reply is None:
                return
        except UnusualError:
            reply = None
            if session.epoch == next_epoch(request.session_epoch):
                session.epoch = request.session_epoch  # for the long way, which begins anew with the request
            else:
                # The client has gone on: nothing that it could still be told in this session's order.
                reply = cast("Reply", write_plain(self._version, self._correlation_id, session.id, ()))
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
    """Answers plain requests without a session, and of sessions that it can track; `FetchApi` answers all others."""

    def __init__(self, replicas: ReplicaManager, sessions: SessionCache, max_bytes: int, *, waits: bool) -> None:
        """`max_bytes` is what one response may hold. `waits`: look-ups may wait for a disk."""
        self._replicas = replicas
        self._sessions = sessions
        self._waits = waits
        self._reads = PlainReads(replicas, max_bytes)
        self._sessionless = SessionlessFetchApi(replicas, self._reads, waits=waits)

    def answer(
        self, version: int, correlation_id: int, frame: memoryview, body_at: int
    ) -> Reply | Promise[Reply | None] | None:
        """The reply (see `Handler.plain`); None if the request has to go the long way.

        Then nothing has changed, but for what the long way changes likewise: where the session's partitions are read.
        """
        request = read_plain(frame, body_at, version)
        if request is None or request.isolation_level not in (0, 1):
            return None
        if request.session_epoch == FINAL_EPOCH and request.session_id == INVALID_SESSION_ID:
            return self._sessionless.answer(version, correlation_id, request)
        session = self._sessions.plain(request.session_id, request.session_epoch, by_id=version >= FIRST_WITH_TOPIC_IDS)
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
            reply = self.reply(version, correlation_id, session, request, is_over=is_over, waits=self._waits)
        except UnusualError:
            return None
        self._sessions.advance(session)
        if reply is not None:
            return reply
        deadline_ms = self._replicas.waiting_timing.clock.monotonic_ms() + request.max_wait_ms
        waiting = _Waiting(self, version, correlation_id, session, request, deadline_ms)
        tracking.wait(waiting)
        return waiting.promise

    def reply(
        self, version: int, correlation_id: int, session: Session, request: PlainFetch, *, is_over: bool, waits: bool
    ) -> Reply | None:
        """What is sent now; None if that is less than the request waits for, and its time is not over.

        Raises UnusualError.
        """
        tracking = session.tracking
        if tracking is None:
            raise UnusualError
        isolation = Isolation.READ_COMMITTED if request.isolation_level == 1 else Isolation.READ_UNCOMMITTED
        tracking.prepare(isolation, self._replicas.logs.log_starts)
        found, size = self._reads.read(tracking.in_order(), isolation, request.max_bytes, waits=waits)
        if size < request.min_bytes and not is_over:
            tracking.changed = {
                fetched.key: fetched
                for fetched, answer, is_behind in found
                if is_behind or fetched.is_news(answer.high_watermark, answer.log_start_offset)
            }
            release_all(found)
            return None
        told = self._tell(session, tracking, found)
        return write_plain(version, correlation_id, session.id, told)  # type: ignore[return-value] # what is sent as it is; a cast would cost a call

    @staticmethod
    def _tell(session: Session, tracking: Tracking, found: Iterable[Found]) -> list[PlainAnswer]:
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
        """Look at all of the session's partitions, and from now on at those that change. Raises UnusualError."""
        replicas = self._replicas
        before, session.tracking = session.tracking, None
        if before is not None:
            before.close()
        count = len(session.partitions)
        if count > MAX_PARTITIONS or replicas.readers.count + count > MAX_TRACKED:
            raise UnusualError
        by_name: dict[TopicPartition, FetchedPartition] = {}
        for (topic, index), fetched in session.partitions.items():
            topic_name = topic if isinstance(topic, str) else replicas.topic_name(topic)
            name = None if topic_name is None else TopicPartition(topic_name, index)
            fetched.partition = None if name is None else replicas.partitions.get(name)
            if name is None or fetched.partition is None:
                raise UnusualError
            by_name[name] = fetched
        tracking = session.tracking = Tracking(by_name, replicas.readers, replicas.waiting_timing)
        return tracking
