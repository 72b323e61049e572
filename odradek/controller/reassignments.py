"""AlterPartitionReassignments and ListPartitionReassignments (KIP-455)."""

from __future__ import annotations

from collections.abc import Iterable

from odradek.controller.partition_change import Election, PartitionChange
from odradek.controller.partitions import allows_unclean_election, change_of, check_manual_assignment
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.controller.topics import check_size
from odradek.metadata.image import MetadataImage, TopicImage
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)


def alter_partition_reassignments(
    state: ControllerState, request: AlterPartitionReassignmentsRequest
) -> ControllerResult[AlterPartitionReassignmentsResponse]:
    """Each partition's reassignment begins or is cancelled, or not, by itself."""
    records: list[VersionedRecord] = []
    response = AlterPartitionReassignmentsResponse(
        error_message=None, allow_replication_factor_change=request.allow_replication_factor_change
    )
    for topic in request.topics:
        answer = ReassignableTopicResponse(name=topic.name)
        for wanted in topic.partitions:
            result = ReassignablePartitionResponse(partition_index=wanted.partition_index, error_message=None)
            try:
                change = _reassigned(state, topic.name, wanted, request.allow_replication_factor_change)
                record = change.build()
                if record is not None:
                    records.append(record)
            except KafkaError as error:
                result.error_code = error.code
                result.error_message = error.message
            answer.partitions.append(result)
        response.responses.append(answer)
    if not request.topics:
        response.error_message = ""
    check_size(records)
    return ControllerResult(response, records)


def _reassigned(
    state: ControllerState, name: str, wanted: ReassignablePartition, may_change_factor: bool
) -> PartitionChange:
    topic = state.image.topics.by_name.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {name}.")
    if wanted.partition_index not in topic.partitions:
        raise KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {name}:{wanted.partition_index}."
        )
    if wanted.replicas is None:
        return _cancelled(state, topic, wanted.partition_index)
    return _moved(state, topic, wanted.partition_index, wanted.replicas, may_change_factor)


def _cancelled(state: ControllerState, topic: TopicImage, index: int) -> PartitionChange:
    """Back to the replicas before: those being added go, those being removed stay."""
    partition = topic.partitions[index]
    if not partition.is_reassigning:
        raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    change = change_of(state, topic, index)
    unclean = allows_unclean_election(state, topic.name)
    change.replicas = [replica for replica in partition.replicas if replica not in partition.adding]
    change.isr = [replica for replica in partition.isr if replica not in partition.adding]
    if not change.isr:
        if not change.replicas:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                "Invalid replica assignment: addingReplicas contains all replicas.",
            )
        if not unclean:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Unable to revert partition assignment for {topic.name}:{index} because it would require an unclean "
                "leader election.",
            )
        # Nobody who remains is known to have everything. Kafka takes the first replica to be in sync, be it there or
        # not; with eligible replicas the ISR may be empty, and an unclean election can be seen for what it is.
        change.isr = [] if state.elr_enabled else change.replicas[:1]
    change.election = Election.UNCLEAN if unclean else Election.ONLINE
    change.adding = []
    change.removing = []
    return change


def _moved(
    state: ControllerState, topic: TopicImage, index: int, target: list[int], may_change_factor: bool
) -> PartitionChange:
    """To other replicas: the new ones are added first, and the old ones removed once the new ones are in sync.

    All that there are now, those that another reassignment was about to add or remove among them, count as old ones.
    Unlike in Kafka, who is removed again is not added any more, as such a reassignment could never complete, and who is
    to stay after all is not removed.
    """
    partition = topic.partitions[index]
    check_manual_assignment(state, target)
    factor = sum(replica not in partition.removing for replica in partition.replicas)
    if not may_change_factor and len(target) != factor:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"The replication factor is changed from {factor} to {len(target)}",
        )
    change = change_of(state, topic, index)
    change.removing = sorted(set(partition.replicas) - set(target))
    change.adding = sorted(set(target) - set(partition.replicas))
    if not change.adding:
        change.adding = [replica for replica in partition.adding if replica in target]
    change.replicas = [*target, *change.removing]
    return change


def list_partition_reassignments(
    image: MetadataImage, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    """What is under way, of the partitions named or of all."""
    response = ListPartitionReassignmentsResponse(error_message=None)
    wanted: Iterable[tuple[TopicImage | None, Iterable[int]]]
    if request.topics is None:
        wanted = [(topic, topic.partitions) for topic in image.topics.by_name.values()]
    else:
        by_name = image.topics.by_name
        wanted = [(by_name.get(topic.name), topic.partition_indexes) for topic in request.topics]
    for found, indexes in wanted:
        if found is None:
            continue
        ongoing = [each for each in (_ongoing(found, index) for index in indexes) if each is not None]
        if ongoing:
            response.topics.append(OngoingTopicReassignment(name=found.name, partitions=ongoing))
    return response


def _ongoing(topic: TopicImage, index: int) -> OngoingPartitionReassignment | None:
    partition = topic.partitions.get(index)
    if partition is None or not partition.is_reassigning:
        return None
    return OngoingPartitionReassignment(
        partition_index=index,
        replicas=list(partition.replicas),
        adding_replicas=list(partition.adding),
        removing_replicas=list(partition.removing),
    )
