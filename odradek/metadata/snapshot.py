"""A metadata image as records: what a snapshot holds, and what makes an equal image when replayed.

Each record comes with its version, the one that the image's metadata.version writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from odradek.metadata.features import ELIGIBLE_LEADER_REPLICAS_VERSION, LATEST_METADATA_VERSION, METADATA_VERSION
from odradek.metadata.image import (
    BrokerRegistration,
    ControllerRegistration,
    FeaturesImage,
    MetadataImage,
    PartitionImage,
)
from odradek.metadata.versions import (
    CONTROLLERS_SINCE,
    CORDONED_SINCE,
    DIRECTORIES_SINCE,
    SCRAM_SINCE,
    TOKENS_SINCE,
    partition_version,
    register_broker_version,
)
from odradek.wire.schema import Message
from odradek.wire.uuids import Uuid


class VersionedRecord(NamedTuple):
    """A record and the version of its schema to write it in."""

    message: Message
    version: int


class Writing(NamedTuple):
    """What the features in force say of how records are written."""

    metadata_version: int = LATEST_METADATA_VERSION
    elr_enabled: bool = True

    @classmethod
    def of(cls, features: FeaturesImage) -> Writing:
        """The finalized levels' part in it; before there are any, all that this release knows."""
        finalized = features.finalized
        if METADATA_VERSION not in finalized:
            return cls()
        return cls(finalized[METADATA_VERSION], finalized.get(ELIGIBLE_LEADER_REPLICAS_VERSION, 0) > 0)


def to_records(image: MetadataImage) -> Iterator[VersionedRecord]:
    """All records of the image, in an order in which they can be replayed; sorted, so that it is reproducible."""
    yield from _features(image)
    writing = Writing.of(image.features)
    yield from _cluster(image, writing)
    yield from _topics(image, writing)
    yield from _configs(image)
    yield from _client_quotas(image)
    yield from _producer_ids(image)
    yield from _acls(image)
    if writing.metadata_version >= SCRAM_SINCE:
        yield from _scram(image)
    if writing.metadata_version >= TOKENS_SINCE:
        yield from _delegation_tokens(image)


def _features(image: MetadataImage) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord

    # metadata.version comes first: it says which records the others may be.
    for name, level in sorted(image.features.finalized.items(), key=lambda item: (item[0] != METADATA_VERSION, item)):
        yield VersionedRecord(FeatureLevelRecord(name=name, feature_level=level), 0)


def _cluster(image: MetadataImage, writing: Writing) -> Iterator[VersionedRecord]:
    for _id, broker in sorted(image.cluster.brokers.items()):
        yield broker_record(broker, writing)
    if writing.metadata_version < CONTROLLERS_SINCE:
        return
    for _id, controller in sorted(image.cluster.controllers.items()):
        yield controller_record(controller)


def broker_record(broker: BrokerRegistration, writing: Writing) -> VersionedRecord:
    """The RegisterBrokerRecord that says all about a broker."""
    from odradek.wire.persistent.metadata.register_broker_record import (
        BrokerEndpoint,
        BrokerFeature,
        RegisterBrokerRecord,
    )

    version = writing.metadata_version
    cordoned = broker.cordoned_directories if version >= CORDONED_SINCE else None
    record = RegisterBrokerRecord(
        broker_id=broker.id,
        incarnation_id=broker.incarnation_id,
        broker_epoch=broker.epoch,
        end_points=[
            BrokerEndpoint(name=point.name, host=point.host, port=point.port, security_protocol=point.security_protocol)
            for point in broker.endpoints.values()
        ],
        features=[
            BrokerFeature(name=name, min_supported_version=low, max_supported_version=high)
            for name, (low, high) in broker.features.items()
        ],
        rack=broker.rack,
        fenced=broker.fenced,
        in_controlled_shutdown=broker.in_controlled_shutdown,
        log_dirs=list(broker.directories) if version >= DIRECTORIES_SINCE else [],
        cordoned_log_dirs=None if cordoned is None else list(cordoned),
    )
    return VersionedRecord(record, register_broker_version(version))


def controller_record(controller: ControllerRegistration) -> VersionedRecord:
    """The RegisterControllerRecord that says all about a controller."""
    from odradek.wire.persistent.metadata.register_controller_record import (
        ControllerEndpoint,
        ControllerFeature,
        RegisterControllerRecord,
    )

    record = RegisterControllerRecord(
        controller_id=controller.id,
        incarnation_id=controller.incarnation_id,
        zk_migration_ready=controller.zk_migration_ready,
        end_points=[
            ControllerEndpoint(
                name=point.name, host=point.host, port=point.port, security_protocol=point.security_protocol
            )
            for point in controller.endpoints.values()
        ],
        features=[
            ControllerFeature(name=name, min_supported_version=low, max_supported_version=high)
            for name, (low, high) in controller.features.items()
        ],
    )
    return VersionedRecord(record, 0)


