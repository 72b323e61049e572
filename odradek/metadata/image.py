"""The cluster's state as values that never change: a `MetadataDelta` makes the next image out of one.

Everything follows from the records of the metadata log, so two nodes whose images have the same offset have equal
images. The classes are tuples, which are created and compared quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from odradek.metadata.persistent_map import PersistentMap
from odradek.wire.uuids import Uuid

NO_LEADER = -1
RECOVERED = 0
RECOVERING = 1

DIRECTORY_MIGRATING: Uuid = bytes(16)
"""A replica's directory is not known, as in records from before KIP-858."""
DIRECTORY_UNASSIGNED: Uuid = bytes(15) + b"\x01"
"""The broker has yet to choose the replica's directory."""
DIRECTORY_LOST: Uuid = bytes(15) + b"\x02"
"""The replica is in a directory that is offline."""


class PartitionImage(NamedTuple):
    """One partition: who holds it, who is in sync, who leads (PartitionRecord)."""

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    directories: tuple[Uuid, ...] = ()
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()
    recovery_state: int = RECOVERED

    def directory(self, broker_id: int) -> Uuid:
        """The directory of one of the replicas; ValueError if the broker has none."""
        index = self.replicas.index(broker_id)
        return self.directories[index] if self.directories else DIRECTORY_MIGRATING

    @property
    def is_reassigning(self) -> bool:
        """Whether a reassignment is under way."""
        return bool(self.adding or self.removing)


class TopicImage(NamedTuple):
    """One topic and its partitions."""

    name: str
    id: Uuid
    partitions: PersistentMap[int, PartitionImage]


class TopicsImage(NamedTuple):
    """All topics, by either of their names."""

    by_name: PersistentMap[str, TopicImage] = PersistentMap()
    by_id: PersistentMap[Uuid, TopicImage] = PersistentMap()


class Endpoint(NamedTuple):
    """Where a listener of a node is reached; `security_protocol` is Kafka's number for it."""

    name: str
    host: str
    port: int
    security_protocol: int


class BrokerRegistration(NamedTuple):
    """One broker, as it registered and as the controller sees it since."""

    id: int
    epoch: int
    incarnation_id: Uuid
    endpoints: Mapping[str, Endpoint]
    features: Mapping[str, tuple[int, int]]
    rack: str | None
    fenced: bool
    in_controlled_shutdown: bool
    directories: tuple[Uuid, ...]
    cordoned_directories: tuple[Uuid, ...] | None

    def is_online(self, directory: Uuid) -> bool:
        """Whether a replica in this directory can be used."""
        if not self.directories or directory in (DIRECTORY_UNASSIGNED, DIRECTORY_MIGRATING):
            return True
        return directory != DIRECTORY_LOST and directory in self.directories

    @property
    def takes_replicas(self) -> bool:
        """Whether any of its directories takes new replicas (KIP-1066)."""
        cordoned = self.cordoned_directories
        return not self.directories or cordoned is None or any(each not in cordoned for each in self.directories)

    @property
    def is_active(self) -> bool:
        """Whether it may lead and be in sync: neither fenced nor shutting down."""
        return not self.fenced and not self.in_controlled_shutdown


class ControllerRegistration(NamedTuple):
    """One controller, as it registered (KIP-919)."""

    id: int
    incarnation_id: Uuid
    endpoints: Mapping[str, Endpoint]
    features: Mapping[str, tuple[int, int]]
    zk_migration_ready: bool


class ClusterImage(NamedTuple):
    """The registered nodes by id."""

    brokers: PersistentMap[int, BrokerRegistration] = PersistentMap()
    controllers: PersistentMap[int, ControllerRegistration] = PersistentMap()


class FeaturesImage(NamedTuple):
    """The finalized levels of the features that are not at 0, `metadata.version` among them."""

    finalized: PersistentMap[str, int] = PersistentMap()


ResourceKey = tuple[int, str]
_NO_PROPERTIES: Mapping[str, str] = {}


class ConfigsImage(NamedTuple):
    """What was set dynamically, by (type of resource, name)."""

    resources: PersistentMap[ResourceKey, Mapping[str, str]] = PersistentMap()

    def properties(self, resource_type: int, name: str) -> Mapping[str, str]:
        """The values that were set for one resource; empty if none."""
        return self.resources.get((resource_type, name), _NO_PROPERTIES)


class ProducerIdsImage(NamedTuple):
    """`next_producer_id` begins the block that is handed out next; -1 before the first one."""

    next_producer_id: int = -1


QuotaEntity = tuple[tuple[str, str | None], ...]
"""(type, name) pairs, sorted by type; the name None stands for the default of its type."""


class ClientQuotasImage(NamedTuple):
    """Quota values by entity."""

    entities: PersistentMap[QuotaEntity, Mapping[str, float]] = PersistentMap()


class AclImage(NamedTuple):
    """One access control entry, with Kafka's codes."""

    resource_type: int
    resource_name: str
    pattern_type: int
    principal: str
    host: str
    operation: int
    permission_type: int


class AclsImage(NamedTuple):
    """Access control entries by id."""

    entries: PersistentMap[Uuid, AclImage] = PersistentMap()


class ScramCredential(NamedTuple):
    """What is kept of a password; `mechanism` is in the key."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    def __repr__(self) -> str:
        return f"ScramCredential(iterations={self.iterations})"


class ScramImage(NamedTuple):
    """Credentials by (mechanism code, user)."""

    credentials: PersistentMap[tuple[int, str], ScramCredential] = PersistentMap()


class DelegationToken(NamedTuple):
    """One delegation token (KIP-48); times in milliseconds since the epoch."""

    owner: str
    requester: str
    renewers: tuple[str, ...]
    issue_timestamp_ms: int
    max_timestamp_ms: int
    expiration_timestamp_ms: int


class DelegationTokensImage(NamedTuple):
    """Delegation tokens by id."""

    tokens: PersistentMap[str, DelegationToken] = PersistentMap()


class MetadataImage(NamedTuple):
    """Everything, as of the record at `offset`, which the leader of `epoch` wrote at `timestamp_ms`; -1 for nothing."""

    offset: int = -1
    epoch: int = -1
    timestamp_ms: int = -1
    features: FeaturesImage = FeaturesImage()
    cluster: ClusterImage = ClusterImage()
    topics: TopicsImage = TopicsImage()
    configs: ConfigsImage = ConfigsImage()
    producer_ids: ProducerIdsImage = ProducerIdsImage()
    client_quotas: ClientQuotasImage = ClientQuotasImage()
    acls: AclsImage = AclsImage()
    scram: ScramImage = ScramImage()
    delegation_tokens: DelegationTokensImage = DelegationTokensImage()

    @classmethod
    def empty(cls) -> MetadataImage:
        """The image before the first record."""
        return _EMPTY

    def same_content(self, other: MetadataImage) -> bool:
        """Whether both say the same about the cluster, whatever their offsets are."""
        return self._replace(offset=0, epoch=0, timestamp_ms=0) == other._replace(offset=0, epoch=0, timestamp_ms=0)


_EMPTY = MetadataImage()
