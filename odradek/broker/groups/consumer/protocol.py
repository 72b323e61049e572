"""The consumer protocol that is embedded in JoinGroup and SyncGroup: subscriptions, and assignments by name."""

from __future__ import annotations

from odradek.broker.groups.consumer.member import Target
from odradek.metadata.image import TopicsImage
from odradek.wire.errors import ProtocolError
from odradek.wire.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)

_VERSION_BYTES = 2


def read_subscription(metadata: bytes) -> ConsumerProtocolSubscription:
    """What a member says it reads and owns; ProtocolError for bytes that are not that."""
    version = min(_version(metadata), ConsumerProtocolSubscription.MAX_VERSION)
    return ConsumerProtocolSubscription.decode_prefix(metadata, version, _VERSION_BYTES)[0]


def read_assignment(content: bytes) -> ConsumerProtocolAssignment:
    """What a member was given; ProtocolError for bytes that are not that."""
    version = min(_version(content), ConsumerProtocolAssignment.MAX_VERSION)
    return ConsumerProtocolAssignment.decode_prefix(content, version, _VERSION_BYTES)[0]


def target_of_assignment(assignment: ConsumerProtocolAssignment, topics: TopicsImage) -> Target:
    """The same by topic id; topics that do not exist any more are left out."""
    found = ((topics.by_name.get(topic.topic), topic.partitions) for topic in assignment.assigned_partitions)
    return {image.id: tuple(sorted(dict.fromkeys(indexes))) for image, indexes in found if image is not None}


def encode_assignment(target: Target, topics: TopicsImage, metadata: bytes) -> bytes:
    """The partitions as a member with that subscription is told them, in the version that it speaks."""
    version = min(_version(metadata), ConsumerProtocolAssignment.MAX_VERSION)
    named = ((topics.by_id.get(topic_id), indexes) for topic_id, indexes in target.items())
    assignment = ConsumerProtocolAssignment(
        assigned_partitions=[
            ConsumerProtocolAssignmentTopicPartition(topic=image.name, partitions=list(indexes))
            for image, indexes in named
            if image is not None
        ]
    )
    return version.to_bytes(_VERSION_BYTES, "big") + bytes(assignment.encode(version))


def _version(content: bytes) -> int:
    if len(content) < _VERSION_BYTES or content[0] & 0x80:
        raise ProtocolError("no version of the consumer protocol")
    return int.from_bytes(content[:_VERSION_BYTES], "big")
