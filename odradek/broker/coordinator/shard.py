"""One shard: a state machine, the log partition behind it, and the requests that wait for either."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import CoroutineType
from typing import Generic, TypeVar, cast

from odradek.broker.coordinator.batches import RecordCodec, build_batches
from odradek.broker.coordinator.errors import REFUSED_BEFORE_WRITING, client_error
from odradek.broker.coordinator.loader import ShardLoader
from odradek.broker.coordinator.result import NO_PRODUCER_ID, CoordinatorResult, Operation, Producer, StateMachine
from odradek.broker.coordinator.timeline import Timeline
from odradek.broker.coordinator.timers import TimerOperation, Timers
from odradek.broker.coordinator.writer import PartitionWriter
from odradek.ports import Clock, Promise, Scheduler, Slices, TimerHandle, Turns, spawn
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.compression import Codec
from odradek.wire.records.control import ControlType, EndTxnMarkerValue, build_end_txn_batch

_log = logging.getLogger(__name__)

S = TypeVar("S", bound=StateMachine)
R = TypeVar("R")

REPLY_SLICE_MS = 1.0
"""How long one turn of replies may keep the thread from other work."""
TIMER_RETRY_MS = 500.0
"""How soon the operation of a timer that failed runs again, as in Kafka."""


class ShardState(Enum):
    """Where a shard is in its life."""

    LOADING = "loading"
    ACTIVE = "active"
    FAILED = "failed"
    CLOSED = "closed"


class ShardContext(Generic[S]):
    """What the runtime gives to the factory of a state machine."""

    def __init__(self, shard: Shard[S], clock: Clock, turns: Turns, timeline: Timeline, timers: Timers) -> None:
        self._shard = shard
        self._turns = turns
        self.partition = shard.partition
        self.clock = clock
        self.timeline = timeline
        self.timers = timers

    def slices(self) -> Slices:
        """For an operation that goes through very many elements: lets it give way to others in between."""
        return Slices(self._turns)

    def reply(self, promise: Promise[R], value: R) -> None:
        """Settle `promise` once the operation that runs now has ended, so that what follows finds it ended.

        A rebalance answers every member of a group: many replies leave in slices, with turns for others in between.
        """
        self._shard.reply(lambda: promise.resolve(value))


class ShardOptions(Generic[S]):
    """What all shards of a runtime have in common."""

    def __init__(
        self,
        *,
        writer: PartitionWriter,
        codec: RecordCodec,
        factory: Callable[[ShardContext[S]], S],
        clock: Clock,
        scheduler: Scheduler,
        compression: Codec,
        write_timeout_ms: float,
        load_buffer_bytes: int,
        on_broken: Callable[[Shard[S]], None],
    ) -> None:
        self.writer = writer
        self.codec = codec
        self.factory = factory
        self.clock = clock
        self.scheduler = scheduler
        self.compression = compression
        self.write_timeout_ms = write_timeout_ms
        self.load_buffer_bytes = load_buffer_bytes
        self.on_broken = on_broken


class _Waiting:
    """A response that leaves when its last record is committed."""

    __slots__ = ("end_offset", "settle", "timer")

    def __init__(self, end_offset: int, settle: Callable[[KafkaError | None], None]) -> None:
        self.end_offset = end_offset
        self.settle: Callable[[KafkaError | None], None] | None = settle
        self.timer: TimerHandle | None = None

    def finish(self, error: KafkaError | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        settle, self.settle = self.settle, None
        if settle is not None:
            settle(error)


class Shard(Generic[S]):
    """Runs operations one after the other; what an operation causes to be asked meanwhile waits for its end."""

    def __init__(self, partition: TopicPartition, leader_epoch: int, options: ShardOptions[S]) -> None:
        self.partition = partition
        self.leader_epoch = leader_epoch
        self.state = ShardState.LOADING
        self._options = options
        self._timeline = Timeline()
        self._timers = Timers(options.clock, options.scheduler, self._timer_due)
        self._waiting: deque[_Waiting] = deque()
        self._turns = Turns(options.clock, options.scheduler)
        self._queue: deque[Callable[[], Promise[None] | None]] = deque()
        self._afterwards: deque[Callable[[], None]] = deque()
        self._replies: deque[Callable[[], None]] = deque()
        self._is_replying = False
        self._busy = False
        self._high_watermark = 0
        context = ShardContext(self, options.clock, self._turns, self._timeline, self._timers)
        self.machine = options.factory(context)
        self._loader = ShardLoader(
            partition=partition,
            machine=self.machine,
            timeline=self._timeline,
            writer=options.writer,
            codec=options.codec,
            clock=options.clock,
            scheduler=options.scheduler,
            buffer_bytes=options.load_buffer_bytes,
            finished=self._load_finished,
        )

    def load(self) -> None:
        """Start to replay the log."""
        self._options.writer.watch(self.partition, self._committed)
        self._loader.start()

    def close(self) -> None:
        """Give the shard up: what waits in it fails with NOT_COORDINATOR."""
        if self.state is ShardState.CLOSED:
            return
        was_active = self.state is ShardState.ACTIVE
        self.state = ShardState.CLOSED
        self._loader.cancel()
        self._options.writer.unwatch(self.partition, self._committed)
        self._timers.cancel_all()
        error = KafkaError(ErrorCode.NOT_COORDINATOR)
        waiting, self._waiting = self._waiting, deque()
        for response in waiting:
            response.finish(error)
        if was_active:
            self.machine.on_unloaded()
        self._timers.cancel_all()
        self.after_operation(self._reply_slice)

    def check_active(self) -> None:
        """Raise what a client is told while the shard cannot answer."""
        if self.state is ShardState.LOADING:
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        if self.state is not ShardState.ACTIVE:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)

    def write(self, operation: Operation[S, R], producer: Producer | None) -> Promise[R]:
        """Run an operation, append its records, replay them, and answer once they are committed."""
        promise: Promise[R] = Promise()
        self._submit(lambda: spawn(self._write(operation, producer, promise)))
        return promise

    def read(self, operation: Callable[[S], R]) -> Promise[R]:
        """Ask the state machine for something; the operation looks at committed state only."""
        promise: Promise[R] = Promise()

        def run() -> None:
            try:
                self.check_active()
                value = operation(self.machine)
            except Exception as error:  # noqa: BLE001 - the error goes to whoever asked
                self._reject(promise, error)
            else:
                self.after_operation(lambda: promise.resolve(value))

        self._submit(run)
        return promise

    def complete_transaction(
        self, producer: Producer, coordinator_epoch: int, *, committed: bool, transaction_version: int
    ) -> Promise[None]:
        """Append a transaction marker and apply it."""
        marker = EndTxnMarkerValue(ControlType.COMMIT if committed else ControlType.ABORT, coordinator_epoch)
        promise: Promise[None] = Promise()
        self._submit(lambda: self._complete_transaction(producer, marker, transaction_version, promise))
        return promise

    def reply(self, settle: Callable[[], None]) -> None:
        """Run `settle`, behind those that came before, when nothing runs in this shard."""
        self._replies.append(settle)
        if not self._is_replying:
            self._is_replying = True
            self.after_operation(self._reply_slice)

    def after_operation(self, action: Callable[[], None]) -> None:
        """Run `action` when nothing runs in this shard: now, or at the end of what does."""
        self._afterwards.append(action)
        if not self._busy:
            self._drain()

    def _reply_slice(self) -> None:
        clock = self._options.clock
        until_ms = clock.monotonic_ms() + REPLY_SLICE_MS
        try:
            while self._replies:
                self._replies.popleft()()
                if self.state is not ShardState.CLOSED and clock.monotonic_ms() >= until_ms:
                    break
        finally:
            self._is_replying = bool(self._replies)
            if self._is_replying:
                self._options.scheduler.call_soon(lambda: self.after_operation(self._reply_slice))

    def _submit(self, run: Callable[[], Promise[None] | None]) -> None:
        """Run `run` when it is its turn; what it returns is the end of work that goes on in later turns."""
        self._queue.append(run)
        if not self._busy:
            self._drain()

    def _drain(self, _settled: Promise[None] | None = None) -> None:
        self._busy = True
        working: Promise[None] | None = None
        try:
            while self._afterwards or self._queue:
                try:
                    if self._afterwards:
                        self._afterwards.popleft()()
                    else:
                        working = self._queue.popleft()()
                        if working is not None:
                            if not working.done:
                                break
                            working.result()
                            working = None
                except Exception as error:  # noqa: BLE001 - logged; what comes behind it in the queue must still run
                    working = None
                    self._break(error)
        finally:
            self._busy = working is not None
        if working is not None:
            working.on_done(self._worked)

    def _worked(self, working: Promise[None]) -> None:
        """Work that took several turns has ended; meanwhile everything else waited."""
        if working.error is not None:
            error = working.error
            assert isinstance(error, Exception)
            self._afterwards.appendleft(lambda: self._break(error))
        self._drain()

    def _load_finished(self, error: Exception | None) -> None:
        if self.state is not ShardState.LOADING:
            return
        if error is not None:
            self._give_up(error)
            return
        self._high_watermark = max(self._high_watermark, self._timeline.committed_end)
        self._timeline.commit(self._high_watermark)
        self.state = ShardState.ACTIVE
        self._submit(self._start)

    def _start(self) -> None:
        try:
            self.machine.on_loaded()
        except Exception as error:  # noqa: BLE001 - logged; the shard answers NOT_COORDINATOR from here on
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.state = ShardState.FAILED
        self._timers.cancel_all()
        # That its disk has failed, say, needs no traceback: another broker is about to lead the partition.
        told = None if isinstance(error, KafkaError) else error
        _log.error("coordinator shard %s did not load: %s", self.partition, error, exc_info=told)

    async def _write(self, operation: Operation[S, R], producer: Producer | None, promise: Promise[R]) -> None:
        """What is long gives way in between, to all but this shard's own work: nobody sees half an operation."""
        mark = self._timeline.mark()
        begin = self._timeline.next_offset
        result: CoordinatorResult[R] | None = None
        try:
            self.check_active()
            outcome = operation(self.machine)
            result = await outcome if isinstance(outcome, CoroutineType) else cast("CoordinatorResult[R]", outcome)
            end_offset = await self._append(result, producer)
        except Exception as error:  # noqa: BLE001 - the error goes to whoever asked
            self._timeline.revert(mark)
            self._reject(promise, error)
            self._failed(error, result, appended=self._timeline.next_offset != begin)
            return
        response, on_committed = result.response, result.on_committed

        def settle(error: KafkaError | None) -> None:
            if on_committed is not None:
                try:
                    on_committed(error)
                except Exception as failure:  # noqa: BLE001 - logged by _break; whoever asked is told
                    error = KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
                    self.after_operation(partial(self._break, failure))
            if error is None:
                self.after_operation(lambda: promise.resolve(response))
            else:
                self._reject(promise, error)

        self._settle_when_committed(end_offset, settle)

    async def _append(self, result: CoordinatorResult[R], producer: Producer | None) -> int:
        """Append and replay a result's records; returns the offset that has to be committed ahead of its response."""
        timeline = self._timeline
        if not result.records:
            return timeline.next_offset
        options = self._options
        slices = Slices(self._turns)
        batches = await build_batches(
            options.codec,
            result.records,
            slices,
            now_ms=options.clock.now_ms(),
            compression=options.compression,
            producer=producer,
            max_batch_bytes=options.writer.max_batch_bytes(self.partition),
            atomic=result.atomic,
        )
        producer_id = NO_PRODUCER_ID if producer is None else producer.producer_id
        for batch, records in batches:
            self.check_active()  # it may have been given up in between
            last_offset = options.writer.append(self.partition, batch, self.leader_epoch, producer=producer)
            timeline.next_offset = last_offset - len(records) + 1
            if result.replay:
                async for record in slices.each(records):
                    self.machine.replay(timeline.next_offset, producer_id, record)
                    timeline.next_offset += 1
            timeline.next_offset = last_offset + 1
        return timeline.next_offset

    def _complete_transaction(
        self, producer: Producer, marker: EndTxnMarkerValue, transaction_version: int, promise: Promise[None]
    ) -> None:
        options = self._options
        appended = False
        try:
            self.check_active()
            batch = build_end_txn_batch(
                marker,
                base_offset=0,
                timestamp_ms=options.clock.now_ms(),
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
            )
            last_offset = options.writer.append(
                self.partition, bytearray(batch), self.leader_epoch, transaction_version=transaction_version
            )
            appended = True
            self._timeline.next_offset = last_offset
            committed = marker.control_type is ControlType.COMMIT
            self.machine.replay_end_of_transaction(producer.producer_id, committed=committed)
            self._timeline.next_offset = last_offset + 1
        except Exception as error:  # noqa: BLE001 - the error goes to whoever asked
            self._reject(promise, error)
            if appended or not isinstance(error, KafkaError) or error.code not in REFUSED_BEFORE_WRITING:
                self._break(error)
            return

        def settle(error: KafkaError | None) -> None:
            if error is None:
                self.after_operation(lambda: promise.resolve(None))
            else:
                self._reject(promise, error)

        self._settle_when_committed(last_offset + 1, settle)

    def _settle_when_committed(self, end_offset: int, settle: Callable[[KafkaError | None], None]) -> None:
        waiting = _Waiting(end_offset, settle)
        self._waiting.append(waiting)
        self._advance()
        if waiting.settle is not None:
            waiting.timer = self._options.scheduler.call_later(
                self._options.write_timeout_ms,
                lambda: self._submit(lambda: waiting.finish(KafkaError(ErrorCode.REQUEST_TIMED_OUT))),
            )

    def _committed(self, high_watermark: int) -> None:
        self._high_watermark = max(self._high_watermark, high_watermark)
        self.after_operation(self._advance)

    def _advance(self) -> None:
        self._timeline.commit(self._high_watermark)
        while self._waiting and self._waiting[0].end_offset <= self._timeline.committed_end:
            self._waiting.popleft().finish(None)

    def _failed(self, error: Exception, result: CoordinatorResult[R] | None, *, appended: bool) -> None:
        """An operation raised (`result` is None), or not all its records could be `appended` and replayed."""
        known = error if isinstance(error, KafkaError) else KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)
        if result is None:
            if known is not error:
                # It may have changed what no record tells of, as classic groups do.
                self._break(error)
            return
        if result.on_committed is not None:
            result.on_committed(known)
        if appended or known.code not in REFUSED_BEFORE_WRITING:
            self._break(error)

    def _break(self, error: Exception) -> None:
        """What is in memory and what is in the log may differ from here on: start again from the log."""
        if self.state is ShardState.ACTIVE:
            is_disk = isinstance(error, KafkaError) and error.code is ErrorCode.KAFKA_STORAGE_ERROR
            _log.error(
                "coordinator shard %s is loaded again: %s", self.partition, error, exc_info=None if is_disk else error
            )
            self._options.on_broken(self)

    def _timer_due(self, key: str, operation: TimerOperation) -> None:
        self._submit(lambda: self._run_timer(key, operation))

    def _run_timer(self, key: str, operation: TimerOperation) -> Promise[None] | None:
        if self.state is not ShardState.ACTIVE:
            return None
        promise: Promise[None] = Promise()

        def settled(outcome: Promise[None]) -> None:
            if outcome.error is not None:
                _log.warning("timer %s of coordinator shard %s failed: %s", key, self.partition, outcome.error)
                if self.state is ShardState.ACTIVE and key not in self._timers:
                    # What it was for is still to be done: nobody else takes a member out whose session is over.
                    self._timers.schedule(key, TIMER_RETRY_MS, operation)

        promise.on_done(settled)
        return spawn(self._write(lambda _: operation(), None, promise))

    def _reject(self, promise: Promise[R], error: BaseException) -> None:
        mapped = client_error(error)
        self.after_operation(lambda: promise.reject(mapped))