def _topics(image: MetadataImage, writing: Writing) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.topic_record import TopicRecord

    for name, topic in sorted(image.topics.by_name.items(), key=lambda item: item[0]):
        yield VersionedRecord(TopicRecord(name=name, topic_id=topic.id), 0)
        yield from partition_records(topic.id, sorted(topic.partitions.items(), key=lambda item: item[0]), writing)


def partition_records(
    topic_id: Uuid, partitions: Iterable[tuple[int, PartitionImage]], writing: Writing
) -> Iterator[VersionedRecord]:
    """The PartitionRecords that say all about partitions of a topic, of which there may be thousands."""
    from odradek.wire.persistent.metadata.partition_record import PartitionRecord

    version = partition_version(writing.metadata_version)
    has_directories = writing.metadata_version >= DIRECTORIES_SINCE
    for index, partition in partitions:
        record = PartitionRecord(
            partition_id=index,
            topic_id=topic_id,
            replicas=list(partition.replicas),
            isr=list(partition.isr),
            leader=partition.leader,
            leader_recovery_state=partition.recovery_state,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
        )
        if partition.removing or partition.adding:
            record.removing_replicas = list(partition.removing)
            record.adding_replicas = list(partition.adding)
        if has_directories:
            record.directories = list(partition.directories)
        if writing.elr_enabled:
            record.eligible_leader_replicas = list(partition.elr) or None
            record.last_known_elr = list(partition.last_known_elr) or None
        yield VersionedRecord(record, version)


def _configs(image: MetadataImage) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.config_record import ConfigRecord

    for (resource_type, resource_name), properties in sorted(image.configs.resources.items(), key=lambda item: item[0]):
        for name, value in sorted(properties.items()):
            record = ConfigRecord(resource_type=resource_type, resource_name=resource_name, name=name, value=value)
            yield VersionedRecord(record, 0)


def _client_quotas(image: MetadataImage) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.client_quota_record import ClientQuotaRecord, EntityData

    entities = image.client_quotas.entities
    for entity in sorted(entities, key=lambda parts: [(kind, name is not None, name or "") for kind, name in parts]):
        for key, value in sorted(entities[entity].items()):
            data = [EntityData(entity_type=kind, entity_name=name) for kind, name in entity]
            yield VersionedRecord(ClientQuotaRecord(entity=data, key=key, value=value, remove=False), 0)


def _producer_ids(image: MetadataImage) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.producer_ids_record import ProducerIdsRecord

    next_producer_id = image.producer_ids.next_producer_id
    if next_producer_id >= 0:
        yield VersionedRecord(ProducerIdsRecord(broker_id=-1, broker_epoch=-1, next_producer_id=next_producer_id), 0)


def _acls(image: MetadataImage) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.access_control_entry_record import AccessControlEntryRecord

    for entry_id, acl in sorted(image.acls.entries.items()):
        record = AccessControlEntryRecord(
            id=entry_id,
            resource_type=acl.resource_type,
            resource_name=acl.resource_name,
            pattern_type=acl.pattern_type,
            principal=acl.principal,
            host=acl.host,
            operation=acl.operation,
            permission_type=acl.permission_type,
        )
        yield VersionedRecord(record, 0)


def _scram(image: MetadataImage) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.user_scram_credential_record import UserScramCredentialRecord

    for (mechanism, user), credential in sorted(image.scram.credentials.items()):
        record = UserScramCredentialRecord(
            name=user,
            mechanism=mechanism,
            salt=credential.salt,
            stored_key=credential.stored_key,
            server_key=credential.server_key,
            iterations=credential.iterations,
        )
        yield VersionedRecord(record, 0)


def _delegation_tokens(image: MetadataImage) -> Iterator[VersionedRecord]:
    from odradek.wire.persistent.metadata.delegation_token_record import DelegationTokenRecord

    for token_id, token in sorted(image.delegation_tokens.tokens.items()):
        record = DelegationTokenRecord(
            owner=token.owner,
            requester=token.requester,
            renewers=list(token.renewers),
            issue_timestamp=token.issue_timestamp_ms,
            max_timestamp=token.max_timestamp_ms,
            expiration_timestamp=token.expiration_timestamp_ms,
            token_id=token_id,
        )
        yield VersionedRecord(record, 0)
