"""What is asked of a cluster's control plane, in one line each, and its answers in a form that two clusters share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from odradek.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
    DescribeQuorumResponse,
    DescribeQuorumResponsePartitionData,
)
from odradek.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    TopicRequest,
)
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, ElectLeadersResponse, TopicPartitions
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsTopics,
)
from odradek.wire.messages.unregister_broker import UnregisterBrokerRequest, UnregisterBrokerResponse
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse
from tests.support.process import wait_for
from tests.support.requests import code
from tests.support.wire import Connection

PREFERRED, UNCLEAN = 0, 1
UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3
TIMEOUT_MS = 15_000
SET, DELETE = 0, 1


class State(NamedTuple):
    """A partition as DescribeTopicPartitions shows it; sets of replicas in ascending order."""

    leader: int
    replicas: list[int]
    isr: list[int]
    elr: list[int]
    last_known_elr: list[int]
    offline: list[int]
    error: str = "NONE"


class Moving(NamedTuple):
    """A reassignment under way."""

    replicas: list[int]
    adding: list[int]
    removing: list[int]


def in_sync(*replicas: int) -> State:
    """A partition whose first replica leads, with all of them in sync."""
    return State(replicas[0], list(replicas), sorted(replicas), [], [], [])


def create_on(
    connection: Connection, name: str, assignments: Sequence[Sequence[int]], configs: Mapping[str, str] | None = None
) -> None:
    """Create a topic with these replicas by partition, the preferred leaders first."""
    topic = CreatableTopic(
        name=name,
        num_partitions=-1,
        replication_factor=-1,
        assignments=[
            CreatableReplicaAssignment(partition_index=index, broker_ids=list(brokers))
            for index, brokers in enumerate(assignments)
        ],
        configs=[CreatableTopicConfig(name=key, value=value) for key, value in (configs or {}).items()],
    )
    answer = connection.call(CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS), CreateTopicsResponse)
    assert code(answer.topics[0].error_code) == "NONE", answer.topics[0].error_message


def states(connection: Connection, topic: str) -> list[State]:
    """The topic's partitions as one broker sees them; none if there is no such topic."""
    request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name=topic)])
    (answer,) = connection.call(request, DescribeTopicPartitionsResponse).topics
    return [
        State(
            each.leader_id,
            list(each.replica_nodes),
            sorted(each.isr_nodes),
            sorted(each.eligible_leader_replicas or []),
            list(each.last_known_elr or []),
            sorted(each.offline_replicas),
            code(each.error_code),
        )
        for each in answer.partitions
    ]


def await_states(connection: Connection, topic: str, *expected: State, timeout_s: float = 10.0) -> None:
    """Wait until the topic's partitions are as expected. Raises TimeoutError that says what they are."""
    try:
        wait_for(lambda: states(connection, topic) == list(expected), topic, timeout_s)
    except TimeoutError as late:
        raise TimeoutError(f"{late}: {states(connection, topic)} instead of {list(expected)}") from None


def reassign(
    connection: Connection,
    topic: str,
    wanted: Mapping[int, list[int] | None],
    *,
    may_change_factor: bool = True,
) -> dict[int, str]:
    """Move partitions, or cancel that (None); the error by partition."""
    partitions = [ReassignablePartition(partition_index=index, replicas=brokers) for index, brokers in wanted.items()]
    request = AlterPartitionReassignmentsRequest(
        topics=[ReassignableTopic(name=topic, partitions=partitions)],
        timeout_ms=TIMEOUT_MS,
        allow_replication_factor_change=may_change_factor,
    )
    answer = connection.call(request, AlterPartitionReassignmentsResponse)
    assert code(answer.error_code) == "NONE", answer.error_message
    return {each.partition_index: code(each.error_code) for each in answer.responses[0].partitions}


def moving(connection: Connection, topic: str, partitions: Sequence[int] = (0,)) -> dict[int, Moving]:
    """The reassignments under way of these partitions."""
    wanted = ListPartitionReassignmentsTopics(name=topic, partition_indexes=list(partitions))
    request = ListPartitionReassignmentsRequest(topics=[wanted], timeout_ms=TIMEOUT_MS)
    answer = connection.call(request, ListPartitionReassignmentsResponse)
    assert code(answer.error_code) == "NONE", answer.error_message
    return {
        each.partition_index: Moving(list(each.replicas), list(each.adding_replicas), list(each.removing_replicas))
        for found in answer.topics
        for each in found.partitions
    }


def elect(connection: Connection, kind: int, topics: Mapping[str, Sequence[int]] | None) -> dict[tuple[str, int], str]:
    """Elect leaders; the error by partition that is answered."""
    wanted = None
    if topics is not None:
        wanted = [TopicPartitions(topic=name, partitions=list(indexes)) for name, indexes in topics.items()]
    request = ElectLeadersRequest(election_type=kind, topic_partitions=wanted, timeout_ms=TIMEOUT_MS)
    answer = connection.call(request, ElectLeadersResponse)
    assert code(answer.error_code) == "NONE"
    return {
        (found.topic, each.partition_id): code(each.error_code)
        for found in answer.replica_election_results
        for each in found.partition_result
    }


def alter(connection: Connection, kind: int, name: str, configs: Mapping[str, str | None]) -> tuple[str, str]:
    """Set properties of a resource, or remove them (None); the error's name and message."""
    wanted = [
        AlterableConfig(name=key, config_operation=DELETE if value is None else SET, value=value)
        for key, value in configs.items()
    ]
    resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=wanted)
    request = IncrementalAlterConfigsRequest(resources=[resource])
    (result,) = connection.call(request, IncrementalAlterConfigsResponse).responses
    return code(result.error_code), result.error_message or ""


def update_features(
    connection: Connection, levels: Mapping[str, int], kind: int = UPGRADE, *, validate_only: bool = False
) -> tuple[str, str]:
    """Finalize levels of features; the error's name and message."""
    updates = [
        FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=kind) for name, level in levels.items()
    ]
    request = UpdateFeaturesRequest(feature_updates=updates, validate_only=validate_only, timeout_ms=TIMEOUT_MS)
    answer = connection.call(request, UpdateFeaturesResponse, 2)
    return code(answer.error_code), answer.error_message or ""


def unregister(connection: Connection, broker_id: int) -> tuple[str, str]:
    """Forget a broker; the error's name and message."""
    answer = connection.call(UnregisterBrokerRequest(broker_id=broker_id), UnregisterBrokerResponse)
    return code(answer.error_code), answer.error_message or ""


def brokers(connection: Connection) -> dict[int, DescribeClusterBroker]:
    """The brokers that are registered, fenced ones among them."""
    answer = connection.call(DescribeClusterRequest(include_fenced_brokers=True), DescribeClusterResponse)
    assert code(answer.error_code) == "NONE"
    return {broker.broker_id: broker for broker in answer.brokers}


def fenced(connection: Connection) -> dict[int, bool]:
    """Whether brokers are fenced, of all that are registered."""
    return {broker_id: broker.is_fenced for broker_id, broker in sorted(brokers(connection).items())}


def quorum(connection: Connection) -> tuple[DescribeQuorumResponse, DescribeQuorumResponsePartitionData]:
    """The metadata quorum as its leader sees it."""
    wanted = DescribeQuorumRequestTopicData(
        topic_name="__cluster_metadata", partitions=[DescribeQuorumRequestPartitionData(partition_index=0)]
    )
    answer = connection.call(DescribeQuorumRequest(topics=[wanted]), DescribeQuorumResponse)
    assert code(answer.error_code) == "NONE", answer.error_message
    return answer, answer.topics[0].partitions[0]
