"""AlterPartition: a leader proposes in-sync replicas (KIP-497, KIP-841, KIP-903)."""

from __future__ import annotations

from odradek.controller.partition_change import Election
from odradek.controller.partitions import allows_unclean_election, change_of, checked_broker
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.image import RECOVERED, RECOVERING, PartitionImage, TopicImage
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.topics_delta import NO_LEADER_CHANGE, merged
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.alter_partition import (
    AlterPartitionRequest,
    AlterPartitionRequestPartitionData,
    AlterPartitionRequestTopicData,
    AlterPartitionResponse,
    AlterPartitionResponsePartitionData,
    AlterPartitionResponseTopicData,
    BrokerState,
)
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord

FIRST_WITH_BROKER_EPOCHS = 3
ANY_EPOCH = -1
"""The leader does not say in which incarnation a replica is in sync."""


def alter_partition(
    state: ControllerState, request: AlterPartitionRequest, version: int
) -> ControllerResult[AlterPartitionResponse]:
    """Each partition gets the in-sync replicas that its leader proposes, or an error, by itself.

    Raises STALE_BROKER_EPOCH.
    """
    checked_broker(state, request.broker_id, request.broker_epoch)
    records: list[VersionedRecord] = []
    response = AlterPartitionResponse()
    for topic in request.topics:
        response.topics.append(
            AlterPartitionResponseTopicData(
                topic_id=topic.topic_id, partitions=_topic(state, request.broker_id, topic, version, records)
            )
        )
    return ControllerResult(response, records, is_atomic=False)


def _topic(
    state: ControllerState,
    broker_id: int,
    wanted: AlterPartitionRequestTopicData,
    version: int,
    records: list[VersionedRecord],
) -> list[AlterPartitionResponsePartitionData]:
    topic = state.image.topics.by_id.get(wanted.topic_id)
    if topic is None:
        return [_refused(each.partition_index, ErrorCode.UNKNOWN_TOPIC_ID) for each in wanted.partitions]
    answers = []
    for each in wanted.partitions:
        isr = each.new_isr_with_epochs
        if version < FIRST_WITH_BROKER_EPOCHS:
            isr = [BrokerState(broker_id=replica, broker_epoch=ANY_EPOCH) for replica in each.new_isr]
        code = _problem(state, broker_id, topic.partitions.get(each.partition_index), each, isr)
        if code is ErrorCode.NONE:
            answers.append(_altered(state, broker_id, topic, each, [replica.broker_id for replica in isr], records))
        else:
            answers.append(_refused(each.partition_index, code))
    return answers


def _refused(index: int, code: ErrorCode) -> AlterPartitionResponsePartitionData:
    return AlterPartitionResponsePartitionData(partition_index=index, error_code=code)


def _problem(
    state: ControllerState,
    broker_id: int,
    partition: PartitionImage | None,
    wanted: AlterPartitionRequestPartitionData,
    isr: list[BrokerState],
) -> ErrorCode:
    """Why the proposal cannot be taken; NONE if it can."""
    if partition is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if wanted.leader_epoch > partition.leader_epoch or wanted.partition_epoch > partition.partition_epoch:
        return ErrorCode.NOT_CONTROLLER  # the leader has heard of a later controller than this one
    if wanted.leader_epoch < partition.leader_epoch:
        return ErrorCode.FENCED_LEADER_EPOCH
    if broker_id != partition.leader:
        return ErrorCode.INVALID_REQUEST
    if wanted.partition_epoch < partition.partition_epoch:
        return ErrorCode.INVALID_UPDATE_VERSION
    return _problem_of_isr(state, partition, wanted.leader_recovery_state, isr)


def _problem_of_isr(
    state: ControllerState, partition: PartitionImage, recovery_state: int, isr: list[BrokerState]
) -> ErrorCode:
    ids = [replica.broker_id for replica in isr]
    is_sound = len(set(ids)) == len(ids) and set(ids) <= set(partition.replicas) and partition.leader in ids
    if not is_sound or recovery_state not in (RECOVERED, RECOVERING):
        return ErrorCode.INVALID_REQUEST
    if recovery_state == RECOVERING and (len(ids) > 1 or partition.recovery_state == RECOVERED):
        return ErrorCode.INVALID_REQUEST
    if not all(_may_be_in_sync(state, replica) for replica in isr):
        return ErrorCode.INELIGIBLE_REPLICA
    return ErrorCode.NONE


def _may_be_in_sync(state: ControllerState, replica: BrokerState) -> bool:
    """Not while it is fenced or shutting down, nor in another incarnation than the one that caught up."""
    broker = state.image.cluster.brokers.get(replica.broker_id)
    return broker is not None and broker.is_active and replica.broker_epoch in (ANY_EPOCH, broker.epoch)


def _altered(
    state: ControllerState,
    broker_id: int,
    topic: TopicImage,
    wanted: AlterPartitionRequestPartitionData,
    isr: list[int],
    records: list[VersionedRecord],
) -> AlterPartitionResponsePartitionData:
    index = wanted.partition_index
    partition = topic.partitions[index]
    change = change_of(state, topic, index)
    if allows_unclean_election(state, topic.name):
        change.election = Election.UNCLEAN
    change.isr = isr
    change.recovery_state = wanted.leader_recovery_state
    record = change.build()
    if record is not None:
        message = record.message
        assert isinstance(message, PartitionChangeRecord)
        records.append(record)
        partition = merged(partition, message)
        if message.leader not in (broker_id, NO_LEADER_CHANGE):
            # The change completed a reassignment away from the leader: it has to read the metadata before it goes on.
            return _refused(index, ErrorCode.NEW_LEADER_ELECTED)
    return AlterPartitionResponsePartitionData(
        partition_index=index,
        leader_id=partition.leader,
        leader_epoch=partition.leader_epoch,
        isr=list(partition.isr),
        leader_recovery_state=partition.recovery_state,
        partition_epoch=partition.partition_epoch,
    )
