from __future__ import annotations

import pytest

from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from odradek.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.uuids import ZERO_UUID
from tests.unit.controller.harness import DIRECTORY, Disk, Node, started


def topic(name: str, partitions: int = 1, replicas: int = 1, **configs: str) -> CreatableTopic:
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        configs=[CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()],
    )


def create(node: Node, *topics: CreatableTopic, validate_only: bool = False) -> list[CreatableTopicResult]:
    request = CreateTopicsRequest(topics=list(topics), validate_only=validate_only)
    return node.send(request, CreateTopicsResponse).topics


def test_a_created_topic_has_its_partitions_on_the_only_broker() -> None:
    node = started()
    (result,) = create(node, topic("orders", 3, retention_ms="1000"))
    assert (result.error_code, result.num_partitions, result.replication_factor) == (0, 3, 1)
    image = node.image.topics.by_name["orders"]
    assert image.id == result.topic_id != ZERO_UUID
    assert image.id in node.image.topics.by_id
    for index in range(3):
        partition = image.partitions[index]
        assert (partition.replicas, partition.isr, partition.leader) == ((1,), (1,), 1)
        assert (partition.leader_epoch, partition.partition_epoch) == (0, 0)
        assert partition.directories == (DIRECTORY,)
    assert node.image.configs.properties(2, "orders") == {"retention.ms": "1000"}
    shown = {config.name: (config.value, config.config_source) for config in result.configs or ()}
    assert shown["retention.ms"] == ("1000", 1)
    assert shown["cleanup.policy"] == ("delete", 5)


