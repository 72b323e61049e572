"""From one metadata image to the next, record by record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

from odradek.metadata.cluster_delta import ClusterDelta
from odradek.metadata.features import METADATA_VERSION
from odradek.metadata.image import (
    AclImage,
    AclsImage,
    ClientQuotasImage,
    ConfigsImage,
    DelegationToken,
    DelegationTokensImage,
    FeaturesImage,
    MetadataImage,
    ProducerIdsImage,
    QuotaEntity,
    ResourceKey,
    ScramCredential,
    ScramImage,
)
from odradek.metadata.persistent_map import K, PersistentMap, V
from odradek.metadata.topics_delta import MetadataError, TopicsDelta
from odradek.wire.schema import Message
from odradek.wire.uuids import Uuid

if TYPE_CHECKING:
    from odradek.wire.persistent.metadata.access_control_entry_record import AccessControlEntryRecord
    from odradek.wire.persistent.metadata.client_quota_record import ClientQuotaRecord
    from odradek.wire.persistent.metadata.config_record import ConfigRecord
    from odradek.wire.persistent.metadata.delegation_token_record import DelegationTokenRecord
    from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
    from odradek.wire.persistent.metadata.producer_ids_record import ProducerIdsRecord
    from odradek.wire.persistent.metadata.remove_access_control_entry_record import RemoveAccessControlEntryRecord
    from odradek.wire.persistent.metadata.remove_delegation_token_record import RemoveDelegationTokenRecord
    from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
    from odradek.wire.persistent.metadata.remove_user_scram_credential_record import RemoveUserScramCredentialRecord
    from odradek.wire.persistent.metadata.user_scram_credential_record import UserScramCredentialRecord

TOPIC_RESOURCE = 2
"""ConfigResource.Type of a topic, whose configuration goes with it."""


class MetadataDelta:
    """The changes that a run of records makes to an image.

    `replay` raises MetadataError for a record that cannot follow on the image, or that no release up to 4.4.0 writes.
    """

    def __init__(self, image: MetadataImage) -> None:
        self.image = image
        self.topics = TopicsDelta(image.topics)
        self.cluster = ClusterDelta(image.cluster)
        self._features: dict[str, int | None] = {}
        self._configs: dict[ResourceKey, dict[str, str]] = {}
        self._next_producer_id: int | None = None
        self._quotas: dict[QuotaEntity, dict[str, float]] = {}
        self._acls: dict[Uuid, AclImage | None] = {}
        self._scram: dict[tuple[int, str], ScramCredential | None] = {}
        self._tokens: dict[str, DelegationToken | None] = {}
        self._replayers: Mapping[str, Callable[..., object]] = {
            "RegisterBrokerRecord": self.cluster.register_broker,
            "UnregisterBrokerRecord": self.cluster.unregister_broker,
            "TopicRecord": self.topics.topic,
            "PartitionRecord": self.topics.partition,
            "ConfigRecord": self._replay_config,
            "PartitionChangeRecord": self.topics.partition_change,
            "FenceBrokerRecord": self.cluster.fence_broker,
            "UnfenceBrokerRecord": self.cluster.unfence_broker,
            "RemoveTopicRecord": self._replay_remove_topic,
            "DelegationTokenRecord": self._replay_token,
            "UserScramCredentialRecord": self._replay_scram,
            "FeatureLevelRecord": self._replay_feature,
            "ClientQuotaRecord": self._replay_quota,
            "ProducerIdsRecord": self._replay_producer_ids,
            "BrokerRegistrationChangeRecord": self.cluster.change_broker,
            "AccessControlEntryRecord": self._replay_acl,
            "RemoveAccessControlEntryRecord": self._replay_remove_acl,
            "NoOpRecord": _nothing,
            "ZkMigrationStateRecord": _nothing,
            "RemoveUserScramCredentialRecord": self._replay_remove_scram,
            "RemoveDelegationTokenRecord": self._replay_remove_token,
            "RegisterControllerRecord": self.cluster.register_controller,
            "ClearElrRecord": self.topics.clear_elr,
            "UnregisterControllerRecord": self.cluster.unregister_controller,
        }

    def replay(self, record: Message) -> None:
        """Take in one record. Transactions are the loader's: their records do not belong here."""
        replayer = self._replayers.get(record.NAME)
        if replayer is None:
            raise MetadataError(f"{record.NAME} cannot be replayed into an image")
        replayer(record)

    def replay_all(self, records: Iterable[Message]) -> None:
        """Take in several records."""
        for record in records:
            self.replay(record)

    def apply(self, offset: int, epoch: int, timestamp_ms: int = -1) -> MetadataImage:
        """The image as of the record at `offset`, written by the leader of `epoch` at `timestamp_ms`."""
        image = self.image
        next_producer_id = self._next_producer_id
        return MetadataImage(
            offset=offset,
            epoch=epoch,
            timestamp_ms=timestamp_ms,
            features=FeaturesImage(_changed(image.features.finalized, self._features)),
            cluster=self.cluster.apply(),
            topics=self.topics.apply() if self._topics_differ() else image.topics,
            configs=ConfigsImage(_changed(image.configs.resources, self._configs)),
            producer_ids=image.producer_ids if next_producer_id is None else ProducerIdsImage(next_producer_id),
            client_quotas=ClientQuotasImage(_changed(image.client_quotas.entities, self._quotas)),
            acls=AclsImage(_changed(image.acls.entries, self._acls)),
            scram=ScramImage(_changed(image.scram.credentials, self._scram)),
            delegation_tokens=DelegationTokensImage(_changed(image.delegation_tokens.tokens, self._tokens)),
        )

    # What differs, for those who follow the metadata

    @property
    def changed_topics(self) -> list[str]:
        """The names of topics that are new or have changed partitions, in the order of their changes."""
        names = [self.topics.name_of(topic_id) for topic_id in self.topics.changed]
        return [name for name in names if name is not None]

    @property
    def changed_partitions(self) -> list[tuple[str, int]]:
        """The partitions that are new or have changed, as (topic, index), in the order of their topics' changes."""
        pairs: list[tuple[str, int]] = []
        for topic_id in self.topics.changed:
            name = self.topics.name_of(topic_id)
            if name is not None:
                pairs.extend((name, index) for index in self.topics.changed_partitions(topic_id))
        return pairs

    @property
    def deleted_topics(self) -> list[tuple[str, Uuid]]:
        """The names and ids of topics that are gone; a new topic may have the same name."""
        return [(topic.name, topic.id) for topic in self.topics.deleted]

    @property
    def changed_configs(self) -> list[ResourceKey]:
        """The resources whose configuration changed."""
        return list(self._configs)

    @property
    def changed_brokers(self) -> list[int]:
        """The brokers that registered, changed or are gone."""
        return list(self.cluster.changed_brokers)

    @property
    def features_changed(self) -> bool:
        """Whether a finalized level changed."""
        return bool(self._features)

    @property
    def changed_quotas(self) -> list[QuotaEntity]:
        """The entities whose quotas changed."""
        return list(self._quotas)

    @property
    def acls_changed(self) -> bool:
        """Whether an access control entry came or went."""
        return bool(self._acls)

    @property
    def changed_scram(self) -> list[tuple[int, str]]:
        """The (mechanism, user) pairs whose credential changed."""
        return list(self._scram)

    # Records

    def _topics_differ(self) -> bool:
        return any(True for _ in self.topics.changed) or any(True for _ in self.topics.deleted)

    def _replay_feature(self, record: FeatureLevelRecord) -> None:
        is_off = record.feature_level == 0 and record.name != METADATA_VERSION
        self._features[record.name] = None if is_off else record.feature_level

    def _replay_config(self, record: ConfigRecord) -> None:
        key = (record.resource_type, record.resource_name)
        properties = self._configs.get(key)
        if properties is None:
            properties = self._configs[key] = dict(self.image.configs.properties(*key))
        if record.value is None:
            properties.pop(record.name, None)
        else:
            properties[record.name] = record.value

    def _replay_remove_topic(self, record: RemoveTopicRecord) -> None:
        key = (TOPIC_RESOURCE, self.topics.remove(record))
        if key in self._configs or key in self.image.configs.resources:
            self._configs[key] = {}

    def _replay_producer_ids(self, record: ProducerIdsRecord) -> None:
        self._next_producer_id = record.next_producer_id

    def _replay_quota(self, record: ClientQuotaRecord) -> None:
        entity = quota_entity({data.entity_type: data.entity_name for data in record.entity})
        values = self._quotas.get(entity)
        if values is None:
            values = self._quotas[entity] = dict(self.image.client_quotas.entities.get(entity, {}))
        if record.remove:
            values.pop(record.key, None)
        else:
            values[record.key] = record.value

    def _replay_acl(self, record: AccessControlEntryRecord) -> None:
        self._acls[record.id] = AclImage(
            resource_type=record.resource_type,
            resource_name=record.resource_name,
            pattern_type=record.pattern_type,
            principal=record.principal,
            host=record.host,
            operation=record.operation,
            permission_type=record.permission_type,
        )

    def _replay_remove_acl(self, record: RemoveAccessControlEntryRecord) -> None:
        if record.id not in self._acls and record.id not in self.image.acls.entries:
            raise MetadataError(f"removal of unknown access control entry {record.id.hex()}")
        self._acls[record.id] = None

    def _replay_scram(self, record: UserScramCredentialRecord) -> None:
        self._scram[record.mechanism, record.name] = ScramCredential(
            salt=bytes(record.salt),
            stored_key=bytes(record.stored_key),
            server_key=bytes(record.server_key),
            iterations=record.iterations,
        )

    def _replay_remove_scram(self, record: RemoveUserScramCredentialRecord) -> None:
        self._scram[record.mechanism, record.name] = None

    def _replay_token(self, record: DelegationTokenRecord) -> None:
        self._tokens[record.token_id] = DelegationToken(
            owner=record.owner,
            requester=record.requester,
            renewers=tuple(record.renewers),
            issue_timestamp_ms=record.issue_timestamp,
            max_timestamp_ms=record.max_timestamp,
            expiration_timestamp_ms=record.expiration_timestamp,
        )

    def _replay_remove_token(self, record: RemoveDelegationTokenRecord) -> None:
        self._tokens[record.token_id] = None


def quota_entity(names: Mapping[str, str | None]) -> QuotaEntity:
    """The key of a quota entity, whatever the order in which its parts were given."""
    return tuple(sorted(names.items(), key=lambda item: item[0]))


def _nothing(_record: Message) -> None:
    """NoOpRecord keeps the log moving; ZkMigrationStateRecord is of a time that is over."""


def _changed(before: PersistentMap[K, V], changes: Mapping[K, V | None] | Mapping[K, V]) -> PersistentMap[K, V]:
    """`before` with the changes; None, or a resource without properties, is removed."""
    if not changes:
        return before
    gone = [key for key, value in changes.items() if value is None or value == {}]
    put = {key: value for key, value in changes.items() if value is not None and value != {}}
    return before.changed(cast("Mapping[K, V]", put), gone)
