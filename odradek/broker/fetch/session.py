"""Incremental fetch sessions (KIP-227): the broker remembers what a client fetches, so that it need not repeat it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from odradek.broker.fetch.tracking import Tracking
from odradek.broker.replication.partition import Partition
from odradek.ports import Clock, Random
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import FetchRequest, PartitionData
from odradek.wire.plain_fetch import PlainPartition, TopicKey

INVALID_SESSION_ID = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
MAX_SESSION_PARTITIONS = 1_000_000
"""Partitions that all sessions remember together, at about 250 bytes each; those that clients name need not exist."""

_MAX_EPOCH = 2**31 - 1
_FIRST_WITH_TOPIC_IDS = 13
_UNKNOWN_OFFSET = -1

PartitionKey = tuple[TopicKey, int]
"""Topic and partition index: how the client names a partition."""


@dataclass(slots=True)
class FetchedPartition:
    """What a client asks of a partition, and what it was last told."""

    key: PartitionKey
    fetch_offset: int
    max_bytes: int
    current_leader_epoch: int
    last_fetched_epoch: int
    log_start_offset: int
    told_high_watermark: int = _UNKNOWN_OFFSET
    told_log_start_offset: int = _UNKNOWN_OFFSET
    partition: Partition | None = None
    """Which one that is, while the session is tracked."""
    turn: int = 0
    """When it is read, before those with a larger number, while the session is tracked."""

    def is_news(self, high_watermark: int, log_start_offset: int) -> bool:
        """Whether the client was told something else of the partition's offsets."""
        return high_watermark != self.told_high_watermark or log_start_offset != self.told_log_start_offset

    def tells_something_new(self, response: PartitionData, *, remember: bool, is_follower: bool = False) -> bool:
        """Whether an incremental response must carry `response`; with `remember`, note that it was told."""
        changed = response.error_code != 0 or size_of(response) > 0
        changed |= response.preferred_read_replica != -1 or response.diverging_epoch.epoch >= 0
        if response.high_watermark != self.told_high_watermark:
            changed = True
            if remember:
                self.told_high_watermark = response.high_watermark
        if response.log_start_offset != self.told_log_start_offset:
            changed = True
            if remember:
                self.told_log_start_offset = response.log_start_offset
        if remember and (response.error_code != 0 or (is_follower and response.diverging_epoch.epoch >= 0)):
            # An error is repeated until it is gone, and its end is news too. A follower that has to cut its log first
            # does not look at the high watermark.
            self.told_high_watermark = _UNKNOWN_OFFSET
        return changed


@dataclass(slots=True)
class Session:
    """One client's partitions, in the order in which they will be read next."""

    id: int
    uses_topic_ids: bool
    is_follower: bool
    partitions: dict[PartitionKey, FetchedPartition]
    epoch: int
    created_ms: float
    last_used_ms: float
    tracking: Tracking | None = None

    def update(self, request: FetchRequest) -> None:
        """Add and change what the request names, drop what it forgets."""
        if self.tracking is not None:
            self.tracking.is_stale = True
        for partition in partitions_of(request, by_id=self.uses_topic_ids):
            known = self.partitions.get(partition.key)
            if known is not None:
                partition.told_high_watermark = known.told_high_watermark
                partition.told_log_start_offset = known.told_log_start_offset
            self.partitions[partition.key] = partition
        for topic in request.forgotten_topics_data:
            name = topic.topic_id if self.uses_topic_ids else topic.topic
            for index in topic.partitions:
                self.partitions.pop((name, index), None)

    def move(self, partitions: Iterable[tuple[TopicKey, PlainPartition]], tracking: Tracking) -> bool:
        """Note where the partitions of a plain request are read from; False if one of them is not in the session.

        `tracking` is that of the session, which has to look at them.
        """
        for topic, asked in partitions:
            known = self.partitions.get((topic, asked.partition))
            if known is None:
                return False
            known.fetch_offset = asked.fetch_offset
            known.max_bytes = asked.max_bytes
            known.current_leader_epoch = asked.current_leader_epoch
            known.last_fetched_epoch = asked.last_fetched_epoch
            known.log_start_offset = asked.log_start_offset
            tracking.changed[known.key] = known
        return True

    def move_last(self, key: PartitionKey) -> None:
        """Let the others go first next time: without this, a busy partition could starve them."""
        partition = self.partitions.pop(key, None)
        if partition is not None:
            self.partitions[key] = partition


@dataclass(slots=True)
class FetchPlan:
    """The partitions to read for one request, and the session that the answer belongs to (None: sessionless)."""

    partitions: list[FetchedPartition]
    session: Session | None
    incremental: bool

    @property
    def session_id(self) -> int:
        """What the response carries."""
        return self.session.id if self.session is not None else INVALID_SESSION_ID

    def select(
        self, responses: Iterable[tuple[FetchedPartition, PartitionData]]
    ) -> list[tuple[FetchedPartition, PartitionData]]:
        """What of the partitions' responses goes to the client: all, or in an incremental fetch the news."""
        selected = []
        for partition, response in responses:
            session = self.session
            is_follower = session is not None and session.is_follower
            news = partition.tells_something_new(response, remember=session is not None, is_follower=is_follower)
            if news or not self.incremental:
                selected.append((partition, response))
            if self.session is not None and self.incremental and size_of(response) > 0:
                self.session.move_last(partition.key)
        return selected