def test_the_configuration_decides_what_the_request_leaves_open() -> None:
    node = started({"num.partitions": "4"})
    (result,) = create(node, topic("t", -1, -1))
    assert (result.num_partitions, result.replication_factor) == (4, 1)


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (topic(""), ErrorCode.INVALID_TOPIC_EXCEPTION, "Topic name is invalid: the empty string is not allowed"),
        (topic("a b"), ErrorCode.INVALID_TOPIC_EXCEPTION, None),
        (topic("x" * 250), ErrorCode.INVALID_TOPIC_EXCEPTION, None),
        (topic("there"), ErrorCode.TOPIC_ALREADY_EXISTS, "Topic 'there' already exists."),
        (
            topic("with_dot"),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic 'with_dot' collides with existing topic: with.dot",
        ),
        (topic("t", 0), ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value."),
        (
            topic("t", 1, 2),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because "
            "only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
        ),
        (
            topic("t", 1, 0),
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (topic("t", nope="1"), ErrorCode.INVALID_CONFIG, "Unknown topic config name: nope"),
        (
            CreatableTopic(
                name="t",
                num_partitions=-1,
                replication_factor=-1,
                assignments=[CreatableReplicaAssignment(partition_index=0, broker_ids=[9])],
            ),
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            topic("__cluster_metadata"),
            ErrorCode.INVALID_REQUEST,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
    ],
)
def test_a_topic_that_cannot_be_is_refused_with_kafkas_words(
    wanted: CreatableTopic, code: ErrorCode, message: str | None
) -> None:
    node = started()
    create(node, topic("there"), topic("with.dot"))
    offset = node.raft.end_offset
    refused, fine = create(node, wanted, topic("fine"))
    if refused.name == "fine":
        refused, fine = fine, refused
    assert refused.error_code == code
    assert message is None or refused.error_message == message
    assert fine.error_code == 0
    assert node.raft.end_offset == offset + 2
    assert sorted(node.image.topics.by_name) == ["fine", "there", "with.dot"]


def test_a_name_given_twice_is_refused_both_times() -> None:
    node = started()
    results = create(node, topic("t"), topic("t"))
    assert [(each.name, each.error_code) for each in results] == [("t", ErrorCode.INVALID_REQUEST)]
    assert not node.image.topics.by_name


def test_validate_only_changes_nothing() -> None:
    node = started()
    offset = node.raft.end_offset
    (result,) = create(node, topic("t"), validate_only=True)
    assert result.error_code == 0
    assert node.raft.end_offset == offset
    assert create(node, topic("t"))[0].error_code == 0


def test_too_many_partitions_at_once_are_refused_as_a_whole() -> None:
    node = started()
    results = create(node, topic("a", 6000), topic("b", 6000))
    assert {each.error_code for each in results} == {ErrorCode.POLICY_VIOLATION}
    assert not node.image.topics.by_name


def test_topics_are_deleted_by_name_and_by_id_with_their_configuration() -> None:
    node = started()
    first, second, _third = create(node, topic("a", retention_ms="1"), topic("b"), topic("c"))
    request = DeleteTopicsRequest(
        topics=[
            DeleteTopicState(name="a"),
            DeleteTopicState(name=None, topic_id=second.topic_id),
            DeleteTopicState(name="nope"),
            DeleteTopicState(name=None, topic_id=bytes(15) + b"\x09"),
            DeleteTopicState(name=None),
        ]
    )
    answers = {
        (each.name, each.topic_id): each.error_code for each in node.send(request, DeleteTopicsResponse).responses
    }
    assert answers == {
        ("a", first.topic_id): 0,
        ("b", second.topic_id): 0,
        ("nope", ZERO_UUID): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        (None, bytes(15) + b"\x09"): ErrorCode.UNKNOWN_TOPIC_ID,
        (None, ZERO_UUID): ErrorCode.INVALID_REQUEST,
    }
    assert list(node.image.topics.by_name) == ["c"]
    assert node.image.configs.properties(2, "a") == {}


def test_a_topic_of_the_same_name_is_another_topic() -> None:
    node = started()
    (first,) = create(node, topic("a.b", 2))
    node.send(DeleteTopicsRequest(topics=[DeleteTopicState(name="a.b")]), DeleteTopicsResponse)
    (second,) = create(node, topic("a_b", 1))
    assert second.error_code == 0
    node.send(DeleteTopicsRequest(topics=[DeleteTopicState(name="a_b")]), DeleteTopicsResponse)
    (third,) = create(node, topic("a.b", 1))
    assert third.topic_id not in (first.topic_id, second.topic_id)
    assert len(node.image.topics.by_name["a.b"].partitions) == 1


def test_partitions_are_added_behind_the_existing_ones() -> None:
    node = started()
    create(node, topic("t", 2))
    request = CreatePartitionsRequest(
        topics=[
            CreatePartitionsTopic(name="t", count=4, assignments=None),
            CreatePartitionsTopic(name="nope", count=4, assignments=None),
        ]
    )
    results = node.send(request, CreatePartitionsResponse).results
    assert [each.error_code for each in results] == [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert sorted(node.image.topics.by_name["t"].partitions) == [0, 1, 2, 3]
    again = node.send(
        CreatePartitionsRequest(topics=[CreatePartitionsTopic(name="t", count=4, assignments=None)]),
        CreatePartitionsResponse,
    )
    assert again.results[0].error_code == ErrorCode.INVALID_PARTITIONS
    assert again.results[0].error_message == "Topic already has 4 partition(s)."


def test_the_answer_comes_when_the_topic_is_durable_and_the_image_shows_it() -> None:
    disk = Disk()
    node = Node(disk).start()
    node.register()
    disk.log.hold_flushes = True
    answer = node.client.send(CreateTopicsRequest(topics=[topic("t")]), CreateTopicsResponse)
    again = node.client.send(CreateTopicsRequest(topics=[topic("t")]), CreateTopicsResponse)
    assert not answer.done
    assert not again.done
    assert "t" not in node.image.topics.by_name
    disk.log.hold_flushes = False
    disk.log.finish_flushes()
    assert answer.result().topics[0].error_code == 0
    assert again.result().topics[0].error_code == ErrorCode.TOPIC_ALREADY_EXISTS
    assert "t" in node.image.topics.by_name
