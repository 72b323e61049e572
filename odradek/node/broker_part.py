"""A node's broker: its logs, partitions, coordinators and handlers, following the metadata."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from odradek.broker.controller_client import ControllerClient
from odradek.broker.directory_assignments import DirectoryAssignments
from odradek.broker.fetch.session import SessionCache
from odradek.broker.lifecycle import BrokerLifecycle, LifecycleOptions
from odradek.broker.producer_ids import ProducerIds
from odradek.broker.replication.cluster import ClusterPorts, ReplicationOptions
from odradek.broker.replication.copying import CopyThrottle
from odradek.broker.replication.log_dir_moves import LogDirMoves, MovePorts
from odradek.broker.replication.manager import ReplicaManager
from odradek.broker.replication.partition import Partition
from odradek.broker.topic_creation import TopicCreation, internal_topic
from odradek.broker.transactions.options import TransactionOptions, transaction_state_topic
from odradek.broker.transactions.verification import TransactionVerifier
from odradek.config import BrokerConfig, Listener
from odradek.config.resources import TopicConfig
from odradek.config.table import TOPIC
from odradek.config.types import ResourceType
from odradek.metadata.delta import MetadataDelta
from odradek.metadata.features import METADATA_VERSION
from odradek.metadata.image import MetadataImage, PartitionImage
from odradek.metadata.topic_names import GROUP_METADATA_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC
from odradek.metadata.versions import CORDONED_SINCE
from odradek.node.broker_handlers import add_broker_handlers
from odradek.node.brokers import ClusterBrokers
from odradek.node.coordinators import Coordinators
from odradek.node.data_dirs import DataDirs
from odradek.node.dynamic_config import usable_config
from odradek.node.feature_levels import check_version, knows_directories, needs_registration
from odradek.node.in_process import InProcess
from odradek.node.log_settings import log_settings
from odradek.node.ports import Ports
from odradek.node.registration import broker_registration_request
from odradek.node.start_error import StartError
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler
from odradek.storage.cleaner.process_runner import ProcessRunner
from odradek.storage.cleaner.runner import CleaningRunner
from odradek.storage.log_config import LogConfig
from odradek.storage.manager import LogManager
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.apis import ApiKey
from odradek.wire.messages.broker_registration import BrokerRegistrationRequest
from odradek.wire.messages.create_topics import CreatableTopic
from odradek.wire.uuids import Uuid

if TYPE_CHECKING:
    from odradek.broker.groups.service import GroupCoordinator
    from odradek.broker.transactions.service import TransactionCoordinator

_log = logging.getLogger(__name__)


class BrokerIdentity(NamedTuple):
    """Whose broker this is, and where clients reach it."""

    dirs: DataDirs
    advertised: tuple[Listener, ...]


class BrokerCallbacks(NamedTuple):
    """Whom the broker tells."""

    on_config: Callable[[BrokerConfig], None]
    """The node's properties with what was set at run time, whenever that changes (KIP-226)."""
    on_fatal: Callable[[StartError], None]
    """The broker cannot go on."""


