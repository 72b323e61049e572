"""All partitions of this broker: created, led and deleted as the metadata says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from odradek.broker.replication.catching_up import CatchingUp
from odradek.broker.replication.cluster import ClusterPorts
from odradek.broker.replication.partition import Partition
from odradek.broker.replication.replica_selector import ReadingClient
from odradek.broker.replication.replication import Replication
from odradek.broker.replication.waiting import WaitingRoom
from odradek.broker.replication.watching import Watchers
from odradek.metadata.image import MetadataImage, PartitionImage
from odradek.ports import Clock, Promise, Scheduler, Timing
from odradek.storage.log_config import LogConfig
from odradek.storage.log_creation import WantedLog
from odradek.storage.log_results import AppendInfo, AppendOrigin
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from odradek.storage.uniform_run import UniformRun
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import BatchHeader
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

LeadershipListener = Callable[[Partition], None]


class ReplicaManager:
    """The local replicas. Handlers look partitions up here; metadata changes come in through `apply`."""

    def __init__(
        self,
        *,
        node_id: int,
        logs: LogManager,
        clock: Clock,
        scheduler: Scheduler,
        log_config_of: Callable[[MetadataImage, str], LogConfig],
        cluster: ClusterPorts | None = None,
    ) -> None:
        """Without `cluster` there are no other brokers."""
        self.node_id = node_id
        self.logs = logs
        self.clock = clock
        self.image = MetadataImage.empty()
        between_nodes = Timing(clock, scheduler) if cluster is None else cluster.timing or Timing(clock, scheduler)
        self.waiting: WaitingRoom[TopicPartition] = WaitingRoom(between_nodes.scheduler)
        """Who waits for records to be committed, and for what else changes about a partition."""
        self.waiting_replicas: WaitingRoom[TopicPartition] = WaitingRoom(between_nodes.scheduler)
        """Who waits for records to be appended, committed or not: the fetches of replicas on other brokers."""
        self.readers: Watchers[TopicPartition] = Watchers(between_nodes.scheduler)
        """The fetch sessions of consumers, which are told of the same as those who wait for it."""
        self.waiting_timing = between_nodes
        """By which time whoever waits for partitions waits."""
        self.catching_up = CatchingUp(self, logs, clock, scheduler)
        """The partitions that are not yet as the image says."""
        self._log_config_of = log_config_of
        self._partitions: dict[TopicPartition, Partition] = {}
        self._latest_config: tuple[MetadataImage, str, LogConfig] | None = None
        self._on_leader: list[LeadershipListener] = []
        self._on_resigned: list[LeadershipListener] = []
        self._replication = None if cluster is None else Replication(self, cluster, between_nodes)
        self.dir_of: Callable[[Uuid], str | None] = lambda _directory_id: None
        """Which of `log.dirs` has this id, if any."""
        self.on_followed: Callable[[Partition, PartitionImage], None] | None = None
        """Called with each replica, once it is as the image says."""

    @property
    def partitions(self) -> Mapping[TopicPartition, Partition]:
        """The local replicas by name."""
        return self._partitions

    def on_leadership(self, gained: LeadershipListener, lost: LeadershipListener) -> None:
        """Call `gained(partition)` at each new leader epoch that this broker leads, `lost` when that ends."""
        self._on_leader.append(gained)
        self._on_resigned.append(lost)

    def start_replication(self) -> None:
        """Begin to copy what others lead: the broker is registered, so that its fetches carry its epoch (KIP-903)."""
        if self._replication is not None:
            self._replication.start()

    def begin_controlled_shutdown(self) -> None:
        """Copy no more what this broker is not in sync with from now on: it is about to leave."""
        if self._replication is not None:
            self._replication.is_leaving = True

    def cluster_config_changed(self) -> None:
        """Some of the replication options may be others now."""
        if self._replication is not None:
            self._replication.config_changed()

    def close(self) -> None:
        """Copy no more, make no logs any more, and ask the controller for nothing."""
        self.catching_up.close()
        if self._replication is not None:
            self._replication.close()

    @property
    def selects_by_rack(self) -> bool:
        """Whether consumers are sent to replicas in their rack (KIP-392)."""
        return self._replication is not None and self._replication.options.selects_by_rack

    def preferred_read_replica(self, partition: Partition, client: ReadingClient, offset: int) -> int | None:
        """Another broker from which a consumer that is at `offset` had better read; None for this one."""
        return (
            None if self._replication is None else self._replication.preferred_read_replica(partition, client, offset)
        )

    def is_held_back(self, partition: Partition, replica_id: int) -> bool:
        """Whether a replica that is not in sync gets nothing for now, for its copying is throttled (KIP-73)."""
        return self._replication is not None and self._replication.is_held_back(partition, replica_id)

    def sent_to_replica(self, partition: Partition, size: int) -> None:
        """A replica on another broker gets so many bytes of a partition."""
        if self._replication is not None:
            self._replication.sent(partition, size)

    def low_watermark(self, partition: Partition) -> int:
        """From where on its records are kept anywhere; raises KafkaError as `leader_log` does."""
        brokers = self.image.cluster.brokers

        def is_alive(broker_id: int) -> bool:
            broker = brokers.get(broker_id)
            return broker is not None and not broker.fenced

        return partition.low_watermark(is_alive)

    def topic_name(self, topic_id: bytes) -> str | None:
        """The name of a topic that exists; None for an unknown id."""
        topic = self.image.topics.by_id.get(topic_id)
        return None if topic is None else topic.name

    def partition(self, topic_partition: TopicPartition) -> Partition:
        """The local replica.

        Raises KafkaError NOT_LEADER_OR_FOLLOWER if the cluster has the partition elsewhere, else
        UNKNOWN_TOPIC_OR_PARTITION.
        """
        partition = self._partitions.get(topic_partition)
        if partition is not None:
            return partition
        topic = self.image.topics.by_name.get(topic_partition.topic)
        if topic is not None and topic_partition.partition in topic.partitions:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)

    def append(
        self,
        partition: Partition,
        batches: memoryview,
        headers: Sequence[BatchHeader] | None = None,
        *,
        all_replicas: bool,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        transaction_version: int = 0,
    ) -> AppendInfo:
        """Append checked batches as the leader; raises KafkaError as `Partition.append` does."""
        info = partition.append(
            batches,
            headers,
            all_replicas=all_replicas,
            now_ms=self.clock.now_ms(),
            origin=origin,
            transaction_version=transaction_version,
        )
        # What waits for the high watermark is told when that moves.
        if not partition.is_alone:
            self.waiting_replicas.moved(partition.topic_partition)
        return info

    def append_run(
        self, partition: Partition, batches: Sequence[memoryview], headers: Sequence[BatchHeader]
    ) -> AppendInfo | None:
        """`Partition.append_run`; what waits for records of the partition is told."""
        info = partition.append_run(batches, headers, now_ms=self.clock.now_ms())
        if info is not None and not partition.is_alone:
            self.waiting_replicas.moved(partition.topic_partition)
        return info

    def append_uniform(self, partition: Partition, run: UniformRun, *, now_ms: int) -> int | None:
        """`Partition.append_uniform`; what waits for records of the partition is told."""
        first_offset = partition.append_uniform(run, now_ms=now_ms)
        if first_offset is not None and not partition.is_alone:
            self.waiting_replicas.moved(partition.topic_partition)
        return first_offset

    def when_replicated(self, name: TopicPartition, offset: int, timeout_ms: float) -> Promise[None]:
        """Settles when every in-sync replica has the record that was appended at `offset` just now.

        Fails with KafkaError REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND, and where this broker does not lead
        the partition any longer.
        """
        result: Promise[None] = Promise()
        tenure = self.partition(name).tenure

        def is_ready() -> bool:
            try:
                if self.partition(name).has_committed(offset, tenure):
                    result.resolve(None)
            except KafkaError as error:
                result.reject(error)
            return result.done

        if not is_ready():
            self.waiting.park(
                [name],
                is_ready=is_ready,
                finish=lambda: result.reject(KafkaError(ErrorCode.REQUEST_TIMED_OUT)),
                timeout_ms=timeout_ms,
            )
        return result

    def load(self, image: MetadataImage) -> None:
        """Take over the partitions of the image that the broker starts with, whose logs are there already.

        One without a log may have it in a directory that is offline: it stays offline too, as an empty log in its
        place would be taken for the partition.
        """
        self.image = image
        may_create = not self.logs.offline_dirs()
        for topic in image.topics.by_name.values():
            for index, partition in topic.partitions.items():
                if self.node_id in partition.replicas:
                    self._follow(TopicPartition(topic.name, index), topic.id, partition, may_create=may_create)

    def dir_failed(self) -> None:
        """A log directory went offline, and with it the partitions whose logs are in it."""
        for name, partition in self._partitions.items():
            if partition.log is not None and partition.log.is_offline:
                partition.log = None
                if self._replication is not None:
                    self._replication.ended(partition)
                self._wake(name)

    def apply(self, image: MetadataImage, changed: Iterable[tuple[str, int]], deleted: Iterable[str]) -> None:
        """Follow the metadata: `changed` are the partitions, by topic and index, and `deleted` the topics that differ
        from the image before.

        What takes longer than a slice goes on in later turns (`catching_up`). Until then partitions that are new are
        NOT_LEADER_OR_FOLLOWER, and those that are deleted are as they were.
        """
        self.image = image
        doomed = dict.fromkeys(deleted)
        names = [name for name in self._partitions if name.topic in doomed] if doomed else []
        names.extend(TopicPartition(topic, index) for topic, index in changed)
        self.catching_up.begin(names)

    def apply_topic_configs(self, names: Iterable[str]) -> None:
        """Give the topics' logs the configuration that the image holds now."""
        for name in names:
            topic = self.image.topics.by_name.get(name)
            if topic is None:
                continue
            config = self._log_config_of(self.image, name)
            for index in topic.partitions:
                partition = self._partitions.get(TopicPartition(name, index))
                if partition is not None and partition.log is not None:
                    partition.log.update_config(config)
                    # With a lower min.insync.replicas, what is replicated may be committed now.
                    partition.advance_high_watermark()
                future = self.logs.future.get(TopicPartition(name, index))
                if future is not None:
                    future.update_config(config)

    # As the FollowingReplicas of `catching_up`

    def leave(self, name: TopicPartition) -> None:
        """End the partition's replica, if there is one that the image does not want."""
        partition = self._partitions.get(name)
        if partition is not None:
            wanted = self._wanted(name)
            if wanted is None or wanted[0] != partition.topic_id:
                self._remove([partition])

    def wanted_log(self, name: TopicPartition) -> WantedLog | None:
        """The log that has to be made before the partition can be followed; None if none is missing."""
        wanted = None if name in self._partitions or self.logs.log(name) is not None else self._wanted(name)
        if wanted is None:
            return None
        topic_id, image = wanted
        return WantedLog(name, topic_id, self.dir_of(image.directory(self.node_id)))

    def follow(self, name: TopicPartition) -> None:
        """Bring the partition to what the image says."""
        wanted = self._wanted(name)
        if wanted is not None:
            self._follow(name, *wanted)

    def _wanted(self, name: TopicPartition) -> tuple[Uuid, PartitionImage] | None:
        """The topic's id and what the image says about the partition, if it has a replica here."""
        topic = self.image.topics.by_name.get(name.topic)
        image = None if topic is None else topic.partitions.get(name.partition)
        if topic is None or image is None or self.node_id not in image.replicas:
            return None
        return topic.id, image

    def _follow(self, name: TopicPartition, topic_id: bytes, image: PartitionImage, *, may_create: bool = True) -> None:
        partition = self._partitions.get(name)
        if partition is None:
            assigned = self.dir_of(image.directory(self.node_id))
            partition = self._create(name, topic_id, assigned, may_create=may_create)
        led = partition.is_leader
        try:
            is_new_epoch = partition.apply(image)
        except KafkaError as error:
            # Its disk failed. Others must still follow the metadata, and clients of this one are told at each request.
            _log.error("partition %s: %s", name, error)
            is_new_epoch = True
        if self._replication is not None:
            self._replication.followed(partition, is_new_epoch=is_new_epoch)
        if self.on_followed is not None:
            self.on_followed(partition, image)
        if not is_new_epoch:
            return
        if led and not partition.is_leader:
            self._resigned(partition)
        if partition.is_leader:
            for listener in self._on_leader:
                listener(partition)
        self._wake(name)

    def _create(self, name: TopicPartition, topic_id: bytes, assigned: str | None, *, may_create: bool) -> Partition:
        ports = None if self._replication is None else self._replication.leader_ports
        partition = Partition(name, topic_id, self.node_id, ports)
        try:
            existing = self.logs.log(name)
            if existing is not None and existing.topic_id != topic_id:
                self.logs.delete_log(name)
                existing = None
            if existing is not None:
                partition.log = None if existing.is_offline else existing
            elif may_create:
                partition.log = self.logs.create_log(name, topic_id, self._log_config(name.topic), assigned)
        except (OSError, KafkaError) as error:
            _log.error("partition %s has no log: %s", name, error)
        if partition.log is None:
            _log.error("partition %s is offline", name)
        partition.add_watermark_listener(self._watermark_moved)
        self._partitions[name] = partition
        return partition

    def _log_config(self, topic: str) -> LogConfig:
        """The configuration of a topic, one object for all its partitions that are made one behind the other."""
        latest = self._latest_config
        if latest is None or latest[0] is not self.image or latest[1] != topic:
            latest = self._latest_config = (self.image, topic, self._log_config_of(self.image, topic))
        return latest[2]

    def _remove(self, partitions: Sequence[Partition]) -> None:
        names = [partition.topic_partition for partition in partitions]
        for name, partition in zip(names, partitions, strict=True):
            del self._partitions[name]
            if self._replication is not None:
                self._replication.ended(partition)
            if partition.is_leader:
                self._resigned(partition)
        try:
            self.logs.delete_logs(names)
        except KafkaError as error:
            _log.error("files of deleted partitions remain: %s", error)
        for name in names:
            self._wake(name)

    def _wake(self, name: TopicPartition) -> None:
        """Something other than its records has changed about a partition."""
        self.waiting.moved(name)
        self.readers.moved(name)
        self.waiting_replicas.moved(name)

    def _resigned(self, partition: Partition) -> None:
        for listener in self._on_resigned:
            listener(partition)

    def _watermark_moved(self, partition: Partition) -> None:
        self.waiting.moved(partition.topic_partition)
        self.readers.moved(partition.topic_partition)
        if not partition.is_alone and self.selects_by_rack:
            self.waiting_replicas.moved(partition.topic_partition)
