"""The coordinators of groups and of transactions on one broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from odradek.broker.broker_client import BrokerClient
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.config import BrokerConfig
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.topic_names import GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC
from odradek.node.ports import Ports
from odradek.ports import Promise

if TYPE_CHECKING:
    from odradek.broker.coordinator.replicated_log import ReplicatedLogs
    from odradek.broker.groups.service import GroupCoordinator
    from odradek.broker.transactions.service import TransactionCoordinator


class Coordinators:
    """Each is made, and its modules are loaded, once this broker leads a partition of its topic or is asked for it.

    That is a sixth of what a broker consists of, and many a test has neither groups nor transactions.
    """

    def __init__(
        self,
        config: Callable[[], BrokerConfig],
        ports: Ports,
        replicas: ReplicaManager,
        brokers: BrokerClient,
        new_producer_id: Callable[[], Promise[int]],
    ) -> None:
        """`config` is the node's properties as they are now; what is read once is read from those of the start."""
        self._config = config
        self._static_config = config()
        self._ports = ports
        self._replicas = replicas
        self._brokers = brokers
        self._new_producer_id = new_producer_id
        self._logs: ReplicatedLogs | None = None
        self._groups: GroupCoordinator | None = None
        self._transactions: TransactionCoordinator | None = None

    @property
    def groups(self) -> GroupCoordinator:
        """The coordinator of groups."""
        if self._groups is None:
            self._groups = self._new_groups()
        return self._groups

    @property
    def transactions(self) -> TransactionCoordinator:
        """The coordinator of transactions."""
        if self._transactions is None:
            self._transactions = self._new_transactions()
        return self._transactions

    def group_partition(self, group_id: str) -> int:
        """The partition of `__consumer_offsets` that a group is in."""
        return self.groups.partition_for(group_id)

    def transaction_partition(self, transactional_id: str) -> int:
        """The partition of `__transaction_state` that a transactional id is in."""
        return self.transactions.partition_for(transactional_id)

    def verifies_transactions(self) -> bool:
        """`transaction.partition.verification.enable`."""
        return self._config().bool_("transaction.partition.verification.enable")

    def gained(self, partition: Partition) -> None:
        """This broker begins to lead a partition."""
        name = partition.topic_partition
        if name.topic == GROUP_METADATA_TOPIC:
            self.groups.elected(name.partition, partition.leader_epoch)
        elif name.topic == TRANSACTION_STATE_TOPIC:
            self.transactions.elected(name.partition, partition.leader_epoch)

    def lost(self, partition: Partition) -> None:
        """This broker does not lead a partition any more."""
        name = partition.topic_partition
        if name.topic == GROUP_METADATA_TOPIC:
            self.groups.resigned(name.partition, partition.leader_epoch)
        elif name.topic == TRANSACTION_STATE_TOPIC:
            self.transactions.resigned(name.partition, partition.leader_epoch)

    def topics_moved(self, delta: MetadataDelta) -> None:
        """The metadata changed: groups look at the topics that they read, and forget those that are gone."""
        if self._groups is None:
            return
        from odradek.broker.groups.consumer.environment import topics_change

        topics = topics_change(delta)
        if topics.changed:
            self._groups.topics_changed(topics)
        if delta.deleted_topics:
            self._groups.topics_deleted(dict(delta.deleted_topics))

    def close(self) -> None:
        """Give up all groups and transactional ids."""
        if self._groups is not None:
            self._groups.close()
        if self._transactions is not None:
            self._transactions.close()

    def _new_groups(self) -> GroupCoordinator:
        from odradek.broker.groups.consumer.environment import Environment, GroupConfigs
        from odradek.broker.groups.options import GroupOptions
        from odradek.broker.groups.service import GroupCoordinator

        ports = self._ports
        return GroupCoordinator(
            writer=self._replicated_logs(),
            options=GroupOptions.from_config(self._static_config),
            clock=ports.clock,
            scheduler=ports.scheduler,
            random=ports.random,
            partition_count=self._group_partitions,
            environment=Environment(
                lambda: self._replicas.image, GroupConfigs(lambda: self._replicas.image, self._config).of
            ),
        )

    def _new_transactions(self) -> TransactionCoordinator:
        from odradek.broker.transactions.options import TransactionOptions
        from odradek.broker.transactions.service import TransactionCoordinator

        return TransactionCoordinator(
            writer=self._replicated_logs(),
            brokers=self._brokers,
            new_producer_id=self._new_producer_id,
            image=lambda: self._replicas.image,
            options=TransactionOptions.from_config(self._static_config),
            clock=self._ports.clock,
            scheduler=self._ports.scheduler,
        )

    def _replicated_logs(self) -> ReplicatedLogs:
        if self._logs is None:
            from odradek.broker.coordinator.replicated_log import ReplicatedLogs

            self._logs = ReplicatedLogs(self._replicas, self._ports.executor, self.verifies_transactions)
        return self._logs

    def _group_partitions(self) -> int | None:
        topic = self._replicas.image.topics.by_name.get(GROUP_METADATA_TOPIC)
        return None if topic is None else len(topic.partitions)