class BrokerPart:
    """Everything that a broker does, but for sockets."""

    def __init__(
        self,
        config: BrokerConfig,
        ports: Ports,
        identity: BrokerIdentity,
        controller: ControllerClient,
        served_by_controller: Callable[[ApiKey], AnyHandler | None],
        callbacks: BrokerCallbacks,
    ) -> None:
        self._static_config = config
        self._config = config
        self._ports = ports
        self._identity = identity
        self._callbacks = callbacks
        self._directory_ids = {path.rstrip("/") or "/": id_ for path, id_ in identity.dirs.directory_ids.items()}
        self._dir_paths = {id_: path for path, id_ in self._directory_ids.items()}
        self._dynamic: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})
        self.handlers = HandlerTable()
        """Who answers which API, of this broker's own and of those that it forwards."""
        self.in_process = InProcess("broker", ports, self.handlers)
        self._replication_options = ReplicationOptions.from_config(config)
        self.logs = LogManager(
            ports.files,
            ports.clock,
            ports.scheduler,
            ports.executor,
            ports.random,
            config.log_dirs,
            log_settings(config),
            _cleaning_runners(ports),
        )
        self.replicas = ReplicaManager(
            node_id=config.node_id,
            logs=self.logs,
            clock=ports.clock,
            scheduler=ports.scheduler,
            log_config_of=self._log_config,
            cluster=self._cluster(controller),
        )
        self.fetch_sessions = SessionCache(
            ports.clock,
            ports.random,
            slots=config.int_("max.incremental.fetch.session.cache.slots"),
            eviction_ms=_SESSION_EVICTION_MS,
        )
        self._incarnation_id = ports.random.uuid()
        self.lifecycle = BrokerLifecycle(
            config.node_id,
            self.registration,
            controller,
            ports.for_cluster().scheduler,
            LifecycleOptions(
                config.int_("broker.heartbeat.interval.ms"), self._offline_dir_ids, self._cordoned_dir_ids
            ),
            lambda: self.replicas.image.offset,
        )
        self._coordinator_clients = self._brokers("transactions", config.int_("request.timeout.ms"))
        self.producer_ids = ProducerIds(controller, config.node_id, lambda: self.lifecycle.epoch)
        self.coordinators = Coordinators(
            lambda: self._config, ports, self.replicas, self._coordinator_clients, self.producer_ids.allocate
        )
        self.verifier = TransactionVerifier(
            self.replicas,
            self._coordinator_clients,
            self.coordinators.transaction_partition,
            self.coordinators.verifies_transactions,
            ports.scheduler,
            TransactionOptions.from_config(config),
        )
        self.assignments = DirectoryAssignments(
            controller, ports.for_cluster().scheduler, config.node_id, self.lifecycle.registered,
            lambda: self.lifecycle.epoch, lambda: knows_directories(self.replicas.image),
        )  # fmt: skip
        self.moves = LogDirMoves(
            self.replicas,
            MovePorts(ports.clock, ports.scheduler, ports.executor),
            self._assign,
            CopyThrottle(ports.clock, lambda: self._config.int_(MOVES_BYTES_PER_SECOND)),
            config.optional_int("num.replica.alter.log.dirs.threads") or len(config.log_dirs),
        )
        self.replicas.on_leadership(self.coordinators.gained, self.coordinators.lost)
        self.replicas.on_followed = self._followed
        self.lifecycle.registered.on_done(lambda _epoch: self.replicas.start_replication())
        self.replicas.dir_of = self._dir_paths.get
        self.topics = TopicCreation(controller, self._internal_topic, config.int_("request.timeout.ms"))
        self._opened_by = MetadataImage.empty()
        """By what the logs were opened."""
        add_broker_handlers(self.handlers, self, config, ports, controller, served_by_controller)

    @property
    def config(self) -> BrokerConfig:
        """The node's properties with what was set at run time."""
        return self._config

    @property
    def cluster_id(self) -> str:
        """The id of the cluster that the directories belong to."""
        return self._identity.dirs.cluster_id

    @property
    def groups(self) -> GroupCoordinator:
        """The coordinator of groups."""
        return self.coordinators.groups

    @property
    def transactions(self) -> TransactionCoordinator:
        """The coordinator of transactions."""
        return self.coordinators.transactions

    def open_logs(self, image: MetadataImage) -> None:
        """Open the logs of the partitions that the image has on this broker.

        Raises KafkaError KAFKA_STORAGE_ERROR if no log directory can be used, StartError if metadata.version does not
        go with the configuration.
        """
        check_version(self._static_config, image)
        self._update_config(image)
        self.logs.on_dir_failure = self._dir_failed
        for path, error in self._identity.dirs.unusable.items():
            self.logs.fail_dir(path, error)
        self.logs.load(
            lambda topic: self._log_config(image, topic),
            lambda partition, topic_id: not _is_held(image, self._static_config.node_id, partition, topic_id),
            lambda partition: self._assigned_dir(image, partition),
        )
        self._opened_by = image

    def take_over(self, image: MetadataImage) -> None:
        """Lead and follow what the image says, which has this start's registration; what it has no more is deleted.

        Raises KafkaError KAFKA_STORAGE_ERROR.
        """
        self._update_config(image)
        if image.topics is not self._opened_by.topics:
            own_id = self._static_config.node_id
            logs = [(log.topic_partition, log.topic_id) for log in self.logs.logs()]
            self.logs.delete_logs(name for name, topic_id in logs if not _is_held(image, own_id, name, topic_id))
        self.replicas.load(image)
        if image.configs.resources is not self._opened_by.configs.resources:
            self.replicas.apply_topic_configs(image.topics.by_name)

    def publish(self, delta: MetadataDelta, image: MetadataImage) -> None:
        """Follow a change of the metadata."""
        changed = list(delta.changed_configs)
        self._update_config(image)
        self.replicas.apply(image, delta.changed_partitions, [name for name, _topic_id in delta.deleted_topics])
        if any(kind == ResourceType.BROKER for kind, _name in changed):
            self.replicas.apply_topic_configs(image.topics.by_name)
        else:
            self.replicas.apply_topic_configs(name for kind, name in changed if kind == ResourceType.TOPIC)
        self.coordinators.topics_moved(delta)
        if needs_registration(delta, image, self._static_config.node_id):
            self.lifecycle.start()
            self.assignments.look()
        self.lifecycle.metadata_moved()

    def close(self) -> None:
        """Stop, writing everything out."""
        self.lifecycle.close()
        self._coordinator_clients.close()
        self.replicas.close()
        self.coordinators.close()
        self.logs.shutdown(self.lifecycle.epoch)

    def _cluster(self, controller: ControllerClient) -> ClusterPorts | None:
        """What replication needs, on a node that can have others beside it."""
        if self._ports.new_peers is None:
            return None
        socket_timeout_ms = self._static_config.int_("replica.socket.timeout.ms")
        return ClusterPorts(
            controller=controller,
            new_client=lambda purpose: self._brokers(purpose, socket_timeout_ms),
            broker_epoch=lambda: self.lifecycle.epoch,
            options=lambda: self._replication_options,
            timing=self._ports.between_nodes,
        )

    def _brokers(self, purpose: str, timeout_ms: float) -> ClusterBrokers:
        new_peers = self._ports.new_peers
        listener = self._static_config.inter_broker_listener_name
        return ClusterBrokers(
            self._static_config.node_id,
            self.in_process,
            lambda: self.replicas.image,
            listener,
            None if new_peers is None else new_peers(listener, purpose),
            timeout_ms,
        )

    def _followed(self, partition: Partition, image: PartitionImage) -> None:
        """The controller has to know in which directory a replica is, for when that fails."""
        name = partition.topic_partition
        directory = None if partition.log is None else self._directory_ids.get(partition.log.log_dir)
        is_known = image.directory(self._static_config.node_id) == directory or self.moves.is_assigned_ahead(name)
        if directory is not None and not is_known:
            self.assignments.assign((partition.topic_id, name.partition), directory)
        self.moves.followed(partition)

    def _assign(self, partition: Partition, log_dir: str, on_noted: Callable[[], None]) -> None:
        replica = partition.topic_id, partition.topic_partition.partition
        self.assignments.assign(replica, self._directory_ids[log_dir], on_noted)

    def _assigned_dir(self, image: MetadataImage, name: TopicPartition) -> str | None:
        topic = image.topics.by_name.get(name.topic)
        replica = None if topic is None else topic.partitions.get(name.partition)
        node_id = self._static_config.node_id
        if replica is None or node_id not in replica.replicas:
            return None
        return self._dir_paths.get(replica.directory(node_id))

    def _dir_failed(self, log_dir: str) -> None:
        """Go on with the other directories, if there are any and the metadata log is in one of them (KIP-112)."""
        self.replicas.dir_failed()
        offline = self.logs.offline_dirs()
        reason = f"{log_dir} failed: {offline[log_dir]}"
        if log_dir == self._static_config.metadata_log_dir.rstrip("/"):
            self._callbacks.on_fatal(StartError(f"the node has stopped, for the metadata log's directory {reason}"))
        elif all(self.logs.is_offline(path) for path in self._static_config.log_dirs):
            self._callbacks.on_fatal(StartError(f"the node has stopped, for its last log directory {reason}"))
        else:
            self.lifecycle.dirs_changed()

    def _offline_dir_ids(self) -> list[Uuid]:
        ids = self._identity.dirs.directory_ids
        return [directory_id for path, directory_id in ids.items() if self.logs.is_offline(path)]

    def _cordoned_dir_ids(self) -> list[Uuid] | None:
        if self.replicas.image.features.finalized.get(METADATA_VERSION, 0) < CORDONED_SINCE:
            return None
        return [self._directory_ids[path] for path in self.logs.choice.cordoned if path in self._directory_ids]

    def _update_config(self, image: MetadataImage) -> None:
        cluster = image.configs.properties(ResourceType.BROKER, "")
        own = image.configs.properties(ResourceType.BROKER, str(self._static_config.node_id))
        if (cluster, own) == self._dynamic:
            return
        self._dynamic = (cluster, own)
        self._config = usable_config(self._static_config, cluster, own)
        options = ReplicationOptions.from_config(self._config)
        if options != self._replication_options:
            self._replication_options = options
            self.replicas.cluster_config_changed()
        cordoned = self.logs.choice.cordoned
        self.logs.update_settings(log_settings(self._config))
        if self.logs.choice.cordoned != cordoned:
            self.lifecycle.dirs_changed()
        self._callbacks.on_config(self._config)

    def _log_config(self, image: MetadataImage, topic: str) -> LogConfig:
        config = TopicConfig.stored(self._config, image.configs.properties(ResourceType.TOPIC, topic))
        return LogConfig.from_values({name: config.value(name) for name in TOPIC})

    def registration(self) -> BrokerRegistrationRequest:
        """What this broker tells the controller of itself, once its logs are open."""
        config = self._static_config
        dirs = self._identity.dirs
        return broker_registration_request(
            config,
            self.cluster_id,
            self._incarnation_id,
            self._identity.advertised,
            [dirs.directory_ids[path] for path in config.log_dirs if not self.logs.is_offline(path)],
            self.logs.previous_broker_epoch,
        )

    def _internal_topic(self, name: str) -> CreatableTopic:
        config = self._static_config
        if name == GROUP_METADATA_TOPIC:
            from odradek.broker.groups.options import offsets_topic

            return offsets_topic(config)
        if name == TRANSACTION_STATE_TOPIC:
            return transaction_state_topic(config)
        prefix = "share.coordinator.state.topic"
        return internal_topic(
            SHARE_GROUP_STATE_TOPIC,
            config.int_(f"{prefix}.num.partitions"),
            config.int_(f"{prefix}.replication.factor"),
            {
                "cleanup.policy": "delete",
                "compression.type": "producer",
                "retention.ms": "-1",
                "segment.bytes": str(config.int_(f"{prefix}.segment.bytes")),
            },
        )


MOVES_BYTES_PER_SECOND = "replica.alter.log.dirs.io.max.bytes.per.second"
_SESSION_EVICTION_MS = 120_000
"""How long a fetch session is safe from being replaced, as in Kafka."""


def _is_held(image: MetadataImage, node_id: int, partition: TopicPartition, topic_id: Uuid | None) -> bool:
    """Whether the image wants a replica of this topic's partition on this broker.

    A log without a topic id was never flushed, for its first flush syncs the id.
    """
    topic = None if topic_id is None else image.topics.by_id.get(topic_id)
    replica = None if topic is None else topic.partitions.get(partition.partition)
    return replica is not None and node_id in replica.replicas


def _cleaning_runners(ports: Ports) -> Callable[[], CleaningRunner] | None:
    new_process = ports.new_job_process
    return None if new_process is None else lambda: ProcessRunner(new_process())