class SessionCache:
    """The sessions of all clients: at most `slots`, each kept at least `eviction_ms` since its last use.

    Together they remember `max_partitions`; whoever comes then fetches without a session, as when no slot is free.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        slots: int,
        eviction_ms: int,
        max_partitions: int = MAX_SESSION_PARTITIONS,
    ) -> None:
        self._clock = clock
        self._random = random
        self._slots = slots
        self._eviction_ms = eviction_ms
        self._sessions: dict[int, Session] = {}
        self._max_partitions = max_partitions
        self.evictions = 0
        self.partition_count = 0
        """Partitions in all sessions."""

    def __len__(self) -> int:
        return len(self._sessions)

    def partitions(self, session_id: int) -> list[PartitionKey]:
        """What a session's client fetches; nothing if there is no such session."""
        session = self._sessions.get(session_id)
        return [] if session is None else list(session.partitions)

    def plan(self, request: FetchRequest, version: int) -> FetchPlan:
        """What to read for `request`.

        Raises KafkaError FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR,
        which are top-level errors of the response.
        """
        by_id = version >= _FIRST_WITH_TOPIC_IDS
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._drop(request.session_id)
            named = _named_by(request, by_id=by_id)
            session = None
            if request.session_epoch == INITIAL_EPOCH:
                partitions = {partition.key: partition for partition in named}
                session = self._create(partitions, by_id=by_id, is_follower=is_follower(request))
            return FetchPlan(named, session, incremental=False)
        session = self._sessions.get(request.session_id)
        if session is None:
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            raise KafkaError(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.uses_topic_ids != by_id:
            raise KafkaError(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        before = len(session.partitions)
        session.update(request)
        self.partition_count += len(session.partitions) - before
        if not session.partitions:
            self._drop(session.id)
            return FetchPlan(_named_by(request, by_id=by_id), None, incremental=False)
        if self.partition_count > self._max_partitions:
            self._drop(session.id)
            raise KafkaError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        self.advance(session)
        return FetchPlan(list(session.partitions.values()), session, incremental=True)

    def plain(self, session_id: int, epoch: int, *, by_id: bool) -> Session | None:
        """The session whose next request, by topic ids or by names, has this epoch; None if there is none."""
        session = self._sessions.get(session_id)
        return session if session is not None and session.epoch == epoch and session.uses_topic_ids is by_id else None

    def advance(self, session: Session) -> None:
        """A request of the session is answered."""
        session.epoch = next_epoch(session.epoch)
        session.last_used_ms = self._clock.monotonic_ms()

    def _create(
        self, partitions: dict[PartitionKey, FetchedPartition], *, by_id: bool, is_follower: bool
    ) -> Session | None:
        now_ms = self._clock.monotonic_ms()
        if len(self._sessions) >= self._slots and not self._evict(now_ms, len(partitions), is_follower=is_follower):
            return None
        if self.partition_count + len(partitions) > self._max_partitions:
            return None
        session = Session(self._new_id(), by_id, is_follower, partitions, INITIAL_EPOCH + 1, now_ms, now_ms)
        self._sessions[session.id] = session
        self.partition_count += len(partitions)
        return session

    def _drop(self, session_id: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            self.partition_count -= len(session.partitions)
            if session.tracking is not None:
                session.tracking.close()

    def _evict(self, now_ms: float, newcomer_size: int, *, is_follower: bool) -> bool:
        """Make room: an idle session goes, or a smaller one than the newcomer; followers keep theirs from clients."""
        stale = min(self._sessions.values(), key=lambda session: session.last_used_ms, default=None)
        if stale is not None and now_ms - stale.last_used_ms > self._eviction_ms:
            victim = stale
        else:
            candidates = [
                session
                for session in self._sessions.values()
                if now_ms - session.created_ms > self._eviction_ms
                and (
                    (is_follower and not session.is_follower)
                    or (session.is_follower == is_follower and len(session.partitions) < newcomer_size)
                )
            ]
            if not candidates:
                return False
            victim = min(candidates, key=lambda session: (session.is_follower, len(session.partitions)))
        self._drop(victim.id)
        self.evictions += 1
        return True

    def _new_id(self) -> int:
        while True:
            candidate = 1 + self._random.below(2**31 - 1)
            if candidate not in self._sessions:
                return candidate


def next_epoch(epoch: int) -> int:
    """The epoch after `epoch`; it wraps to 1, since 0 begins a session."""
    return 1 if epoch == _MAX_EPOCH else epoch + 1


def is_follower(request: FetchRequest) -> bool:
    """Whether a replica sends this, not a consumer (the id moved to a tagged struct in version 15)."""
    return request.replica_id >= 0 or request.replica_state.replica_id >= 0


def partitions_of(request: FetchRequest, *, by_id: bool) -> Iterable[FetchedPartition]:
    """The partitions that a request names, in its order."""
    for topic in request.topics:
        name = topic.topic_id if by_id else topic.topic
        for partition in topic.partitions:
            yield FetchedPartition(
                (name, partition.partition),
                partition.fetch_offset,
                partition.partition_max_bytes,
                max(partition.current_leader_epoch, -1),
                partition.last_fetched_epoch,
                partition.log_start_offset,
            )


def _named_by(request: FetchRequest, *, by_id: bool) -> list[FetchedPartition]:
    """The partitions that a request names, each once: the last mention counts, as in a map."""
    return list({partition.key: partition for partition in partitions_of(request, by_id=by_id)}.values())


def size_of(response: PartitionData) -> int:
    """Bytes of its records."""
    records = response.records
    if records is None:
        return 0
    return len(records) if isinstance(records, bytes | bytearray | memoryview) else records.size
