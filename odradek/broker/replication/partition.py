"""One partition as this broker holds it: who leads it, how far it is replicated, and what may be read of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

from odradek.broker.replication.alter_partition import Answer
from odradek.broker.replication.followers import FollowerProgress
from odradek.broker.replication.leadership import IsrProposal, IsrRules, Leadership
from odradek.metadata.image import PartitionImage
from odradek.storage.log import Log
from odradek.storage.log_results import AppendInfo, AppendOrigin
from odradek.storage.topic_partition import TopicPartition
from odradek.storage.uniform_run import UniformRun
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import BatchHeader

NO_LEADER = -1
NO_EPOCH = -1
NO_OFFSET = -1

_log = logging.getLogger(__name__)


class Isolation(IntEnum):
    """How far a read goes; the first two are Fetch's isolation levels."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1
    LOG_END = 2
    """For replicas, which copy what is not committed yet."""


class LeaderPorts(NamedTuple):
    """What the leader of a partition with several replicas needs."""

    rules: IsrRules
    ask: Callable[[Partition, IsrProposal], Answer]
    """Asks the controller to change the ISR."""
    retry: Callable[[Callable[[], None]], None]
    """Calls the function a little later."""


_REFUSED = (ErrorCode.OPERATION_NOT_ATTEMPTED, ErrorCode.INELIGIBLE_REPLICA)
"""The controller has this very partition epoch, and has changed nothing."""
_OUTDATED = (
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_ID,
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.INVALID_UPDATE_VERSION,
    ErrorCode.INVALID_REQUEST,
    ErrorCode.NEW_LEADER_ELECTED,
)
"""The controller knows more than this broker, which will hear of it."""


