"""The active controller: one decision after the other, each answered once its records are committed.

A decision sees everything appended before it, committed or not, since all of that will be committed or none of what
follows. If this node stops leading, what was not committed is forgotten, and those who wait get NOT_CONTROLLER.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from odradek.config import BrokerConfig
from odradek.controller.activation import activation_records
from odradek.controller.brokers import fence_stale_broker
from odradek.controller.leadership import balance_leaders, elect_unclean_leaders
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerIdentity, ControllerState
from odradek.metadata.image import MetadataImage
from odradek.metadata.loader import MetadataLoader
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.topics_delta import MetadataError
from odradek.ports import Clock, Promise, Random, Scheduler, TimerHandle
from odradek.quorum.log import Batch
from odradek.quorum.raft import RaftNode
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.persistent.metadata.no_op_record import NoOpRecord
from odradek.wire.schema import Message

_log = logging.getLogger(__name__)

R = TypeVar("R")
CHECKS_PER_SESSION = 8
"""How often, within a session time-out, it is looked for brokers that were not heard of, beside when a session ends."""
SESSION_OVER_MS = 1
"""How long after the end of a session it is looked: at the very end it still holds."""
MS_PER_SECOND = 1000
NEXT_ELECTIONS_MS = 10
"""When the next leaders are elected if there are more than are elected in one go."""


class Controller:
    """A RaftListener that decides while this node leads; add it to the RaftNode behind the loader."""

    def __init__(
        self,
        identity: ControllerIdentity,
        config: BrokerConfig,
        raft: RaftNode,
        loader: MetadataLoader,
        clock: Clock,
        scheduler: Scheduler,
        random: Random,
    ) -> None:
        self.state = ControllerState(identity, config, clock, random)
        self.raft = raft
        self._config = config
        self._loader = loader
        self._scheduler = scheduler
        self._epoch: int | None = None
        self._has_followed = False
        self._waiting: deque[tuple[int, Callable[[KafkaError | None], None]]] = deque()
        self._active: Promise[None] = Promise()
        self._timers: dict[str, TimerHandle] = {}

    @property
    def is_active(self) -> bool:
        """Whether this node decides."""
        return self.raft.is_leader and self._epoch == self.raft.epoch

    def when_active(self) -> Promise[None]:
        """Settles when this node decides, and what it had to write first is committed."""
        return self._active

    @property
    def image(self) -> MetadataImage:
        """What is committed."""
        return self._loader.image

    @property
    def config(self) -> BrokerConfig:
        """This node's properties with what was set dynamically."""
        return self.state.config

    # Decisions

    def submit(self, decide: Callable[[ControllerState], ControllerResult[R]]) -> Promise[R]:
        """Decide now; the response comes when everything that it rests on is committed.

        Fails with the KafkaError that `decide` raises, or NOT_CONTROLLER.
        """
        if not self.is_active:
            return Promise.failed(KafkaError(ErrorCode.NOT_CONTROLLER))
        promise: Promise[R] = Promise()
        self.state.next_offset = self.raft.end_offset
        try:
            result = decide(self.state)
            if result.records:
                self._append(result.records, atomic=result.is_atomic)
        except KafkaError as error:
            promise.reject(error)
            return promise

        def settle(error: KafkaError | None) -> None:
            if error is None:
                promise.resolve(result.response)
            else:
                promise.reject(error)

        last_offset = self.raft.end_offset - 1
        if last_offset < self.raft.high_watermark:
            settle(None)
        else:
            self._waiting.append((last_offset, settle))
        return promise

    def _append(self, records: Sequence[VersionedRecord], *, atomic: bool) -> None:
        """State first: what cannot be replayed must not get into the log. What cannot be written is taken back."""
        before = self.state.image
        try:
            self.state.replay(
                [record.message for record in records],
                self.raft.end_offset,
                self.raft.epoch,
                self.state.clock.now_ms(),
            )
            self.raft.append(records, atomic=atomic)
        except (MetadataError, ProtocolError) as error:
            self.state.reset(before)
            _log.exception("a decision cannot be replayed or written")
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, str(error)) from error
        except KafkaError:
            self.state.reset(before)
            raise

    # What the quorum says

    def load_snapshot(self, records: Sequence[Message], offset: int, epoch: int, timestamp_ms: int) -> None:
        """The loader has it, which is where state is taken from."""
        del records, offset, epoch, timestamp_ms
        self.state.reset(self._loader.image)

    def commit(self, batches: Sequence[Batch]) -> None:
        """Answer what rested on these batches."""
        if not batches:
            return
        if self._epoch is None:
            self.state.reset(self._loader.image)
        committed = batches[-1].last_offset
        while self._waiting and self._waiting[0][0] <= committed:
            _offset, settle = self._waiting.popleft()
            settle(None)

    def leader_changed(self, leader_id: int | None, epoch: int) -> None:
        """Begin or cease to decide."""
        is_own = leader_id == self.state.identity.node_id
        if is_own and epoch == self._epoch:
            return
        self._has_followed |= leader_id is not None and not is_own
        self._resign()
        if is_own:
            self._begin(epoch)

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        image = self._loader.image
        self.state.begin(image, is_alone=len(self.raft.voters.voters) == 1 and not self._has_followed)
        records = activation_records(self.raft.bootstrap, self._loader.in_transaction, image, self._config)
        _log.info("active controller in epoch %d, which begins with %d records", epoch, len(records))

        def started(done: Promise[None]) -> None:
            if done.error is None and self._epoch == epoch:
                self._start_timers()
                self._active.resolve(None)

        self.submit(lambda _state: ControllerResult(None, records)).on_done(started)

    def close(self) -> None:
        """Decide no more; those who wait are told."""
        self._resign()

    def _resign(self) -> None:
        self._epoch = None
        for timer in self._timers.values():
            timer.cancel()
        self._timers = {}
        waiting, self._waiting = self._waiting, deque()
        for _offset, settle in waiting:
            settle(KafkaError(ErrorCode.NOT_CONTROLLER))
        self.state.reset(self._loader.image)
        if self._active.done:
            self._active = Promise()

    # What happens without being asked

    def _start_timers(self) -> None:
        config = self._config
        self._repeat("idle", config.int_("metadata.max.idle.interval.ms"), self._write_no_op)
        self._watch_sessions(config.int_("broker.session.timeout.ms") / CHECKS_PER_SESSION)
        if config.bool_("auto.leader.rebalance.enable"):
            interval_ms = config.int_("leader.imbalance.check.interval.seconds") * MS_PER_SECOND
            self._repeat("balance", interval_ms, lambda: self._elect("balance", balance_leaders))
        unclean_ms = config.int_("unclean.leader.election.interval.ms")
        self._repeat("unclean", unclean_ms, lambda: self._elect("unclean", elect_unclean_leaders))

    def _repeat(self, name: str, interval_ms: float, action: Callable[[], object]) -> None:
        """Run `action` every `interval_ms` milliseconds while this node decides; 0 is never."""
        if interval_ms <= 0 or not self.is_active:
            return

        def run() -> None:
            if self.is_active:
                action()
                self._repeat(name, interval_ms, action)

        self._timers[name] = self._scheduler.call_later(interval_ms, run)

    def _elect(self, name: str, decide: Callable[[ControllerState], ControllerResult[bool]]) -> None:
        """Elect leaders, as many as it takes, but some at a time."""

        def again(done: Promise[bool]) -> None:
            if done.error is None and done.result():
                self._timers[f"{name} on"] = self._scheduler.call_later(
                    NEXT_ELECTIONS_MS, lambda: self._elect(name, decide)
                )

        self.submit(decide).on_done(again)

    def _write_no_op(self) -> None:
        """Keep the log moving, so that followers can tell an idle leader from a dead one (KIP-835)."""
        self.submit(lambda _state: ControllerResult(None, [VersionedRecord(NoOpRecord(), 0)]))

    def _watch_sessions(self, interval_ms: float) -> None:
        """Fence who is not heard of until its session ends, at once; Kafka looks every `interval_ms` only.

        But if this node stood still, heartbeats that came meanwhile are heard first.
        """
        clock, begun_ms = self.state.clock, self.state.clock.monotonic_ms()
        end_ms = self.state.sessions.next_end_ms(begun_ms)
        delay_ms = interval_ms if end_ms is None else min(interval_ms, end_ms - begun_ms + SESSION_OVER_MS)

        def look() -> None:
            if not self.is_active:
                return
            if clock.monotonic_ms() - begun_ms < delay_ms + interval_ms:
                self._fence_stale_brokers()
            self._watch_sessions(interval_ms)

        self._timers["sessions"] = self._scheduler.call_later(delay_ms, look)

    def _fence_stale_brokers(self) -> None:
        def again(fenced: Promise[int | None]) -> None:
            if fenced.error is None and fenced.result() is not None:
                _log.warning("broker %d fenced: no heartbeat came from it", fenced.result())
                self._fence_stale_brokers()

        self.submit(fence_stale_broker).on_done(again)
