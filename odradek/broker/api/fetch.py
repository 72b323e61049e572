"""Fetch (API key 1): records to consumers, at once or when there are enough (KIP-74, KIP-227, KIP-320, KIP-516)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from odradek.broker.api.leaders import leader_endpoints
from odradek.broker.api.plain_fetch import PlainFetchApi
from odradek.broker.fetch.reader import FetchOptions, FetchRead, FetchReader, refused_partition, release_records
from odradek.broker.fetch.session import FetchedPartition, FetchPlan, SessionCache, partitions_of
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Isolation
from odradek.broker.replication.replica_selector import ReadingClient
from odradek.ports import Executor, Promise
from odradek.security.acl import Operation, ResourceType
from odradek.server.cluster import CLUSTER_NAME
from odradek.server.context import RequestContext
from odradek.server.handlers import Handler, Sliced
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    NodeEndpoint,
)
from odradek.wire.plain_fetch import FIRST_PLAIN

MANY_PARTITIONS = 500
"""Fetches of more give way to others while they read."""

ISOLATION_LEVELS = (0, 1)
FIRST_WITH_RACKS = 11
FIRST_WITH_DIVERGENCE = 12
FIRST_WITH_TOPIC_IDS = 13
FIRST_WITH_REPLICA_STATE = 15
FIRST_WITH_LEADERS = 16


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`fetch.max.bytes`: what one response may hold, whatever the client allows."""

    max_bytes: int


class FetchApi:
    """Answers Fetch."""

    def __init__(
        self, replicas: ReplicaManager, sessions: SessionCache, limits: FetchLimits, executor: Executor | None = None
    ) -> None:
        """`executor` has look-ups that need a disk prepared on another thread; without one, they are waited for."""
        self._executor = executor
        self._replicas = replicas
        self._sessions = sessions
        self._limits = limits
        self._reader = FetchReader(replicas)

    def handler(self) -> Handler[FetchRequest, FetchResponse]:
        """The declaration of this API."""
        plain = PlainFetchApi(self._replicas, self._sessions, self._limits.max_bytes, waits=self._executor is None)
        return Handler(
            FetchRequest,
            self._handle,
            Operation.READ,
            ResourceType.TOPIC,
            _failed,
            plain=plain.answer,
            plain_from=FIRST_PLAIN,
            differences=(
                "Partitions of a topic that was deleted are UNKNOWN_TOPIC_ID; in a session that knew the topic's name "
                "Kafka says UNKNOWN_TOPIC_OR_PARTITION.",
                "Where records are deleted up to the middle of an open transaction's batch, the last stable offset is "
                "the log's start; in Kafka it is the first offset of that batch.",
            ),
        )

    def _handle(
        self, context: RequestContext, request: FetchRequest
    ) -> FetchResponse | Promise[FetchResponse] | Sliced[FetchResponse]:
        try:
            plan = self._sessions.plan(request, context.api_version)
        except KafkaError as error:
            # Not _failed: of a session's errors Kafka tells at the top only.
            return FetchResponse(error_code=error.code)
        if request.isolation_level not in ISOLATION_LEVELS and self._watched(plan.partitions):
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"No isolation level {request.isolation_level}")
        options = self._options(context, request)
        if options.replica_id >= 0 and not context.allows(Operation.CLUSTER_ACTION, ResourceType.CLUSTER, CLUSTER_NAME):
            return _unauthorized(plan)
        if len(plan.partitions) > MANY_PARTITIONS:
            return self._handle_many(context, request, plan, options)
        read = self._reader.read(plan.partitions, options)
        if read.unprepared:
            return self._handle_cold(context, request, plan, options, read)
        return self._answer(context, request, plan, options, read)

    async def _handle_many(
        self, context: RequestContext, request: FetchRequest, plan: FetchPlan, options: FetchOptions
    ) -> FetchResponse | Promise[FetchResponse]:
        read = await self._reader.read_many(plan.partitions, options, context.slices())
        if read.unprepared:
            await self._prepare(read, options)
            read = await self._reader.read_many(plan.partitions, options, context.slices())
        return self._answer(context, request, plan, options, read)

    async def _handle_cold(
        self, context: RequestContext, request: FetchRequest, plan: FetchPlan, options: FetchOptions, read: FetchRead
    ) -> FetchResponse | Promise[FetchResponse]:
        await self._prepare(read, options)
        return self._answer(context, request, plan, options, self._reader.read(plan.partitions, options))

    async def _prepare(self, read: FetchRead, options: FetchOptions) -> None:
        """Have what its look-ups need brought into memory; the next read with these options finds it there."""
        assert self._executor is not None, "without one, reads wait"
        _release(read)
        options.waits = True
        await self._executor.submit(lambda: _run_all(read.unprepared))

    def _answer(
        self, context: RequestContext, request: FetchRequest, plan: FetchPlan, options: FetchOptions, read: FetchRead
    ) -> FetchResponse | Promise[FetchResponse]:
        if (
            read.answer_now
            or request.max_wait_ms <= 0
            or read.size >= request.min_bytes
            or not plan.partitions
            or self._has_news(plan, read)
        ):
            return self._respond(context, plan, options, read)
        return self._wait(context, plan, options, request, read)

    def _options(self, context: RequestContext, request: FetchRequest) -> FetchOptions:
        version = context.api_version
        replica_id, replica_epoch = request.replica_id, -1
        if version >= FIRST_WITH_REPLICA_STATE:
            replica_id, replica_epoch = request.replica_state.replica_id, request.replica_state.replica_epoch
        if replica_id >= 0:
            isolation = Isolation.LOG_END
        else:
            isolation = Isolation(1 if request.isolation_level == Isolation.READ_COMMITTED else 0)
        knows_racks = replica_id < 0 and version >= FIRST_WITH_RACKS
        return FetchOptions(
            min(request.max_bytes, self._limits.max_bytes),
            isolation,
            replica_id,
            version >= FIRST_WITH_LEADERS,
            waits=self._executor is None,
            replica_epoch=replica_epoch,
            only_leader=not knows_racks,
            client=ReadingClient(request.rack_id, context.listener)
            if knows_racks and request.rack_id and self._replicas.selects_by_rack
            else None,
        )

    def _has_news(self, plan: FetchPlan, read: FetchRead) -> bool:
        """Whether a follower has to hear at once that its high watermark is behind, as consumers read from it.

        Otherwise it is told with the next records, or when its fetch has waited long enough.
        """
        return (
            self._replicas.selects_by_rack
            and plan.session is not None
            and plan.session.is_follower
            and any(fetched.told_high_watermark != response.high_watermark for fetched, response in read.responses)
        )

    def _wait(
        self, context: RequestContext, plan: FetchPlan, options: FetchOptions, request: FetchRequest, first: FetchRead
    ) -> Promise[FetchResponse]:
        """Park until `min_bytes` are there, a partition fails, or `max_wait_ms` is over.

        What a replica waits for is the log's end; a high watermark that moves does not wake it, unless it is needed.
        """
        answer: Promise[FetchResponse] = Promise()
        latest = first
        is_latest = True
        # What makes it ready was appended a moment ago.
        options.waits = True
        options.notes_progress = False
        is_replica = options.isolation is Isolation.LOG_END

        def is_ready() -> bool:
            nonlocal latest, is_latest
            _release(latest)
            latest = self._reader.read(plan.partitions, options)
            is_latest = latest.answer_now or latest.size >= request.min_bytes or self._has_news(plan, latest)
            return is_latest

        def finish() -> None:
            nonlocal latest
            if not is_latest or latest is first:
                _release(latest)
                latest = self._reader.read(plan.partitions, options)
            answer.resolve(self._respond(context, plan, options, latest))

        room = self._replicas.waiting_replicas if is_replica else self._replicas.waiting
        waiter = room.park(
            self._watched(plan.partitions), is_ready=is_ready, finish=finish, timeout_ms=request.max_wait_ms
        )
        # A client that is gone must not keep what it asked for until a time-out of its own choosing.
        answer.on_abandoned(waiter.finish)
        return answer

    def _respond(
        self, context: RequestContext, plan: FetchPlan, options: FetchOptions, read: FetchRead
    ) -> FetchResponse:
        if read.answer_now and context.api_version < FIRST_WITH_DIVERGENCE:
            _check_divergence(read)
        response = _response(plan, read)
        if options.replica_id >= 0 and read.size:
            self._reader.count_sent(read)
        if read.answer_now and context.api_version >= FIRST_WITH_LEADERS:
            leaders = (answer.current_leader.leader_id for _fetched, answer in read.responses if answer.error_code)
            response.node_endpoints = [
                NodeEndpoint(node_id=node_id, host=host, port=port, rack=rack)
                for node_id, host, port, rack in leader_endpoints(self._replicas.image, context.listener, leaders)
            ]
        return response

    def _watched(self, partitions: list[FetchedPartition]) -> list[TopicPartition]:
        names = (self._reader.resolve(fetched) for fetched in partitions)
        return [name for name in names if name is not None and name in self._replicas.partitions]


