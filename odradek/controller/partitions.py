"""What several decisions need to know about partitions and brokers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from odradek.controller.partition_change import PartitionChange, PartitionRules
from odradek.controller.state import ControllerState
from odradek.metadata.image import (
    DIRECTORY_MIGRATING,
    DIRECTORY_UNASSIGNED,
    BrokerRegistration,
    PartitionImage,
    TopicImage,
)
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.uuids import Uuid


def is_active(state: ControllerState, broker_id: int) -> bool:
    """Whether a broker may lead and be in sync."""
    broker = state.image.cluster.brokers.get(broker_id)
    return broker is not None and broker.is_active


def checked_broker(state: ControllerState, broker_id: int, broker_epoch: int) -> BrokerRegistration:
    """The broker that says it has this epoch; STALE_BROKER_EPOCH if it has another one, or none."""
    broker = state.image.cluster.brokers.get(broker_id)
    if broker is None:
        raise KafkaError(ErrorCode.STALE_BROKER_EPOCH, f"No broker registration found for broker id {broker_id}")
    if broker.epoch != broker_epoch:
        raise KafkaError(
            ErrorCode.STALE_BROKER_EPOCH, f"Expected broker epoch {broker.epoch}, but got broker epoch {broker_epoch}"
        )
    return broker


def default_directory(state: ControllerState, broker_id: int) -> Uuid:
    """Where a broker will put a new replica: its one directory, or one that it has yet to choose."""
    broker = state.image.cluster.brokers.get(broker_id)
    if broker is None:
        return DIRECTORY_UNASSIGNED
    if not broker.directories:
        return DIRECTORY_MIGRATING
    return broker.directories[0] if len(broker.directories) == 1 else DIRECTORY_UNASSIGNED


def new_partition(state: ControllerState, replicas: Sequence[int]) -> PartitionImage | None:
    """A partition that has just come into being; None if none of its replicas is active."""
    isr = tuple(replica for replica in replicas if is_active(state, replica))
    if not isr:
        return None
    return PartitionImage(
        replicas=tuple(replicas),
        isr=isr,
        leader=isr[0],
        leader_epoch=0,
        partition_epoch=0,
        directories=tuple(default_directory(state, replica) for replica in replicas),
    )


def check_manual_assignment(
    state: ControllerState, replicas: Sequence[int], replication_factor: int | None = None
) -> None:
    """Raise INVALID_REPLICA_ASSIGNMENT unless `replicas` are registered brokers, each once, as many as expected."""
    problem = None
    ordered = sorted(replicas)
    if not ordered:
        problem = "includes an empty replica list."
    for position, broker_id in enumerate(ordered):
        broker = state.image.cluster.brokers.get(broker_id)
        if problem is None and broker is None:
            problem = f"includes broker {broker_id}, but no such broker is registered."
        if problem is None and broker is not None and not broker.takes_replicas:
            problem = f"includes broker {broker_id}, but all its log directories are cordoned."
        if problem is None and position and ordered[position - 1] == broker_id:
            problem = f"includes the broker {broker_id} more than once."
    if problem is None and replication_factor is not None and len(ordered) != replication_factor:
        problem = (
            f"includes a partition with {len(ordered)} replica(s), but this is not consistent with previous "
            f"partitions, which have {replication_factor} replica(s)."
        )
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment {problem}")


def effective_min_isr(state: ControllerState, topic: TopicImage) -> int:
    """`min.insync.replicas` of a topic, no more than it has replicas."""
    partition = topic.partitions.get(0)
    replicas = len(partition.replicas) if partition is not None else 1
    return min(state.topic_config(topic.name).int_("min.insync.replicas"), replicas)


def change_of(
    state: ControllerState,
    topic: TopicImage,
    index: int,
    may_lead: Callable[[int], bool] | None = None,
    elr_enabled: bool | None = None,
) -> PartitionChange:
    """A change of one partition; `may_lead` stands in for whether a broker is active."""
    partition = topic.partitions[index]
    acceptable = may_lead or (lambda broker_id: is_active(state, broker_id))

    def is_acceptable_leader(broker_id: int) -> bool:
        broker = state.image.cluster.brokers.get(broker_id)
        return (
            broker is not None
            and broker_id in partition.replicas
            and acceptable(broker_id)
            and broker.is_online(partition.directory(broker_id))
        )

    rules = PartitionRules(
        is_acceptable_leader,
        effective_min_isr(state, topic),
        state.writing if elr_enabled is None else state.writing._replace(elr_enabled=elr_enabled),
        lambda broker_id: default_directory(state, broker_id),
    )
    return PartitionChange(partition, topic.id, index, rules)


def allows_unclean_election(state: ControllerState, topic_name: str) -> bool:
    """`unclean.leader.election.enable` of a topic."""
    return state.topic_config(topic_name).bool_("unclean.leader.election.enable")


def all_partitions(state: ControllerState) -> Iterator[tuple[TopicImage, int, PartitionImage]]:
    """Every partition of every topic."""
    for topic in state.image.topics.by_id.values():
        for index, partition in topic.partitions.items():
            yield topic, index, partition


def add(records: list[VersionedRecord], change: PartitionChange) -> bool:
    """Append the change's record; False if nothing changes."""
    record = change.build()
    if record is not None:
        records.append(record)
    return record is not None
