"""Replicas on their way from one log directory to another (KIP-113), with the controller's consent (KIP-858)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import NamedTuple

from odradek.broker.replication.copying import CopyThrottle, LogCopy
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.ports import Clock, Executor, Promise, Scheduler, spawn
from odradek.storage.file_names import MAX_DIR_NAME_CHARS, future_dir_name
from odradek.storage.log import Log
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError

_log = logging.getLogger(__name__)

WAIT_MS = 500
"""How long a copy that has caught up waits for more before it looks again (Kafka's `replica.fetch.wait.max.ms`)."""
RETRY_MS = 1_000
"""How long after a failure the copying begins again, as after any of a fetcher (`replica.fetch.backoff.ms`)."""

Assign = Callable[[Partition, str, Callable[[], None]], None]
"""Tells the controller that a replica is in this directory; the function is called when it has noted that."""


class Consent(Enum):
    """What the controller knows of a move. Only then does the copy take the log's place: if the directory fails later,
    the controller has to know that the replica is in it."""

    NOT_ASKED = "not asked"
    ASKED = "asked"
    GIVEN = "given"


class _Move:
    """One replica on its way."""

    __slots__ = ("consent", "copy", "future", "is_over", "partition", "source", "to_sync", "waiting")

    def __init__(self, partition: Partition, source: Log, future: Log, copy: LogCopy) -> None:
        self.partition = partition
        self.source = source
        self.future = future
        self.copy = copy
        self.consent = Consent.NOT_ASKED
        self.is_over = False
        self.to_sync: int | None = None
        """Up to where the copy has to be synced: the log, too, may be safe from a power cut that far."""
        self.waiting: Promise[None] | None = None

    def wake(self) -> None:
        """Look again at once."""
        if self.waiting is not None:
            self.waiting.resolve(None)


class MovePorts(NamedTuple):
    """What moves need from the world."""

    clock: Clock
    scheduler: Scheduler
    executor: Executor


class LogDirMoves:
    """All moves of a broker: asked for by clients, or found at the start."""

    def __init__(
        self, replicas: ReplicaManager, ports: MovePorts, assign: Assign, throttle: CopyThrottle, max_running: int
    ) -> None:
        """At most `max_running` moves copy at the same time; the others wait."""
        self._replicas = replicas
        self._logs = replicas.logs
        self._ports = ports
        self._assign = assign
        self._throttle = throttle
        self._max_running = max_running
        self._moves: dict[TopicPartition, _Move] = {}
        self._queue: dict[_Move, None] = {}
        self._running = 0

    def is_assigned_ahead(self, partition: TopicPartition) -> bool:
        """Whether the controller has been asked to have the replica where its copy is."""
        move = self._moves.get(partition)
        return move is not None and move.consent is not Consent.NOT_ASKED and self._goes_on(move)

    def alter(self, name: TopicPartition, log_dir: str) -> None:
        """Begin to move a replica into `log_dir`; a move to elsewhere is given up, even if it is there already.

        The directory is remembered for a partition that is not here yet. Raises KafkaError INVALID_TOPIC_EXCEPTION for
        a name that is too long with what moving adds to it, LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR,
        INVALID_REPLICA_ASSIGNMENT for a cordoned directory, UNKNOWN_TOPIC_OR_PARTITION, REPLICA_NOT_AVAILABLE.
        """
        if len(future_dir_name(name, bytes(16))) > MAX_DIR_NAME_CHARS:
            raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, "the topic's name is too long")
        self._check_dir(log_dir)
        partition = self._replicas.partitions.get(name)
        future = self._logs.future.get(name)
        if partition is not None:
            partition.local_log()
            if future is not None and future.log_dir != log_dir:
                self._give_up(name)
                future = None
        current = self._logs.log(name)
        if all(log is None or log.log_dir != log_dir for log in (current, future)):
            self._logs.choice.prefer(name, log_dir)
        if partition is None:
            try:
                partition = self._replicas.partition(name)
            except KafkaError as error:
                if error.code is ErrorCode.NOT_LEADER_OR_FOLLOWER:
                    raise KafkaError(ErrorCode.REPLICA_NOT_AVAILABLE) from error
                raise
        if partition.local_log().log_dir != log_dir and future is None:
            future = self._logs.future.create(name, log_dir)
            self._logs.choice.forget(name)
            self.followed(partition)

    def followed(self, partition: Partition) -> None:
        """The replica is as the metadata says: go on with its move, if there is one that has not begun."""
        name = partition.topic_partition
        future = self._logs.future.get(name)
        known = self._moves.get(name)
        if future is None or partition.log is None or (known is not None and known.future is future):
            return
        copy = LogCopy(partition.log, future, self._logs.future, self._ports.executor)
        move = self._moves[name] = _Move(partition, partition.log, future, copy)
        self._queue[move] = None
        self._run_next()

    def _check_dir(self, log_dir: str) -> None:
        if not self._logs.has_dir(log_dir):
            raise KafkaError(ErrorCode.LOG_DIR_NOT_FOUND)
        if self._logs.is_offline(log_dir):
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{log_dir} is offline")
        if log_dir in self._logs.choice.cordoned:
            raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"{log_dir} is cordoned")

    def _give_up(self, name: TopicPartition) -> None:
        move = self._moves.get(name)
        self._logs.future.delete(name)
        if move is not None:
            self._end(move)

    def _run_next(self) -> None:
        while self._queue and self._running < self._max_running:
            move = next(iter(self._queue))
            del self._queue[move]
            if not self._goes_on(move):
                self._end(move)
                continue
            self._running += 1
            spawn(self._run(move)).on_done(partial(self._ran, move))

    def _ran(self, move: _Move, outcome: Promise[None]) -> None:
        if outcome.error is not None:
            _log.error("%s is not moved any further", move.partition.topic_partition, exc_info=outcome.error)
        self._end(move)
        self._running -= 1
        if self._queue:
            self._ports.scheduler.call_soon(self._run_next)

    def _goes_on(self, move: _Move) -> bool:
        """Whether both logs are still what they were when the move began."""
        name = move.partition.topic_partition
        return (
            not move.is_over
            and not self._logs.is_closed
            and not move.future.is_offline
            and self._logs.future.get(name) is move.future
            and move.partition.log is move.source
        )

    async def _run(self, move: _Move) -> None:
        while self._goes_on(move):
            try:
                await self._advance(move)
            except KafkaError as error:
                if self._goes_on(move):
                    _log.warning("%s is not copied for now: %s", move.partition.topic_partition, error)
                    await self._wait(move, RETRY_MS)

    async def _advance(self, move: _Move) -> None:
        """Copy some more; where nothing is left, ask the controller, and once it knows, let the copy take the place."""
        delay_ms = self._throttle.delay_ms()
        if delay_ms > 0:
            await self._wait(move, min(delay_ms, RETRY_MS))
            return
        began_at = move.future.log_start_offset
        copied_bytes = await move.copy.copy_some()
        self._throttle.copied(copied_bytes)
        if move.future.log_start_offset != began_at:
            # DeleteRecords waits for it.
            self._replicas.waiting.moved(move.partition.topic_partition)
        if not self._goes_on(move):
            return
        if not move.copy.is_complete:
            await self._wait(move, 0)
            return
        if move.to_sync is None or move.to_sync > move.source.log_end_offset:
            move.to_sync = move.source.log_end_offset
        if move.future.recovery_point < max(move.to_sync, move.source.recovery_point):
            await move.future.flush_later()
        elif move.consent is Consent.NOT_ASKED:
            self._ask(move)
        elif move.consent is Consent.ASKED:
            await self._wait(move, WAIT_MS)
        else:
            self._replace(move)

    def _ask(self, move: _Move) -> None:
        def noted() -> None:
            move.consent = Consent.GIVEN
            move.wake()

        move.consent = Consent.ASKED
        self._assign(move.partition, move.future.log_dir, noted)

    def _replace(self, move: _Move) -> None:
        name = move.partition.topic_partition
        move.copy.finish()
        move.partition.log = self._logs.future.promote(name)
        # Nothing is to be taken back.
        move.consent = Consent.NOT_ASKED
        _log.info("%s was moved to %s", name, move.future.log_dir)

    def _end(self, move: _Move) -> None:
        """Forget a move; the controller is told where the replica is after all, if it may believe otherwise."""
        if move.is_over:
            return
        move.is_over = True
        move.wake()
        self._queue.pop(move, None)
        name = move.partition.topic_partition
        if self._moves.get(name) is move:
            del self._moves[name]
        self._replicas.waiting.moved(name)
        is_held = self._replicas.partitions.get(name) is move.partition
        if move.consent is not Consent.NOT_ASKED and is_held and not self._logs.is_closed:
            self._assign(move.partition, move.source.log_dir, lambda: None)

    def _wait(self, move: _Move, delay_ms: float) -> Promise[None]:
        """Settles after `delay_ms`, in the thread's next turn at the earliest, or when the move is woken."""
        waiting: Promise[None] = Promise()
        move.waiting = waiting
        if delay_ms > 0:
            timer = self._ports.scheduler.call_later(delay_ms, lambda: waiting.resolve(None))
            waiting.on_done(lambda _woken: timer.cancel())
        else:
            self._ports.scheduler.call_soon(lambda: waiting.resolve(None))
        return waiting
