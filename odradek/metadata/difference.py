"""From one metadata image to another that did not come of it record by record, as a delta (KIP-630)."""

from __future__ import annotations

from collections.abc import Iterator

from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.metadata.snapshot import to_records
from odradek.wire.schema import Message


def difference(before: MetadataImage, after: MetadataImage) -> MetadataDelta:
    """The delta that tells those who follow the metadata what differs; only what is the same goes unmentioned there.

    Of brokers, configurations and the like that are in both images, it may mention some that are the same.
    """
    delta = MetadataDelta(before)
    for record in _removals(before, after):
        delta.replay(record)
    for record, _version in to_records(after):
        if not _is_there(before, record):
            delta.replay(record)
    return delta


def _is_there(image: MetadataImage, record: Message) -> bool:
    """Whether a record of a topic or partition says nothing new."""
    from odradek.metadata.topics_delta import partition_image
    from odradek.wire.persistent.metadata.partition_record import PartitionRecord
    from odradek.wire.persistent.metadata.topic_record import TopicRecord

    if isinstance(record, TopicRecord):
        return record.topic_id in image.topics.by_id
    if isinstance(record, PartitionRecord):
        topic = image.topics.by_id.get(record.topic_id)
        return topic is not None and topic.partitions.get(record.partition_id) == partition_image(record)
    return False


def _removals(before: MetadataImage, after: MetadataImage) -> Iterator[Message]:
    from odradek.wire.persistent.metadata.client_quota_record import ClientQuotaRecord, EntityData
    from odradek.wire.persistent.metadata.config_record import ConfigRecord
    from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
    from odradek.wire.persistent.metadata.remove_access_control_entry_record import RemoveAccessControlEntryRecord
    from odradek.wire.persistent.metadata.remove_delegation_token_record import RemoveDelegationTokenRecord
    from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
    from odradek.wire.persistent.metadata.remove_user_scram_credential_record import RemoveUserScramCredentialRecord
    from odradek.wire.persistent.metadata.unregister_broker_record import UnregisterBrokerRecord
    from odradek.wire.persistent.metadata.unregister_controller_record import UnregisterControllerRecord

    for name in before.features.finalized:
        if name not in after.features.finalized:
            yield FeatureLevelRecord(name=name, feature_level=0)
    for topic_id in before.topics.by_id:
        if topic_id not in after.topics.by_id:
            yield RemoveTopicRecord(topic_id=topic_id)
    for broker_id, broker in before.cluster.brokers.items():
        if broker_id not in after.cluster.brokers:
            yield UnregisterBrokerRecord(broker_id=broker_id, broker_epoch=broker.epoch)
    for controller_id in before.cluster.controllers:
        if controller_id not in after.cluster.controllers:
            yield UnregisterControllerRecord(controller_id=controller_id)
    for (kind, name), properties in before.configs.resources.items():
        kept = after.configs.properties(kind, name)
        for key in properties:
            if key not in kept:
                yield ConfigRecord(resource_type=kind, resource_name=name, name=key, value=None)
    for entity, limits in before.client_quotas.entities.items():
        limits_after = after.client_quotas.entities.get(entity, {})
        for key in limits:
            if key not in limits_after:
                parts = [EntityData(entity_type=kind, entity_name=name) for kind, name in entity]
                yield ClientQuotaRecord(entity=parts, key=key, remove=True)
    for acl_id in before.acls.entries:
        if acl_id not in after.acls.entries:
            yield RemoveAccessControlEntryRecord(id=acl_id)
    for mechanism, name in before.scram.credentials:
        if (mechanism, name) not in after.scram.credentials:
            yield RemoveUserScramCredentialRecord(name=name, mechanism=mechanism)
    for token_id in before.delegation_tokens.tokens:
        if token_id not in after.delegation_tokens.tokens:
            yield RemoveDelegationTokenRecord(token_id=token_id)
