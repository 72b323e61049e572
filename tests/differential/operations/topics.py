"""Topics: created, described, extended, emptied, deleted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from odradek.wire.messages.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
)
from odradek.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from odradek.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsRequestCursor,
    TopicRequest,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from odradek.wire.schema import Message
from tests.differential.operations.registry import operation
from tests.differential.world import NO_UUID, Step, Topic, World

CONFIGS = (
    ("cleanup.policy", "compact"),
    ("cleanup.policy", "compact,delete"),
    ("message.timestamp.type", "LogAppendTime"),
    ("max.message.bytes", "200"),
    ("compression.type", "gzip"),
    ("compression.type", "zstd"),
    ("compression.type", "uncompressed"),
    ("min.insync.replicas", "2"),
    ("retention.ms", "-1"),
    ("message.timestamp.before.max.ms", "1000"),
    ("flush.messages", "1"),
)
INVALID_CONFIGS = (
    ("cleanup.policy", "sometimes"),
    ("max.message.bytes", "-1"),
    ("no.such.property", "1"),
    ("segment.bytes", "1"),
    ("retention.ms", None),
    ("min.insync.replicas", "0"),
    ("remote.storage.enable", "true"),
)


def _learn(world: World) -> Callable[[Message], None]:
    """For what has answered with topics: which exist, with how many partitions."""

    def note(answer: Message) -> None:
        assert isinstance(answer, MetadataResponse)
        for found in answer.topics:
            topic = world.named(found.name)
            if topic is not None:
                topic.partitions = len(found.partitions)
                topic.topic_id = found.topic_id if topic.partitions else NO_UUID

    return note


def look_up(world: World) -> Step:
    """Metadata for all names of this sequence, so that the world knows what became of them."""
    names = [MetadataRequestTopic(name=topic.name) for topic in world.topics]
    request = MetadataRequest(topics=names, allow_auto_topic_creation=False)
    return Step(request, version=13, then=_learn(world))


def first_topics(random: Random, world: World) -> list[Step]:
    """Two topics to begin with."""
    topics = [
        CreatableTopic(name=topic.name, num_partitions=random.choice((1, 2, 3)), replication_factor=1)
        for topic in world.topics[:2]
    ]
    topics[1].configs = _configs(random, invalid=False)
    return [Step(CreateTopicsRequest(topics=topics, timeout_ms=20_000), changes_metadata=True), look_up(world)]


def last_topics(world: World) -> list[Step]:
    """Leave nothing for the sequences that come."""
    states = [DeleteTopicState(name=topic.name) for topic in world.topics]
    return [Step(DeleteTopicsRequest(topics=states, timeout_ms=20_000), version=6, changes_metadata=True)]


def _configs(random: Random, *, invalid: bool) -> list[CreatableTopicConfig]:
    chosen = random.sample(CONFIGS, random.choice((0, 0, 1, 2)))
    found: list[tuple[str, str | None]] = list({name: (name, value) for name, value in chosen}.values())
    if invalid:
        found.append(random.choice(INVALID_CONFIGS))
    return [CreatableTopicConfig(name=name, value=value) for name, value in found]


@operation(2)
def create_topics(random: Random, world: World) -> list[Step]:
    names = [random.choice(world.topics).name for _ in range(random.choice((1, 1, 2)))]
    if random.random() < 0.1:
        names.append(random.choice(("", ".", "a b", "x" * 250, "__consumer_offsets", names[0].replace("-", "."))))
    topics = []
    for name in names:
        made = CreatableTopic(name=name, num_partitions=random.choice((1, 2, 3, -1)), replication_factor=1)
        made.configs = _configs(random, invalid=random.random() < 0.15)
        if random.random() < 0.2:
            made.num_partitions = made.replication_factor = -1
            made.assignments = [
                CreatableReplicaAssignment(partition_index=index, broker_ids=[1])
                for index in random.choice(((0,), (0, 1), (1, 0), (1,), (0, 2)))
            ]
        elif random.random() < 0.1:
            made.replication_factor = random.choice((-1, 0, 2, 3))
        topics.append(made)
    request = CreateTopicsRequest(topics=topics, timeout_ms=20_000, validate_only=random.random() < 0.2)
    return [Step(request, changes_metadata=True), look_up(world)]


@operation(0.7)
def delete_topics(random: Random, world: World) -> list[Step]:
    chosen = [world.topic(random) for _ in range(random.choice((1, 1, 2)))]
    version = random.randint(1, 6)
    request = DeleteTopicsRequest(timeout_ms=20_000, topic_names=[topic.name for topic in chosen])
    if version >= 6:
        request.topics = [_state(random, topic) for topic in chosen]
        request.topic_names = []
    return [Step(request, version=version, changes_metadata=True), look_up(world)]


def _state(random: Random, topic: Topic) -> DeleteTopicState:
    how = random.random()
    if how < 0.5:
        return DeleteTopicState(name=topic.name)
    if how < 0.9:
        return DeleteTopicState(name=None, topic_id=topic.wire_id)
    return random.choice(
        (
            DeleteTopicState(name=topic.name, topic_id=topic.wire_id),
            DeleteTopicState(name=None),
            DeleteTopicState(name=None, topic_id=b"\x05" * 16),
        )
    )


@operation(0.7)
def create_partitions(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    count = topic.partitions + random.choice((1, 1, 1, 0, -1, 2))
    wanted = CreatePartitionsTopic(name=topic.name, count=count, assignments=None)
    if random.random() < 0.2:
        wanted.assignments = [
            CreatePartitionsAssignment(broker_ids=random.choice(([1], [1], [1, 1], [2], [])))
            for _ in range(random.choice((1, 2)))
        ]
    request = CreatePartitionsRequest(topics=[wanted], timeout_ms=20_000, validate_only=random.random() < 0.2)
    return [Step(request, changes_metadata=True), look_up(world)]


@operation(3)
def metadata(random: Random, world: World) -> list[Step]:
    request = MetadataRequest(allow_auto_topic_creation=random.random() < 0.15)
    version = random.randint(0, 13)
    chosen = [world.topic(random) for _ in range(random.choice((0, 1, 1, 2, 3)))]
    by_id = version >= 10 and random.random() < 0.3
    request.topics = [
        MetadataRequestTopic(topic_id=topic.wire_id, name=None if version >= 12 else "")
        if by_id
        else MetadataRequestTopic(name=topic.name)
        for topic in chosen
    ]
    if not by_id and random.random() < 0.1:
        request.topics.append(
            MetadataRequestTopic(name=random.choice(("", ".", "a b", "__consumer_offsets", "x" * 250)))
        )
    if version >= 1 and random.random() < 0.05:
        request.topics = None
    if version < 4:
        request.allow_auto_topic_creation = True
    if version >= 8:
        request.include_topic_authorized_operations = random.random() < 0.3
    creates = request.allow_auto_topic_creation
    return [Step(request, version=version, changes_metadata=creates), *([look_up(world)] if creates else [])]


@operation(1.5)
def describe_topic_partitions(random: Random, world: World) -> list[Step]:
    names = [world.topic(random).name for _ in range(random.choice((0, 1, 2, 3)))]
    if not names and random.random() < 0.8:
        return []
    if random.random() < 0.1:
        names.append(random.choice(("", "a b", "__consumer_offsets")))
    request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name=name) for name in names])
    request.response_partition_limit = random.choice((2000, 2000, 1, 2, 3, 0))
    if random.random() < 0.3:
        request.cursor = DescribeTopicPartitionsRequestCursor(
            topic_name=world.topic(random).name, partition_index=random.choice((0, 1, 2, 5))
        )
    return [Step(request)]
