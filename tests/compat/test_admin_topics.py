"""CreateTopics (19), DeleteTopics (20), CreatePartitions (37)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from odradek.wire.messages.create_partitions import (
    CreatePartitionsAssignment,
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
from odradek.wire.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from tests.support.batches import batch
from tests.support.process import wait_for
from tests.support.requests import code, create_topic, list_offset, metadata, produce, wait_for_topic
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]


def create(
    connection: Connection, *topics: CreatableTopic, validate_only: bool = False, version: int | None = None
) -> list[CreatableTopicResult]:
    request = CreateTopicsRequest(topics=list(topics), timeout_ms=20_000, validate_only=validate_only)
    return connection.call(request, CreateTopicsResponse, version).topics


def topic(
    name: str,
    partitions: int = 1,
    replication: int = 1,
    *,
    assignments: dict[int, list[int]] | None = None,
    **configs: str | None,
) -> CreatableTopic:
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication,
        assignments=[
            CreatableReplicaAssignment(partition_index=index, broker_ids=brokers)
            for index, brokers in (assignments or {}).items()
        ],
        configs=[CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()],
    )


@pytest.mark.parametrize("version", range(2, 8))
def test_every_version_creates(connection: Connection, unique: Unique, version: int) -> None:
    """Versions 2 to 7: from 5 on the answer has the configs, from 7 on the id."""
    name = unique("topic")
    (answer,) = create(connection, topic(name, 3, cleanup_policy="compact"), version=version)
    assert (answer.name, code(answer.error_code)) == (name, "NONE")
    created = wait_for_topic(connection, name, 3)
    if version >= 5:
        assert (answer.num_partitions, answer.replication_factor) == (3, 1)
        configs = {config.name: (config.value, config.config_source) for config in answer.configs or []}
        assert configs["cleanup.policy"] == ("compact", 1)
        assert configs["retention.ms"] == ("604800000", 5)
    if version >= 7:
        assert answer.topic_id == created.topic_id


def test_defaults_of_the_broker(connection: Connection, unique: Unique) -> None:
    """KIP-464: -1 partitions and -1 replicas mean num.partitions and default.replication.factor."""
    (answer,) = create(connection, topic(unique("topic"), -1, -1))
    assert (code(answer.error_code), answer.num_partitions, answer.replication_factor) == ("NONE", 1, 1)


def test_an_assignment_by_hand(connection: Connection, unique: Unique) -> None:
    """Partitions and replicas are then -1."""
    name = unique("topic")
    node = metadata(connection, name).partitions
    assert node == []
    broker = create_topic(connection, unique("other")).partitions[0].leader_id
    (answer,) = create(connection, topic(name, -1, -1, assignments={0: [broker], 1: [broker]}))
    assert (code(answer.error_code), answer.num_partitions) == ("NONE", 2)
    assert len(wait_for_topic(connection, name, 2).partitions) == 2


INVALID: list[tuple[str, CreatableTopic, str]] = [
    ("no-partitions", topic("ok", 0), "INVALID_PARTITIONS"),
    ("negative-partitions", topic("ok", -2), "INVALID_PARTITIONS"),
    ("no-replicas", topic("ok", 1, 0), "INVALID_REPLICATION_FACTOR"),
    ("too-many-replicas", topic("ok", 1, 9), "INVALID_REPLICATION_FACTOR"),
    ("empty-name", topic(""), "INVALID_TOPIC_EXCEPTION"),
    ("dot", topic("."), "INVALID_TOPIC_EXCEPTION"),
    ("space", topic("a b"), "INVALID_TOPIC_EXCEPTION"),
    ("long-name", topic("x" * 250), "INVALID_TOPIC_EXCEPTION"),
    ("unknown-config", topic("ok", no_such_config="1"), "INVALID_CONFIG"),
    ("bad-number", topic("ok", retention_ms="many"), "INVALID_CONFIG"),
    ("out-of-range", topic("ok", segment_bytes="1"), "INVALID_CONFIG"),
    ("not-among-the-values", topic("ok", cleanup_policy="shred"), "INVALID_CONFIG"),
    ("null-config", topic("ok", retention_ms=None), "INVALID_CONFIG"),
    ("unknown-broker", topic("ok", -1, -1, assignments={0: [999]}), "INVALID_REPLICA_ASSIGNMENT"),
    ("not-from-0", topic("ok", -1, -1, assignments={1: [1]}), "INVALID_REPLICA_ASSIGNMENT"),
    ("no-brokers", topic("ok", -1, -1, assignments={0: []}), "INVALID_REPLICA_ASSIGNMENT"),
    ("twice-the-same-broker", topic("ok", -1, -1, assignments={0: [1, 1]}), "INVALID_REPLICA_ASSIGNMENT"),
    ("assignment-and-count", topic("ok", 1, 1, assignments={0: [1]}), "INVALID_REQUEST"),
]


@pytest.mark.parametrize(
    ("wanted", "expected"), [pytest.param(wanted, expected, id=name) for name, wanted, expected in INVALID]
)
def test_what_cannot_be_created(connection: Connection, unique: Unique, wanted: CreatableTopic, expected: str) -> None:
    """Every reason has its own error, and a message."""
    if wanted.name == "ok":
        wanted.name = unique("topic")
    (answer,) = create(connection, wanted)
    assert code(answer.error_code) == expected
    assert answer.error_message


def test_a_topic_that_exists(connection: Connection, new_topic: NewTopic) -> None:
    """TOPIC_ALREADY_EXISTS."""
    (answer,) = create(connection, topic(new_topic()))
    assert code(answer.error_code) == "TOPIC_ALREADY_EXISTS"


def test_names_that_are_the_same_to_metrics(connection: Connection, unique: Unique) -> None:
    """A dot and an underscore collide: INVALID_TOPIC_EXCEPTION."""
    stem = unique("x").replace("-", "")
    create_topic(connection, f"{stem}.y")
    (answer,) = create(connection, topic(f"{stem}_y"))
    assert code(answer.error_code) == "INVALID_TOPIC_EXCEPTION"


def test_the_same_topic_twice_in_a_request(connection: Connection, unique: Unique) -> None:
    """INVALID_REQUEST for that name; the others are created."""
    twice, once = unique("twice"), unique("once")
    answers = create(connection, topic(twice), topic(twice), topic(once))
    assert {answer.name: code(answer.error_code) for answer in answers} == {twice: "INVALID_REQUEST", once: "NONE"}


def test_validate_only_creates_nothing(connection: Connection, unique: Unique) -> None:
    """KIP-4: the answer is as if; errors too."""
    name = unique("topic")
    (answer,) = create(connection, topic(name, 2), validate_only=True)
    assert (code(answer.error_code), answer.num_partitions) == ("NONE", 2)
    assert code(metadata(connection, name).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    (answer,) = create(connection, topic(name, 0), validate_only=True)
    assert code(answer.error_code) == "INVALID_PARTITIONS"


def delete(connection: Connection, *topics: DeleteTopicState) -> list[DeletableTopicResult]:
    request = DeleteTopicsRequest(topics=list(topics), timeout_ms=20_000)
    return connection.call(request, DeleteTopicsResponse).responses


def test_a_deleted_topic_is_gone_and_its_name_is_free(connection: Connection, unique: Unique) -> None:
    """A new topic of the same name has a new id and no records."""
    name = unique("topic")
    first = create_topic(connection, name)
    produce(connection, name, batch())
    (answer,) = delete(connection, DeleteTopicState(name=name))
    assert (code(answer.error_code), answer.topic_id) == ("NONE", first.topic_id)
    wait_for(lambda: code(metadata(connection, name).error_code) == "UNKNOWN_TOPIC_OR_PARTITION", "the topic is gone")
    assert code(produce(connection, name, batch()).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    second = create_topic(connection, name)
    assert second.topic_id != first.topic_id
    assert list_offset(connection, name, -1).offset == 0


@pytest.mark.parametrize("version", range(1, 6))
def test_old_versions_delete_by_name(connection: Connection, new_topic: NewTopic, version: int) -> None:
    """Versions 1 to 5 of DeleteTopics."""
    name = new_topic()
    request = DeleteTopicsRequest(topic_names=[name], timeout_ms=20_000)
    (answer,) = connection.call(request, DeleteTopicsResponse, version).responses
    assert (answer.name, code(answer.error_code)) == (name, "NONE")


def test_a_topic_is_deleted_by_its_id(connection: Connection, unique: Unique) -> None:
    """KIP-516; an unknown id is UNKNOWN_TOPIC_ID."""
    created = create_topic(connection, unique("topic"))
    (answer,) = delete(connection, DeleteTopicState(topic_id=created.topic_id))
    assert (answer.name, code(answer.error_code)) == (created.name, "NONE")
    (answer,) = delete(connection, DeleteTopicState(topic_id=b"\x09" * 16))
    assert code(answer.error_code) == "UNKNOWN_TOPIC_ID"


def test_deleting_what_is_not_there(connection: Connection, unique: Unique) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION."""
    (answer,) = delete(connection, DeleteTopicState(name=unique("missing")))
    assert code(answer.error_code) == "UNKNOWN_TOPIC_OR_PARTITION"


