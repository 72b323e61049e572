"""Metadata (API 3), DescribeTopicPartitions (75), DescribeCluster (60)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    DescribeTopicPartitionsResponse,
    TopicRequest,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tests.support.requests import code, create_topic, metadata, wait_for_topic
from tests.support.targets import Target
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
NO_OPERATIONS = -(2**31)


@pytest.mark.parametrize("version", range(14))
def test_every_version_describes_the_cluster_and_a_topic(
    target: Target, connection: Connection, new_topic: NewTopic, version: int
) -> None:
    """Versions 0 to 13."""
    name = new_topic(partitions=2)
    request = MetadataRequest(topics=[MetadataRequestTopic(name=name)])
    answer = connection.call(request, MetadataResponse, version)
    assert [(broker.host, broker.port) for broker in answer.brokers] == [(target.host, target.port)]
    node = answer.brokers[0].node_id
    (topic,) = answer.topics
    assert (topic.name, topic.is_internal, code(topic.error_code)) == (name, False, "NONE")
    for partition in topic.partitions:
        assert (partition.leader_id, partition.replica_nodes, partition.isr_nodes) == (node, [node], [node])
    assert sorted(partition.partition_index for partition in topic.partitions) == [0, 1]
    assert (answer.cluster_id is not None) == (version >= 2)
    assert (answer.controller_id >= 0) == (version >= 1)
    assert (topic.topic_id != bytes(16)) == (version >= 10)
    assert topic.topic_authorized_operations == NO_OPERATIONS


@pytest.mark.parametrize("version", [0, 1, 12])
def test_no_list_means_all_topics(connection: Connection, new_topic: NewTopic, version: int) -> None:
    """An empty list means all in version 0, and none from version 1 on, where null means all."""
    name = new_topic()
    everything = MetadataRequest(topics=[] if version == 0 else None)
    assert name in {topic.name for topic in connection.call(everything, MetadataResponse, version).topics}
    if version > 0:
        assert connection.call(MetadataRequest(topics=[]), MetadataResponse, version).topics == []


def test_a_topic_is_found_by_its_id(connection: Connection, unique: Unique) -> None:
    """KIP-516; an unknown id is UNKNOWN_TOPIC_ID, with no name."""
    created = create_topic(connection, unique("topic"))
    request = MetadataRequest(
        topics=[
            MetadataRequestTopic(topic_id=created.topic_id, name=None),
            MetadataRequestTopic(topic_id=b"\x05" * 16, name=None),
        ]
    )
    answers = {topic.topic_id: topic for topic in connection.call(request, MetadataResponse).topics}
    assert answers[created.topic_id].name == created.name
    assert code(answers[b"\x05" * 16].error_code) == "UNKNOWN_TOPIC_ID"
    assert answers[b"\x05" * 16].name is None


def test_a_missing_topic_is_created_only_when_asked(connection: Connection, unique: Unique) -> None:
    """auto.create.topics.enable and allow_auto_topic_creation."""
    name = unique("auto")
    assert code(metadata(connection, name).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert code(metadata(connection, name, create=True).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert len(wait_for_topic(connection, name, 1).partitions) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "x" * 250, "é", "a:b"])
def test_an_invalid_name_is_an_invalid_topic(connection: Connection, name: str) -> None:
    """Names are up to 249 letters, digits, and ._- ."""
    answer = metadata(connection, name, create=True)
    assert code(answer.error_code) == "INVALID_TOPIC_EXCEPTION"


def test_authorized_operations_come_when_asked_for(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-430: a bit field of all operations on a topic, without an authorizer."""
    request = MetadataRequest(topics=[MetadataRequestTopic(name=new_topic())], include_topic_authorized_operations=True)
    (topic,) = connection.call(request, MetadataResponse).topics
    assert topic.topic_authorized_operations == sum(1 << operation for operation in (3, 4, 5, 6, 7, 8, 10, 11))


def describe(
    connection: Connection, names: list[str], limit: int = 2000, cursor: tuple[str, int] | None = None
) -> DescribeTopicPartitionsResponse:
    start = DescribeTopicPartitionsRequestCursor(topic_name=cursor[0], partition_index=cursor[1]) if cursor else None
    request = DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name=name) for name in names], response_partition_limit=limit, cursor=start
    )
    return connection.call(request, DescribeTopicPartitionsResponse)


def places(answer: DescribeTopicPartitionsResponse) -> list[tuple[str | None, int]]:
    return [(topic.name, partition.partition_index) for topic in answer.topics for partition in topic.partitions]


def test_describe_topic_partitions_pages(connection: Connection, unique: Unique) -> None:
    """KIP-966: topics in the order of their names, a cursor where the page ends."""
    stem = unique("page")
    names = [f"{stem}-{letter}" for letter in "abc"]
    for name in names:
        create_topic(connection, name, 3)
    first = describe(connection, names[::-1], limit=4)
    assert places(first) == [(names[0], 0), (names[0], 1), (names[0], 2), (names[1], 0)]
    assert first.next_cursor is not None
    assert (first.next_cursor.topic_name, first.next_cursor.partition_index) == (names[1], 1)
    second = describe(connection, names, limit=100, cursor=(names[1], 1))
    assert places(second) == [(names[1], 1), (names[1], 2), (names[2], 0), (names[2], 1), (names[2], 2)]
    assert second.next_cursor is None


def test_describe_topic_partitions_says_what_is_missing(connection: Connection, unique: Unique) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION and INVALID_TOPIC_EXCEPTION per topic."""
    answer = describe(connection, [unique("missing"), "a b"])
    assert sorted(code(topic.error_code) for topic in answer.topics) == [
        "INVALID_TOPIC_EXCEPTION",
        "UNKNOWN_TOPIC_OR_PARTITION",
    ]


def test_describe_topic_partitions_tells_the_replicas(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-966: eligible leader replicas are an empty list when there are none."""
    (topic,) = describe(connection, [new_topic()]).topics
    (partition,) = topic.partitions
    assert (partition.leader_epoch, partition.eligible_leader_replicas, partition.last_known_elr) == (0, [], [])
    assert partition.replica_nodes == partition.isr_nodes == [partition.leader_id]


@pytest.mark.parametrize("version", range(3))
def test_describe_cluster(target: Target, connection: Connection, version: int) -> None:
    """KIP-700, KIP-919, KIP-1073."""
    answer = connection.call(DescribeClusterRequest(), DescribeClusterResponse, version)
    assert code(answer.error_code) == "NONE"
    (broker,) = answer.brokers
    assert (broker.host, broker.port, broker.is_fenced) == (target.host, target.port, False)
    assert answer.controller_id == broker.broker_id
    assert answer.cluster_id == connection.call(MetadataRequest(topics=[]), MetadataResponse).cluster_id
    assert answer.cluster_authorized_operations == NO_OPERATIONS


def test_describe_cluster_of_the_controllers_is_not_for_a_broker(connection: Connection) -> None:
    """KIP-919: endpoint type 2 belongs to the controller's listener."""
    answer = connection.call(DescribeClusterRequest(endpoint_type=2), DescribeClusterResponse, 1)
    assert code(answer.error_code) == "MISMATCHED_ENDPOINT_TYPE"
