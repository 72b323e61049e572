"""What ties the partitions of a broker to the other brokers: fetchers, ISR changes, quotas, read replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from odradek.broker.replication.alter_partition import AlterPartitions, Answer
from odradek.broker.replication.cluster import ClusterPorts, ReplicationOptions
from odradek.broker.replication.fetcher import FetcherPorts
from odradek.broker.replication.fetchers import Fetchers, Source
from odradek.broker.replication.followed_logs import FollowedLogs
from odradek.broker.replication.leadership import IsrProposal, IsrRules
from odradek.broker.replication.partition import NO_LEADER, LeaderPorts, Partition
from odradek.broker.replication.replica_selector import ReadingClient, ReplicaView, select_by_rack
from odradek.broker.replication.throttle import FOLLOWER, LEADER, ReplicationThrottle
from odradek.broker.replication.waiting import WaitingRoom
from odradek.metadata.image import BrokerRegistration, MetadataImage
from odradek.ports import TimerHandle, Timing
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition

RETRY_MS = 50
"""How soon a change of an ISR is asked for again that failed for no known reason."""
HURRY_MS = (10, 50)
"""When fetches that wait are answered once this broker has begun to lead: the next ones name what it leads now. Twice,
as it may take a while until followers know."""


class Replicas(Protocol):
    """Who has the partitions."""

    node_id: int
    logs: LogManager
    image: MetadataImage
    waiting_replicas: WaitingRoom[TopicPartition]

    @property
    def partitions(self) -> Mapping[TopicPartition, Partition]:
        """The local replicas by name."""
        ...


class Replication:
    """Follows which partitions this broker leads and which it copies."""

    def __init__(self, replicas: Replicas, cluster: ClusterPorts, timing: Timing) -> None:
        self.is_leaving = False
        """A controlled shutdown is under way."""
        self._replicas = replicas
        self._cluster = cluster
        self._clock = clock = timing.clock
        self._scheduler = scheduler = timing.scheduler
        self._led: dict[TopicPartition, Partition] = {}
        """What this broker leads and others copy."""
        self._timer: TimerHandle | None = None
        self._hurrying: dict[float, TimerHandle] = {}
        """By how long they take from their start."""
        self._alterations = AlterPartitions(cluster.controller, scheduler, replicas.node_id, cluster.broker_epoch)
        rules = IsrRules(
            self._broker,
            cluster.broker_epoch,
            lambda: cluster.options().lag_time_max_ms,
            clock.monotonic_ms,
        )
        self.leader_ports = LeaderPorts(rules, self._ask, self._retry)
        self._leader_throttle = ReplicationThrottle(
            LEADER, replicas.node_id, lambda: replicas.image.configs, lambda: cluster.options().leader_bytes_per_second
        )
        follower_throttle = ReplicationThrottle(
            FOLLOWER,
            replicas.node_id,
            lambda: replicas.image.configs,
            lambda: cluster.options().follower_bytes_per_second,
        )
        self.fetchers = Fetchers(
            FollowedLogs(replicas.partitions, replicas.logs),
            cluster.new_client,
            FetcherPorts(
                replicas.node_id,
                cluster.broker_epoch,
                cluster.options,
                clock,
                scheduler,
                follower_throttle,
            ),
        )

    @property
    def options(self) -> ReplicationOptions:
        """The settings of this moment."""
        return self._cluster.options()

    def start(self) -> None:
        """Begin to fetch."""
        self.fetchers.start()

    def close(self) -> None:
        """Fetch nothing, ask for nothing."""
        self.fetchers.close()
        self._alterations.close()
        self._led.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for timer in self._hurrying.values():
            timer.cancel()
        self._hurrying.clear()

    def config_changed(self) -> None:
        """Options may be others now."""
        self.fetchers.resize()

    def followed(self, partition: Partition, *, is_new_epoch: bool) -> None:
        """A replica is as the metadata says: copy it from its leader, or watch those who copy it."""
        name = partition.topic_partition
        if partition.leadership is not None:
            self._led[name] = partition
            self._start_timer()
            if is_new_epoch:
                self._hurry_followers()
        else:
            self._led.pop(name, None)
        is_over = self.is_leaving and self._replicas.node_id not in partition.isr
        if partition.is_leader or partition.leader_id == NO_LEADER or is_over:
            self.fetchers.remove(name)
        elif is_new_epoch:
            self.fetchers.add(name, Source(partition.topic_id, partition.leader_id, partition.leader_epoch))

    def ended(self, partition: Partition) -> None:
        """A replica is gone, or its log is."""
        name = partition.topic_partition
        self._led.pop(name, None)
        self.fetchers.remove(name)

    def preferred_read_replica(self, partition: Partition, client: ReadingClient, offset: int) -> int | None:
        """Another in-sync replica from which a consumer should go on at `offset`; None for the leader."""
        leadership, log = partition.leadership, partition.log
        if leadership is None or log is None:
            return None
        now_ms = self._clock.monotonic_ms()
        node_id = self._replicas.node_id
        others = []
        for follower in leadership.followers.values():
            broker = self._broker(follower.broker_id)
            if (
                broker is not None
                and not broker.fenced
                and client.listener in broker.endpoints
                and follower.broker_id in leadership.isr
                and follower.log_start_offset <= offset <= follower.log_end_offset
            ):
                lag_ms = now_ms - follower.last_caught_up_ms
                others.append(ReplicaView(follower.broker_id, broker.rack, follower.log_end_offset, lag_ms))
        own = self._broker(node_id)
        leader = ReplicaView(node_id, None if own is None else own.rack, log.log_end_offset, 0.0)
        chosen = select_by_rack(client.rack, leader, others)
        return None if chosen == node_id else chosen

    def is_held_back(self, partition: Partition, replica_id: int) -> bool:
        """Whether a replica outside of the ISR has to wait, for its partition's quota is used up."""
        throttle = self._leader_throttle
        return (
            replica_id not in partition.isr
            and throttle.is_throttled(partition.topic_partition)
            and throttle.is_exceeded(self._clock.monotonic_ms())
        )

    def sent(self, partition: Partition, size: int) -> None:
        """A replica gets so many bytes."""
        self._leader_throttle.record(partition.topic_partition, size, self._clock.monotonic_ms())

    def _broker(self, broker_id: int) -> BrokerRegistration | None:
        return self._replicas.image.cluster.brokers.get(broker_id)

    def _ask(self, partition: Partition, proposal: IsrProposal) -> Answer:
        return self._alterations.submit(partition.topic_partition, partition.topic_id, proposal)

    def _retry(self, again: Callable[[], None]) -> None:
        self._scheduler.call_later(RETRY_MS, again)

    def _hurry_followers(self) -> None:
        """Nothing is committed before followers fetch what this broker leads now, and those of whom it leads more
        would do so only when the fetch that they wait for has come to its end (`replica.fetch.wait.max.ms`).
        """
        for delay_ms in HURRY_MS:
            if delay_ms not in self._hurrying:
                self._hurrying[delay_ms] = self._scheduler.call_later(delay_ms, partial(self._hurry, delay_ms))

    def _hurry(self, delay_ms: float) -> None:
        del self._hurrying[delay_ms]
        self._replicas.waiting_replicas.finish_all()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self._scheduler.call_later(self.options.lag_time_max_ms / 2, self._shrink_isrs)

    def _shrink_isrs(self) -> None:
        self._timer = None
        for partition in list(self._led.values()):
            partition.shrink_isr()
        if self._led:
            self._start_timer()