class Partition:
    """A replica on this broker. `log` is None while its directory is offline."""

    def __init__(
        self, topic_partition: TopicPartition, topic_id: bytes, local_id: int, ports: LeaderPorts | None = None
    ) -> None:
        """Without `ports`, nothing is committed while it leads and there are other replicas."""
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self.log: Log | None = None
        self.leader_id = NO_LEADER
        self.is_leader = False
        """Whether this broker leads the partition."""
        self.leader_epoch = NO_EPOCH
        self.partition_epoch = NO_EPOCH
        self.replicas: tuple[int, ...] = ()
        self.isr: tuple[int, ...] = ()
        self._local_id = local_id
        self.is_alone = False
        """It leads, and there is no other replica: whatever is appended is committed."""
        self.leadership: Leadership | None = None
        """What it knows of the other replicas, while it leads and there are any."""
        self.epoch_start_offset = NO_OFFSET
        """Where the log ended when this broker's leader epoch began; -1 while another leads."""
        self.tenure = 0
        """Counts how often this broker began to lead: another may have cut the log in between."""
        self._ports = ports
        self._watermark_listeners: tuple[Callable[[Partition], None], ...] = ()

    def apply(self, image: PartitionImage) -> bool:
        """Take over leadership and replicas from the metadata; returns whether the leader epoch is a new one.

        What is older than what the controller has answered this broker already is left alone.
        """
        if image.partition_epoch < self.partition_epoch:
            return False
        is_new_epoch = image.leader_epoch != self.leader_epoch
        was_leader = self.is_leader
        self.leader_id = image.leader
        self.is_leader = image.leader == self._local_id
        self.leader_epoch = image.leader_epoch
        self.partition_epoch = image.partition_epoch
        self.replicas = tuple(image.replicas)
        self.isr = tuple(image.isr)
        self.is_alone = self.is_leader and all(replica == self._local_id for replica in self.replicas)
        if not self.is_leader:
            self.leadership = None
            self.epoch_start_offset = NO_OFFSET
            return is_new_epoch
        self.tenure += not was_leader
        if self.log is not None:
            if is_new_epoch:
                self.epoch_start_offset = self.log.log_end_offset
                # A disk that fails here takes the log offline, which whoever uses it next is told.
                with contextlib.suppress(KafkaError):
                    self.log.assign_epoch(self.leader_epoch, self.log.log_end_offset)
            self._lead(image, is_new_epoch=is_new_epoch, was_leader=was_leader)
            self.advance_high_watermark()
        return is_new_epoch

    def _lead(self, image: PartitionImage, *, is_new_epoch: bool, was_leader: bool) -> None:
        if self.is_alone or self._ports is None:
            self.leadership = None
            return
        leadership = self.leadership
        if leadership is None:
            leadership = self.leadership = Leadership(self._local_id, self._ports.rules)
        leadership.follow(image)
        if is_new_epoch:
            leadership.begin_epoch(self.epoch_start_offset, is_new_leader=not was_leader)
        leadership.epoch_start_offset = self.epoch_start_offset
        self.isr = leadership.isr

    def leader_log(self, current_leader_epoch: int = NO_EPOCH) -> Log:
        """The log, if this broker leads and the client's leader epoch (if it sent one) is the current one.

        Raises KafkaError KAFKA_STORAGE_ERROR (whoever leads: that is what sent the leader away), FENCED_LEADER_EPOCH,
        UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER.
        """
        log = self.log if self.log is not None else self.local_log()
        if current_leader_epoch != NO_EPOCH:
            self.check_epoch(current_leader_epoch)
        if not self.is_leader:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return log

    def local_log(self) -> Log:
        """The log, whoever leads; raises KafkaError KAFKA_STORAGE_ERROR while it is offline."""
        if self.log is None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"the log directory of {self.topic_partition} is offline")
        return self.log

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Compare a client's idea of the leader epoch with ours (KIP-320); -1 is not compared."""
        if current_leader_epoch in (NO_EPOCH, self.leader_epoch):
            return
        if current_leader_epoch < self.leader_epoch:
            raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
        raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH)

    def append(
        self,
        batches: memoryview,
        headers: Sequence[BatchHeader] | None,
        *,
        all_replicas: bool,
        now_ms: int,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        transaction_version: int = 0,
    ) -> AppendInfo:
        """Append checked batches as the leader; `batches` is rewritten in place with offsets and leader epoch.

        `headers` are those of the batches, if the caller has parsed them; `transaction_version` is that of a marker.

        Raises KafkaError: those of `leader_log`, NOT_ENOUGH_REPLICAS, and those of `Log.append_as_leader`.
        """
        log = self.leader_log()
        if all_replicas and len(self.isr) < min(log.config.min_insync_replicas, len(self.replicas)):
            raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
        info = log.append_as_leader(
            batches,
            leader_epoch=self.leader_epoch,
            now_ms=now_ms,
            origin=origin,
            headers=headers,
            transaction_version=transaction_version,
        )
        self.advance_high_watermark()
        return info

    def append_run(
        self, batches: Sequence[memoryview], headers: Sequence[BatchHeader], *, now_ms: int
    ) -> AppendInfo | None:
        """`append` for batches that came together, where no other replica is waited for: see `Log.append_run`."""
        info = self.leader_log().append_run(batches, headers, leader_epoch=self.leader_epoch, now_ms=now_ms)
        if info is not None:
            self.advance_high_watermark()
        return info

    def append_uniform(self, run: UniformRun, *, now_ms: int) -> int | None:
        """As `append_run`: see `Log.append_uniform`."""
        first_offset = self.leader_log().append_uniform(run, leader_epoch=self.leader_epoch, now_ms=now_ms)
        if first_offset is not None:
            self.advance_high_watermark()
        return first_offset

    def advance_high_watermark(self) -> bool:
        """Move the high watermark to what every in-sync replica has; returns whether it moved."""
        log = self.log
        if log is None:
            return False
        end_offset = log.log_end_offset
        if not self.is_alone:
            leadership = self.leadership
            # Below min.insync.replicas nothing is committed, so that an eligible leader has all that is (KIP-966).
            if leadership is None or len(self.isr) < self._min_isr(log):
                return False
            end_offset = leadership.replicated_offset(end_offset)
            if end_offset <= log.high_watermark:
                return False
        before = log.high_watermark
        if before == end_offset or log.update_high_watermark(end_offset) == before:
            return False
        self._tell_listeners()
        return True

    def _tell_listeners(self) -> None:
        for listener in self._watermark_listeners:
            listener(self)

    def _min_isr(self, log: Log) -> int:
        return min(log.config.min_insync_replicas, len(self.replicas))

    def has_committed(self, offset: int, tenure: int) -> bool:
        """Whether all in-sync replicas have the record that this broker appended at `offset` in its `tenure`.

        Raises KafkaError: those of `leader_log`, also if it leads again meanwhile, and NOT_ENOUGH_REPLICAS_AFTER_APPEND
        if they have it but are too few by now.
        """
        log = self.leader_log()
        if tenure != self.tenure:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if log.high_watermark <= offset:
            return False
        if self.leadership is not None and len(self.leadership.maximal_isr) < self._min_isr(log):
            raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)
        return True

    def follow_leader(self, high_watermark: int, log_start_offset: int) -> None:
        """What the leader says of its log, which goes for what of it is here. Raises KafkaError as `local_log` does."""
        log = self.local_log()
        before = log.high_watermark
        log.update_high_watermark(high_watermark)
        log.advance_log_start_offset(min(log_start_offset, log.high_watermark))
        if log.high_watermark != before:
            self._tell_listeners()

    def follower(self, broker_id: int, current_leader_epoch: int) -> FollowerProgress:
        """The replica on another broker, while this one leads.

        Raises KafkaError UNKNOWN_LEADER_EPOCH where the metadata here has no such replica yet, or
        NOT_LEADER_OR_FOLLOWER if the request did not say its leader epoch.
        """
        leadership = self.leadership
        found = None if leadership is None else leadership.followers.get(broker_id)
        if found is None:
            knows_epoch = current_leader_epoch != NO_EPOCH
            raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH if knows_epoch else ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return found

    def follower_fetched(
        self, follower: FollowerProgress, offset: int, log_start_offset: int, leader_end_offset: int, broker_epoch: int
    ) -> None:
        """A follower fetches from `offset`: it may join the ISR by that, and the high watermark may move.

        `leader_end_offset` is where the log ended before its fetch was read. Raises KafkaError NOT_LEADER_OR_FOLLOWER
        for a fetch of an earlier incarnation of its broker.
        """
        leadership = self.leadership
        if leadership is None or self.log is None:
            return
        before, begun = follower.log_end_offset, follower.log_start_offset
        leadership.fetched(follower, offset, log_start_offset, leader_end_offset, broker_epoch)
        if follower.broker_id not in leadership.maximal_isr:
            proposal = leadership.expansion(follower, self.log.high_watermark, self.leader_epoch, self.partition_epoch)
            if proposal is not None:
                self._ask(leadership, proposal)
        has_moved = follower.log_end_offset != before and self.advance_high_watermark()
        if begun != log_start_offset and not has_moved:
            # Who has deleted records waits until no replica has them any more.
            self._tell_listeners()

    def shrink_isr(self) -> None:
        """Ask for the removal of followers that have lagged for too long."""
        leadership = self.leadership
        if leadership is None or self.log is None:
            return
        proposal = leadership.shrinking(self.log.log_end_offset, self.leader_epoch, self.partition_epoch)
        if proposal is not None:
            _log.info("%s: ISR shrinks from %s to %s", self.topic_partition, leadership.isr, proposal.isr)
            self._ask(leadership, proposal)

    def low_watermark(self, is_alive: Callable[[int], bool]) -> int:
        """From where on its records are kept by any replica that is alive. Raises KafkaError as `leader_log` does."""
        lowest = self.leader_log().log_start_offset
        if self.leadership is not None:
            for follower in self.leadership.followers.values():
                if follower.log_start_offset < lowest and is_alive(follower.broker_id):
                    lowest = follower.log_start_offset
        return lowest

    def _ask(self, leadership: Leadership, proposal: IsrProposal) -> None:
        assert self._ports is not None, "a leadership comes with them"

        def answered(answer: Answer) -> None:
            if self.leadership is leadership and leadership.pending is proposal:
                self._isr_answered(leadership, proposal, answer)

        self._ports.ask(self, proposal).on_done(answered)

    def _isr_answered(self, leadership: Leadership, proposal: IsrProposal, answer: Answer) -> None:
        if answer.error is None:
            noted = answer.result()
            if noted.leader_epoch == self.leader_epoch and noted.partition_epoch >= self.partition_epoch:
                _log.info("%s: ISR is %s now", self.topic_partition, noted.isr)
                leadership.accepted(noted.isr)
                self.isr = leadership.isr
                self.partition_epoch = noted.partition_epoch
                self.advance_high_watermark()
            return
        assert self._ports is not None
        code = answer.error.code if isinstance(answer.error, KafkaError) else ErrorCode.UNKNOWN_SERVER_ERROR
        _log.info("%s: ISR does not become %s: %s", self.topic_partition, proposal.isr, code.name)
        if code in _REFUSED:
            leadership.refused()
        elif code not in _OUTDATED:

            def again() -> None:
                if self.leadership is leadership and leadership.pending is proposal:
                    self._ask(leadership, proposal)

            self._ports.retry(again)

    def add_watermark_listener(self, listener: Callable[[Partition], None]) -> None:
        """Call `listener(partition)` whenever the high watermark moves, and when a follower's log begins elsewhere."""
        self._watermark_listeners += (listener,)

    def remove_watermark_listener(self, listener: Callable[[Partition], None]) -> None:
        """Stop calling it; one that is not there is fine."""
        self._watermark_listeners = tuple(each for each in self._watermark_listeners if each != listener)

    def readable_log(self, current_leader_epoch: int, *, only_leader: bool) -> Log:
        """The log, for readers; consumers may read from followers, too (KIP-392). Raises KafkaError as `leader_log`."""
        if only_leader or self.is_leader:
            return self.leader_log(current_leader_epoch)
        log = self.local_log()
        self.check_epoch(current_leader_epoch)
        return log

    def readable_end(self, isolation: Isolation) -> int:
        """The first offset that a reader of this isolation may not see."""
        log = self.local_log()
        if isolation is Isolation.READ_COMMITTED:
            return log.last_stable_offset
        return log.high_watermark if isolation is Isolation.READ_UNCOMMITTED else log.log_end_offset
