"""Copies partitions from one broker that leads them (Kafka's ReplicaFetcherThread)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from odradek.broker.replication.cluster import ReplicaClient, ReplicationOptions
from odradek.broker.replication.fetch_session import Asked, FollowerSession, Key
from odradek.broker.replication.followed_logs import FollowedLogs
from odradek.broker.replication.throttle import ReplicationThrottle
from odradek.ports import Clock, Promise, Scheduler, spawn
from odradek.ports.files import Buffer
from odradek.ports.network import FileRange
from odradek.storage.log_results import UnexpectedOffsetError
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.fetch import FetchRequest, FetchResponse, PartitionData, ReplicaState
from odradek.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

LATEST = -1
EARLIEST = -2


class FetcherPorts(NamedTuple):
    """What all fetchers of a broker share."""

    node_id: int
    broker_epoch: Callable[[], int]
    options: Callable[[], ReplicationOptions]
    clock: Clock
    scheduler: Scheduler
    throttle: ReplicationThrottle


class _Progress:
    """One partition in one leader epoch."""

    __slots__ = ("fetch_offset", "key", "lag", "last_fetched_epoch", "leader_epoch", "name", "ready_at_ms")

    def __init__(self, name: TopicPartition, topic_id: Uuid, leader_epoch: int) -> None:
        self.name = name
        self.key: Key = (topic_id, name.partition)
        self.leader_epoch = leader_epoch
        self.fetch_offset = 0
        self.last_fetched_epoch = -1
        self.lag: int | None = None
        """Offsets that the leader had committed and this broker lacked; None before its first answer."""
        self.ready_at_ms: float | None = None
        """When it is fetched again, while it is left alone after an error."""

    def waits_for(self, asked: Asked | None) -> bool:
        """Whether an answer to what was asked is what this partition needs now."""
        return asked is not None and (asked.fetch_offset, asked.current_leader_epoch, asked.last_fetched_epoch) == (
            self.fetch_offset,
            self.leader_epoch,
            self.last_fetched_epoch,
        )

    @property
    def is_in_sync(self) -> bool:
        return self.lag is not None and self.lag <= 0


class Fetcher:
    """A loop of fetches, one after the other, for all partitions that are given to it."""

    def __init__(self, leader_id: int, client: ReplicaClient, logs: FollowedLogs, ports: FetcherPorts) -> None:
        self._leader_id = leader_id
        self._client = client
        self._logs = logs
        self._ports = ports
        self._session = FollowerSession()
        self._partitions: dict[TopicPartition, _Progress] = {}
        self._names: dict[Key, TopicPartition] = {}
        self._changed: dict[TopicPartition, None] = {}
        """Partitions of which the leader may have to be told."""
        self._gone: dict[Key, None] = {}
        self._delayed: dict[TopicPartition, None] = {}
        self._throttled: dict[TopicPartition, None] = {}
        self._failed: dict[TopicPartition, None] = {}
        self._waiting: Promise[None] | None = None
        self._is_running = False
        self._is_closed = False

    @property
    def partitions(self) -> Iterable[TopicPartition]:
        """What it fetches."""
        return self._partitions.keys()

    @property
    def failed_partitions(self) -> Iterable[TopicPartition]:
        """What it was given and fetches no more, until there is a new leader epoch."""
        return self._failed.keys()

    def add(self, name: TopicPartition, topic_id: Uuid, leader_epoch: int) -> None:
        """Fetch a partition from now on, whose leader has this epoch; again if its log has come to an end elsewhere."""
        known = self._partitions.get(name)
        if known is not None and known.leader_epoch == leader_epoch and known.key[0] == topic_id:
            return
        self.remove([name])
        progress = _Progress(name, topic_id, leader_epoch)
        try:
            log = self._logs.log(name)
            if log.leader_epochs.latest_epoch < 0:
                # Nobody could say where a log without leader epochs parts from the leader's.
                self._logs.truncate(name, log.high_watermark)
            self._reposition(progress)
        except KafkaError as error:
            _log.error("%s is not replicated: %s", name, error)
            self._failed[name] = None
            return
        self._partitions[name] = progress
        self._names[progress.key] = name
        if progress.key in self._gone:
            # The leader may believe to have told what was not heard here, such as the high watermark: tell it anew.
            del self._gone[progress.key]
            self._session.failed()
        self._changed[name] = None
        self._go_on()

    def remove(self, names: Iterable[TopicPartition]) -> None:
        """Fetch these no more."""
        for name in names:
            self._failed.pop(name, None)
            self._drop(name)

    def close(self) -> None:
        """Stop. What is under way is not used any more."""
        self._is_closed = True
        self._partitions.clear()
        self._client.close()
        self._go_on()

    def _drop(self, name: TopicPartition) -> None:
        progress = self._partitions.pop(name, None)
        if progress is None:
            return
        del self._names[progress.key]
        self._gone[progress.key] = None
        for names in (self._changed, self._delayed, self._throttled):
            names.pop(name, None)
        self._go_on()

    def _go_on(self) -> None:
        if not self._is_running:
            if not self._is_closed:
                self._is_running = True
                self._ports.scheduler.call_soon(self._start)
        elif self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            # Later, as more partitions may come in the same turn.
            self._ports.scheduler.call_soon(lambda: waiting.resolve(None))

    def _start(self) -> None:
        spawn(self._run()).on_done(self._stopped)

    def _stopped(self, outcome: Promise[None]) -> None:
        self._is_running = False
        if outcome.error is not None:
            _log.error("fetching from broker %d failed", self._leader_id, exc_info=outcome.error)
            self._session.failed()
            if not self._is_closed:
                self._is_running = True
                self._ports.scheduler.call_later(max(1, self._options.fetch_backoff_ms), self._start)

    @property
    def _options(self) -> ReplicationOptions:
        return self._ports.options()

    async def _run(self) -> None:
        while not self._is_closed:
            request = self._build()
            if request is None:
                await self._wait()
                continue
            try:
                response = await self._client.send(self._leader_id, request, FetchResponse)
            except KafkaError as error:
                _log.info("broker %d did not answer a fetch: %s", self._leader_id, error)
                self._session.failed()
                self._delay(list(self._partitions))
                continue
            if not self._is_closed:
                await self._use(response)

    def _build(self) -> FetchRequest | None:
        now_ms = self._ports.clock.monotonic_ms()
        self._end_delays(now_ms)
        self._end_throttling(now_ms)
        wanted: dict[Key, Asked | None] = dict.fromkeys(self._gone)
        names = list(self._partitions) if self._session.is_new else list(self._changed)
        self._gone.clear()
        self._changed.clear()
        options = self._options
        for name in names:
            progress = self._partitions[name]
            wanted[progress.key] = self._asked(progress, options.fetch_max_bytes, now_ms)
        request = self._session.build(wanted)
        if request is not None:
            request.replica_state = ReplicaState(
                replica_id=self._ports.node_id, replica_epoch=self._ports.broker_epoch()
            )
            request.max_wait_ms = options.fetch_wait_max_ms
            request.min_bytes = options.fetch_min_bytes
            request.max_bytes = options.fetch_response_max_bytes
        return request

    def _end_throttling(self, now_ms: float) -> None:
        """Ask again for what was left out, once less was copied lately, or where it is throttled no more."""
        if not self._throttled:
            return
        throttle = self._ports.throttle
        is_exceeded = throttle.is_exceeded(now_ms)
        freed = [name for name in self._throttled if not is_exceeded or not throttle.is_throttled(name)]
        for name in freed:
            del self._throttled[name]
            self._changed[name] = None

    def _asked(self, progress: _Progress, max_bytes: int, now_ms: float) -> Asked | None:
        if progress.ready_at_ms is not None:
            return None
        throttle = self._ports.throttle
        if not progress.is_in_sync and throttle.is_throttled(progress.name) and throttle.is_exceeded(now_ms):
            self._throttled[progress.name] = None
            return None
        try:
            log_start_offset = self._logs.log(progress.name).log_start_offset
        except KafkaError:
            # Its directory failed, or it leads by now: whoever has told the logs so will take it away from here.
            self._delay([progress.name])
            return None
        return Asked(
            progress.fetch_offset, log_start_offset, max_bytes, progress.leader_epoch, progress.last_fetched_epoch
        )

    async def _wait(self) -> None:
        """Until there is something to do, at the latest when the first delay ends."""
        self._waiting = waiting = Promise[None]()
        ends = [self._partitions[name].ready_at_ms or 0.0 for name in self._delayed]
        if self._throttled:
            ends.append(self._ports.clock.monotonic_ms() + max(1, self._options.fetch_backoff_ms))
        timer = None
        if ends:
            delay_ms = max(0.0, min(ends) - self._ports.clock.monotonic_ms())
            timer = self._ports.scheduler.call_later(delay_ms, lambda: waiting.resolve(None))
        await waiting
        self._waiting = None
        if timer is not None:
            timer.cancel()

    def _delay(self, names: Iterable[TopicPartition]) -> None:
        until_ms = self._ports.clock.monotonic_ms() + self._options.fetch_backoff_ms
        for name in names:
            progress = self._partitions.get(name)
            if progress is not None and progress.ready_at_ms is None:
                progress.ready_at_ms = until_ms
                self._delayed[name] = None
                self._changed[name] = None

    def _end_delays(self, now_ms: float) -> None:
        for name in list(self._delayed):
            progress = self._partitions[name]
            if progress.ready_at_ms is None or progress.ready_at_ms <= now_ms:
                progress.ready_at_ms = None
                del self._delayed[name]
                self._changed[name] = None

    async def _use(self, response: FetchResponse) -> None:
        asked = self._session.asked
        is_usable = self._session.answered(response)
        out_of_range: list[_Progress] = []
        for topic in response.responses:
            for data in topic.partitions:
                records = _taken(data)
                name = self._names.get((topic.topic_id, data.partition_index))
                progress = None if name is None else self._partitions.get(name)
                if not is_usable or progress is None:
                    continue
                if not progress.waits_for(asked.get(progress.key)):
                    continue  # it was taken away and added since
                if data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
                    out_of_range.append(progress)
                elif data.error_code:
                    self._refused(progress, ErrorCode(data.error_code))
                else:
                    self._take(progress, data, records)
        if not is_usable:
            self._session_ended(ErrorCode(response.error_code))
        for progress in out_of_range:
            if self._partitions.get(progress.name) is progress:
                await self._find_range(progress)

    def _session_ended(self, code: ErrorCode) -> None:
        """The next fetch begins a session: at once where it is the session that was wrong."""
        if code not in (ErrorCode.NONE, ErrorCode.FETCH_SESSION_ID_NOT_FOUND, ErrorCode.INVALID_FETCH_SESSION_EPOCH):
            _log.warning("broker %d refused a fetch: %s", self._leader_id, code.name)
            self._delay(list(self._partitions))

    def _take(self, progress: _Progress, data: PartitionData, records: Buffer) -> None:
        name = progress.name
        try:
            if data.diverging_epoch.epoch >= 0:
                self._logs.truncate_to_leader(name, data.diverging_epoch.epoch, data.diverging_epoch.end_offset)
                # The high watermark goes for this log once it is the leader's, which then has to tell it again.
                self._session.failed()
                self._reposition(progress)
                return
            self._logs.append(name, progress.fetch_offset, records, data.high_watermark, data.log_start_offset)
            self._reposition(progress)
            progress.lag = max(0, data.high_watermark - progress.fetch_offset)
            if records:
                self._ports.throttle.record(name, len(records), self._ports.clock.monotonic_ms())
        except KafkaError as error:
            if error.code is ErrorCode.CORRUPT_MESSAGE:
                _log.error("%s: what broker %d sent is damaged: %s", name, self._leader_id, error)
                self._delay([name])
            else:
                self._fail(progress, error)
        except UnexpectedOffsetError as error:
            self._fail(progress, error)

    def _reposition(self, progress: _Progress) -> None:
        """Go on where the log ends now."""
        log = self._logs.log(progress.name)
        progress.fetch_offset = log.log_end_offset
        progress.last_fetched_epoch = log.leader_epochs.latest_epoch
        self._changed[progress.name] = None

    def _refused(self, progress: _Progress, code: ErrorCode) -> None:
        """The leader has an error for a partition: it is asked again later, unless it has a newer epoch than is known
        here. Then the metadata is behind, and will bring that."""
        if code is ErrorCode.FENCED_LEADER_EPOCH:
            _log.info("%s waits for metadata of a later leader epoch than %d", progress.name, progress.leader_epoch)
            self._leave(progress)
            return
        _log.info("broker %d does not give %s: %s", self._leader_id, progress.name, code.name)
        self._delay([progress.name])

    def _fail(self, progress: _Progress, error: Exception) -> None:
        _log.error("%s is not replicated in leader epoch %d any more: %s", progress.name, progress.leader_epoch, error)
        self._leave(progress)

    def _leave(self, progress: _Progress) -> None:
        self._drop(progress.name)
        self._failed[progress.name] = None

    async def _find_range(self, progress: _Progress) -> None:
        """The log ends outside of the leader's: cut it where that ends, or begin where that begins."""
        name = progress.name
        try:
            latest = await self._leaders_offset(progress, LATEST)
            if self._partitions.get(name) is not progress:
                return
            if latest < self._logs.log(name).log_end_offset:
                _log.warning("%s is cut to %d, where the leader's log ends", name, latest)
                self._logs.truncate(name, latest)
            else:
                earliest = await self._leaders_offset(progress, EARLIEST)
                if self._partitions.get(name) is not progress:
                    return
                if earliest > self._logs.log(name).log_end_offset:
                    _log.warning("%s begins anew at %d, where the leader's log begins", name, earliest)
                    self._logs.restart(name, earliest)
            self._reposition(progress)
            progress.lag = max(0, latest - progress.fetch_offset)
        except KafkaError as error:
            if self._partitions.get(name) is not progress:
                return
            self._refused(progress, error.code)

    async def _leaders_offset(self, progress: _Progress, timestamp: int) -> int:
        asked = ListOffsetsPartition(
            partition_index=progress.name.partition,
            current_leader_epoch=progress.leader_epoch,
            timestamp=timestamp,
        )
        request = ListOffsetsRequest(
            replica_id=self._ports.node_id, topics=[ListOffsetsTopic(name=progress.name.topic, partitions=[asked])]
        )
        response = await self._client.send(self._leader_id, request, ListOffsetsResponse)
        for topic in response.topics:
            for partition in topic.partitions:
                if (topic.name, partition.partition_index) == progress.name:
                    if partition.error_code:
                        raise KafkaError(ErrorCode(partition.error_code))
                    return partition.offset
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)


def _taken(data: PartitionData) -> Buffer:
    """The records, in memory."""
    records = data.records
    if records is None:
        return b""
    if isinstance(records, bytes | bytearray | memoryview):
        return records
    range_: FileRange = records  # type: ignore[assignment] # a range of this process, where the leader is in it
    content = range_.read(0, range_.size)
    range_.release()
    return content