def grow(
    connection: Connection,
    name: str,
    count: int,
    assignments: Sequence[Sequence[int]] | None = None,
    *,
    validate_only: bool = False,
) -> str:
    placed = None if assignments is None else [CreatePartitionsAssignment(broker_ids=list(ids)) for ids in assignments]
    wanted = CreatePartitionsTopic(name=name, count=count, assignments=placed)
    request = CreatePartitionsRequest(topics=[wanted], timeout_ms=20_000, validate_only=validate_only)
    return code(connection.call(request, CreatePartitionsResponse).results[0].error_code)


def test_partitions_are_added(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-195: the count is the new total, and records stay where they are."""
    name = new_topic(partitions=2)
    produce(connection, name, batch(), partition=1)
    assert grow(connection, name, 4, validate_only=True) == "NONE"
    assert len(metadata(connection, name).partitions) == 2
    assert grow(connection, name, 4) == "NONE"
    assert len(wait_for_topic(connection, name, 4).partitions) == 4
    assert list_offset(connection, name, -1, partition=1).offset == 1
    assert produce(connection, name, batch(), partition=3).base_offset == 0


@pytest.mark.parametrize(
    ("count", "assignments", "expected"),
    [
        (2, None, "INVALID_PARTITIONS"),
        (1, None, "INVALID_PARTITIONS"),
        (0, None, "INVALID_PARTITIONS"),
        (3, [[1], [1]], "INVALID_REPLICA_ASSIGNMENT"),
        (3, [[999]], "INVALID_REPLICA_ASSIGNMENT"),
        (3, [[]], "INVALID_REPLICA_ASSIGNMENT"),
    ],
)
def test_partitions_that_cannot_be_added(
    connection: Connection, new_topic: NewTopic, count: int, assignments: list[list[int]] | None, expected: str
) -> None:
    """A topic never shrinks, and an assignment must fit."""
    assert grow(connection, new_topic(partitions=2), count, assignments) == expected


def test_partitions_of_a_missing_topic(connection: Connection, unique: Unique) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION."""
    assert grow(connection, unique("missing"), 3) == "UNKNOWN_TOPIC_OR_PARTITION"
