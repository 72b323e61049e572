"""A partition that this broker leads and others replicate: who has how much, and who is in sync (KIP-497, KIP-903)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.broker.replication.followers import UNKNOWN_EPOCH, FollowerProgress
from odradek.metadata.image import BrokerRegistration, PartitionImage


class IsrProposal(NamedTuple):
    """A change of the ISR that the controller is asked for: it becomes this, if nothing has changed before."""

    isr: tuple[int, ...]
    broker_epochs: tuple[int, ...]
    """Of the brokers in `isr`, by their fetches; -1 where there was none."""
    leader_epoch: int
    partition_epoch: int


class IsrRules(NamedTuple):
    """What decides about the ISR, beside followers' progress."""

    broker: Callable[[int], BrokerRegistration | None]
    """A broker as the metadata has it."""
    own_epoch: Callable[[], int]
    """This broker's epoch."""
    max_lag_ms: Callable[[], int]
    """`replica.lag.time.max.ms`."""
    now_ms: Callable[[], float]
    """Monotonic."""


class Leadership:
    """Belongs to one broker's uninterrupted leadership of a partition, which may be of several leader epochs.

    While a change of the ISR is under way, the *maximal* ISR counts for the high watermark: a follower that is to join
    is waited for already, one that is to leave is waited for still. So whatever the controller decides, and whenever
    that is known here, what was committed is in all of the ISR.
    """

    __slots__ = ("_local_id", "_rules", "epoch_start_offset", "followers", "isr", "maximal_isr", "pending")

    def __init__(self, local_id: int, rules: IsrRules) -> None:
        self._local_id = local_id
        self._rules = rules
        self.followers: dict[int, FollowerProgress] = {}
        self.isr: tuple[int, ...] = ()
        """As the controller has noted it."""
        self.maximal_isr: tuple[int, ...] = ()
        self.pending: IsrProposal | None = None
        """What the controller has been asked for."""
        self.epoch_start_offset = 0
        """Where the leader's log ended when its latest leader epoch began."""

    def follow(self, image: PartitionImage) -> None:
        """The metadata has these replicas and this ISR.

        What was asked for after that stays asked for; what was asked for before can only be refused any more.
        """
        followers = (replica for replica in image.replicas if replica != self._local_id)
        self.followers = {each: self.followers.get(each) or FollowerProgress(each) for each in followers}
        if self.pending is None or self.pending.partition_epoch < image.partition_epoch:
            self._commit(image.isr)

    def begin_epoch(self, log_end_offset: int, *, is_new_leader: bool) -> None:
        """A leader epoch begins at this end of the log."""
        self.epoch_start_offset = log_end_offset
        now_ms = self._rules.now_ms()
        for follower in self.followers.values():
            follower.reset(
                now_ms, log_end_offset, is_new_leader=is_new_leader, is_in_sync=follower.broker_id in self.isr
            )

    def fetched(
        self, follower: FollowerProgress, offset: int, log_start_offset: int, leader_end_offset: int, broker_epoch: int
    ) -> None:
        """A follower fetches from `offset`. Raises KafkaError as `FollowerProgress.fetched` does."""
        broker = self._rules.broker(follower.broker_id)
        registered = None if broker is None or broker.fenced else broker.epoch
        follower.fetched(offset, log_start_offset, self._rules.now_ms(), leader_end_offset, broker_epoch, registered)

    def replicated_offset(self, log_end_offset: int) -> int:
        """Up to where all have the log who are in sync, or about to be (else they might never catch up)."""
        lowest = log_end_offset
        for follower in self.followers.values():
            if follower.log_end_offset < lowest and (
                follower.broker_id in self.maximal_isr or self._is_about_to_join(follower, log_end_offset)
            ):
                lowest = follower.log_end_offset
        return lowest

    def expansion(
        self, follower: FollowerProgress, high_watermark: int, leader_epoch: int, partition_epoch: int
    ) -> IsrProposal | None:
        """What to ask the controller for, if the follower may join the ISR now; it counts as asked for then.

        It must have all that is committed, which in a new leader's first moments may be more than the high watermark
        says: hence what the leader began its epoch with.
        """
        if (
            self.pending is not None
            or follower.broker_id in self.isr
            or follower.log_end_offset < high_watermark
            or follower.log_end_offset < self.epoch_start_offset
            or not self._may_join(follower)
        ):
            return None
        isr = (*self.isr, follower.broker_id)
        self.maximal_isr = isr
        return self._propose(isr, leader_epoch, partition_epoch)

    def shrinking(self, log_end_offset: int, leader_epoch: int, partition_epoch: int) -> IsrProposal | None:
        """What to ask the controller for, if followers have lagged for too long; it counts as asked for then."""
        if self.pending is not None:
            return None
        now_ms, max_lag_ms = self._rules.now_ms(), self._rules.max_lag_ms()
        lagging = [
            replica
            for replica in self.isr
            if replica != self._local_id and not self._is_caught_up(replica, log_end_offset, now_ms, max_lag_ms)
        ]
        if not lagging:
            return None
        isr = tuple(replica for replica in self.isr if replica not in lagging)
        return self._propose(isr, leader_epoch, partition_epoch)

    def accepted(self, isr: Sequence[int]) -> None:
        """The controller has noted what was asked for: this is the ISR."""
        self._commit(isr)

    def refused(self) -> None:
        """The controller has not noted what was asked for, and will not: the ISR is what it was."""
        self._commit(self.isr)

    def _commit(self, isr: Sequence[int]) -> None:
        self.isr = self.maximal_isr = tuple(isr)
        self.pending = None

    def _propose(self, isr: tuple[int, ...], leader_epoch: int, partition_epoch: int) -> IsrProposal:
        epochs = tuple(self._broker_epoch(replica) for replica in isr)
        self.pending = IsrProposal(isr, epochs, leader_epoch, partition_epoch)
        return self.pending

    def _broker_epoch(self, replica: int) -> int:
        if replica == self._local_id:
            return self._rules.own_epoch()
        follower = self.followers.get(replica)
        return UNKNOWN_EPOCH if follower is None or follower.broker_epoch is None else follower.broker_epoch

    def _is_caught_up(self, replica: int, log_end_offset: int, now_ms: float, max_lag_ms: float) -> bool:
        follower = self.followers.get(replica)
        return follower is not None and follower.is_caught_up(log_end_offset, now_ms, max_lag_ms)

    def _is_about_to_join(self, follower: FollowerProgress, log_end_offset: int) -> bool:
        return follower.is_caught_up(log_end_offset, self._rules.now_ms(), self._rules.max_lag_ms()) and self._may_join(
            follower
        )

    def _may_join(self, follower: FollowerProgress) -> bool:
        """Whether the controller would take it: alive, staying, and the same incarnation that has fetched."""
        broker = self._rules.broker(follower.broker_id)
        return (
            broker is not None
            and broker.is_active
            and follower.broker_epoch is not None
            and follower.broker_epoch in (UNKNOWN_EPOCH, broker.epoch)
        )
