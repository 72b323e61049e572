"""What becomes of partitions whose log directories fail, and which directory holds which replica (KIP-858)."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.controller.leadership import replicas_went_offline
from odradek.controller.partitions import add, change_of, checked_broker
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.image import BrokerRegistration, PartitionImage, TopicImage
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.versions import DIRECTORIES_SINCE
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.assign_replicas_to_dirs import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse,
    AssignReplicasToDirsResponseDirectoryData,
    AssignReplicasToDirsResponsePartitionData,
    AssignReplicasToDirsResponseTopicData,
)
from odradek.wire.persistent.metadata.broker_registration_change_record import BrokerRegistrationChangeRecord
from odradek.wire.uuids import Uuid

DIRECTORIES_VERSION = 2


def directories_went_offline(
    state: ControllerState, broker: BrokerRegistration, offline: Sequence[Uuid]
) -> list[VersionedRecord]:
    """Take the broker out of the in-sync replicas and leaderships of what it has in these directories."""
    lost = [directory for directory in broker.directories if directory in offline]
    if not lost:
        return []

    def concerns(_topic: TopicImage, _index: int, partition: PartitionImage) -> bool:
        return broker.id in partition.replicas and partition.directory(broker.id) in lost

    online = [directory for directory in broker.directories if directory not in offline]
    change = BrokerRegistrationChangeRecord(broker_id=broker.id, broker_epoch=broker.epoch, log_dirs=online)
    return [*replicas_went_offline(state, broker.id, concerns), VersionedRecord(change, DIRECTORIES_VERSION)]


def assign_replicas_to_dirs(
    state: ControllerState, request: AssignReplicasToDirsRequest
) -> ControllerResult[AssignReplicasToDirsResponse]:
    """Note where a broker has its replicas; in a directory that is not online they are offline.

    Each partition is noted, or not, by itself. Raises STALE_BROKER_EPOCH, UNSUPPORTED_VERSION where
    metadata.version knows no directories.
    """
    if state.metadata_version < DIRECTORIES_SINCE:
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, "Directory assignment is not supported yet.")
    broker = checked_broker(state, request.broker_id, request.broker_epoch)
    records: list[VersionedRecord] = []
    offline: dict[tuple[Uuid, int], None] = {}
    response = AssignReplicasToDirsResponse()
    for directory in request.directories:
        result = AssignReplicasToDirsResponseDirectoryData(id=directory.id)
        for topic in directory.topics:
            answer = AssignReplicasToDirsResponseTopicData(topic_id=topic.topic_id)
            for partition in topic.partitions:
                index = partition.partition_index
                code = _assign(state, broker.id, directory.id, (topic.topic_id, index), records)
                if code is ErrorCode.NONE and not broker.is_online(directory.id):
                    offline[topic.topic_id, index] = None
                answer.partitions.append(
                    AssignReplicasToDirsResponsePartitionData(partition_index=index, error_code=code)
                )
            result.topics.append(answer)
        response.directories.append(result)
    if offline:
        records += replicas_went_offline(state, broker.id, lambda topic, index, _image: (topic.id, index) in offline)
    return ControllerResult(response, records)


def _assign(
    state: ControllerState, broker_id: int, directory: Uuid, partition: tuple[Uuid, int], records: list[VersionedRecord]
) -> ErrorCode:
    topic_id, index = partition
    topic = state.image.topics.by_id.get(topic_id)
    if topic is None:
        return ErrorCode.UNKNOWN_TOPIC_ID
    image = topic.partitions.get(index)
    if image is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if broker_id not in image.replicas:
        return ErrorCode.NOT_LEADER_OR_FOLLOWER
    change = change_of(state, topic, index)
    change.directories[broker_id] = directory
    add(records, change)
    return ErrorCode.NONE
