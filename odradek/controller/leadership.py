"""Who leads after a broker came or went, and ElectLeaders."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from odradek.controller.partition_change import Election
from odradek.controller.partitions import add, all_partitions, allows_unclean_election, change_of, is_active
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.controller.topics import check_size
from odradek.metadata.image import NO_LEADER, PartitionImage, TopicImage
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)

PREFERRED = 0
UNCLEAN = 1


Concern = Callable[[TopicImage, int, PartitionImage], bool]
"""Whether something concerns a partition of a topic."""


def broker_left(state: ControllerState, broker_id: int) -> list[VersionedRecord]:
    """Take the broker out of all in-sync replicas and leaderships; what it had it still has."""
    return replicas_went_offline(state, broker_id, lambda _topic, _index, partition: broker_id in partition.isr)


def broker_unregistered(state: ControllerState, broker_id: int) -> list[VersionedRecord]:
    """Like `broker_left`; where the broker was eligible, it may have been the last hope of a partition."""

    def concerns(_topic: TopicImage, _index: int, partition: PartitionImage) -> bool:
        return broker_id in partition.isr or broker_id in partition.elr

    return replicas_went_offline(state, broker_id, concerns)


def replicas_went_offline(state: ControllerState, broker_id: int, concerns: Concern) -> list[VersionedRecord]:
    """Take the broker out of the in-sync replicas and leadership of these partitions; what it had it still has."""
    return _update(
        state, concerns, lambda candidate: candidate != broker_id and is_active(state, candidate), removed=broker_id
    )


def broker_lost_data(state: ControllerState, broker_id: int) -> list[VersionedRecord]:
    """Like `broker_left`, of a broker that went down uncleanly: what was not yet on its disk is gone (KIP-966)."""
    return _update(
        state,
        lambda _topic, _index, partition: broker_id in partition.isr or broker_id in partition.elr,
        lambda candidate: candidate != broker_id and is_active(state, candidate),
        removed=broker_id,
        lost_data=broker_id,
    )


def broker_came(state: ControllerState, broker_id: int) -> list[VersionedRecord]:
    """Let the broker, which the image still shows as fenced, lead what has no leader."""
    return _update(
        state,
        lambda _topic, _index, partition: partition.leader == NO_LEADER,
        lambda candidate: candidate == broker_id or is_active(state, candidate),
    )


def leads_any(state: ControllerState, broker_id: int) -> bool:
    """Whether the broker leads a partition."""
    return any(partition.leader == broker_id for _topic, _index, partition in all_partitions(state))


def _update(
    state: ControllerState,
    concerns: Concern,
    may_lead: Callable[[int], bool],
    removed: int | None = None,
    lost_data: int | None = None,
) -> list[VersionedRecord]:
    records: list[VersionedRecord] = []
    for topic, index, partition in all_partitions(state):
        if not concerns(topic, index, partition):
            continue
        change = change_of(state, topic, index, may_lead)
        if allows_unclean_election(state, topic.name):
            change.election = Election.UNCLEAN
        if lost_data is not None:
            change.unclean_shutdown = (lost_data,)
        change.isr = [replica for replica in partition.isr if replica != removed]
        add(records, change)
    return records


def elect_leaders(state: ControllerState, request: ElectLeadersRequest) -> ControllerResult[ElectLeadersResponse]:
    """Try an election for each partition that is named, or for all; those that need none are not shown then."""
    if request.election_type not in (PREFERRED, UNCLEAN):
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown election type {request.election_type}")
    records: list[VersionedRecord] = []
    response = ElectLeadersResponse()
    wanted: Iterable[tuple[str, Iterable[int]]]
    shows_needless = request.topic_partitions is not None
    if request.topic_partitions is None:
        wanted = [(topic.name, topic.partitions) for topic in state.image.topics.by_name.values()]
    else:
        wanted = [(topic.topic, topic.partitions) for topic in request.topic_partitions]
    for name, indexes in wanted:
        results = []
        for index in indexes:
            error = _elect(state, name, index, request.election_type, records)
            if error is None:
                results.append(PartitionResult(partition_id=index, error_message=None))
            elif shows_needless or error.code is not ErrorCode.ELECTION_NOT_NEEDED:
                message = error.message or error.code.message
                results.append(PartitionResult(partition_id=index, error_code=error.code, error_message=message))
        response.replica_election_results.append(ReplicaElectionResult(topic=name, partition_result=results))
    check_size(records)
    return ControllerResult(response, records, is_atomic=False)


def _elect(
    state: ControllerState, name: str, index: int, election_type: int, records: list[VersionedRecord]
) -> KafkaError | None:
    topic = state.image.topics.by_name.get(name)
    if topic is None:
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}")
    partition = topic.partitions.get(index)
    if partition is None:
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {name}-{index}")
    if _is_needless(partition, election_type):
        return KafkaError(ErrorCode.ELECTION_NOT_NEEDED)
    change = change_of(state, topic, index)
    change.election = Election.PREFERRED if election_type == PREFERRED else Election.UNCLEAN
    if add(records, change):
        return None
    if election_type == PREFERRED:
        return KafkaError(ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE)
    return KafkaError(ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE)


def _is_needless(partition: PartitionImage, election_type: int) -> bool:
    if election_type == PREFERRED:
        return partition.leader == partition.replicas[0]
    return partition.leader != NO_LEADER


MAX_ELECTIONS_AT_ONCE = 1000
"""How many leaders the controller elects in one go when nobody asked for it."""


def balance_leaders(state: ControllerState) -> ControllerResult[bool]:
    """Let preferred replicas lead what they can; whether there may be more to do."""

    def elects(_topic: TopicImage, partition: PartitionImage) -> bool:
        return partition.leader != partition.replicas[0] and partition.replicas[0] in partition.isr

    return _elect_some(state, elects, Election.PREFERRED)


def elect_unclean_leaders(state: ControllerState) -> ControllerResult[bool]:
    """Let any replica lead what has no leader, where that is allowed; whether there may be more to do.

    It may have been allowed only since the last replica went.
    """

    def elects(topic: TopicImage, partition: PartitionImage) -> bool:
        return partition.leader == NO_LEADER and allows_unclean_election(state, topic.name)

    return _elect_some(state, elects, Election.UNCLEAN)


def _elect_some(
    state: ControllerState, elects: Callable[[TopicImage, PartitionImage], bool], election: Election
) -> ControllerResult[bool]:
    records: list[VersionedRecord] = []
    for topic, index, partition in all_partitions(state):
        if elects(topic, partition):
            change = change_of(state, topic, index)
            change.election = election
            add(records, change)
            if len(records) == MAX_ELECTIONS_AT_ONCE:
                break
    return ControllerResult(len(records) == MAX_ELECTIONS_AT_ONCE, records, is_atomic=False)