def _response(plan: FetchPlan, read: FetchRead) -> FetchResponse:
    """Group what is told by topic, in the order read; neighbours of one topic share an entry."""
    topics: list[FetchableTopicResponse] = []
    current: str | bytes | None = None
    for fetched, response in plan.select(read.responses):
        topic = fetched.key[0]
        if topic != current or not topics:
            current = topic
            topics.append(
                FetchableTopicResponse(topic_id=topic)
                if isinstance(topic, bytes)
                else FetchableTopicResponse(topic=topic)
            )
        topics[-1].partitions.append(response)
    return FetchResponse(session_id=plan.session_id, responses=topics)


def _check_divergence(read: FetchRead) -> None:
    """Raise UNSUPPORTED_VERSION where a log parts from ours, as its session was told by a later version than this."""
    if any(response.diverging_epoch.epoch >= 0 for _fetched, response in read.responses):
        _release(read)
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)


def _failed(request: FetchRequest, version: int, error: KafkaError) -> FetchResponse:
    """The error at the top, and before version 13 also of every partition, for the oldest have no top-level error."""
    if version >= FIRST_WITH_TOPIC_IDS:
        return FetchResponse(error_code=error.code, session_id=request.session_id)
    return FetchResponse(
        error_code=error.code,
        session_id=request.session_id,
        responses=[
            FetchableTopicResponse(
                topic=topic.topic,
                partitions=[
                    refused_partition(fetched, error.code)
                    for fetched in partitions_of(FetchRequest(topics=[topic]), by_id=False)
                ],
            )
            for topic in request.topics
        ],
    )


def _unauthorized(plan: FetchPlan) -> FetchResponse:
    """Somebody poses as a follower (CVE-2018-1288)."""
    code = ErrorCode.TOPIC_AUTHORIZATION_FAILED
    failed = [(fetched, refused_partition(fetched, code)) for fetched in plan.partitions]
    return _response(plan, FetchRead(failed, answer_now=True))


def _run_all(works: Sequence[Callable[[], None]]) -> None:
    for work in works:
        work()


def _release(read: FetchRead) -> None:
    """Give back the file ranges of a read that will not be sent."""
    for _fetched, response in read.responses:
        release_records(response)
