"""Answers about very many partitions and configurations give way to others while they are worked out."""

from __future__ import annotations

from typing import TypeVar

import pytest

from odradek.broker.api.group_offsets import MANY_PARTITIONS, GroupOffsetsApi
from odradek.broker.api.metadata import MetadataApi, MetadataOptions
from odradek.broker.topic_creation import TopicCreation
from odradek.config import BrokerConfig
from odradek.ports import Promise, flatten, spawn
from odradek.server.configs import ConfigsApi
from odradek.server.handlers import AnyHandler
from odradek.wire.apis import ApiKey
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from odradek.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    TopicRequest,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
)
from odradek.wire.schema import Message
from tests.unit.broker.scene import Scene

Resp = TypeVar("Resp", bound=Message)
PARTITIONS = 500
TOPICS = 60


class Asked:
    """One topic of many partitions and many of one; each look at the clock takes a millisecond."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.scene = Scene()
        self.scene.create_topic("wide", partitions=PARTITIONS)
        for number in range(TOPICS):
            self.scene.create_topic(f"topic-{number}")
        self.scene.world.run_soon()
        monkeypatch.setattr(self.scene.world, "monotonic_ms", iter(range(1_000_000)).__next__)
        self.turns = 0

    def ask(self, handler: AnyHandler, request: Message, version: int, response: type[Resp]) -> Resp:
        """What the handler answers, and in `turns` how many turns that took."""
        answer = spawn(handler.handle(self.scene.context(handler, version), request))  # type: ignore[arg-type]
        self.turns = 0
        while not answer.done:
            self.scene.world.run_one_turn()
            self.turns += 1
        settled: object = answer.result()
        assert not isinstance(settled, Promise)
        assert isinstance(settled, response)
        return settled


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def metadata_handler(asked: Asked, key: ApiKey) -> AnyHandler:
    options = MetadataOptions(cluster_id="c", auto_create_topics=False, max_partitions_described=2000)
    topics = TopicCreation(None, None, 0)  # type: ignore[arg-type] # no topic is made here
    handlers = MetadataApi(asked.scene.replicas, topics, options).handlers()
    return next(handler for handler in handlers if handler.api_key == key)


def test_metadata_gives_way_between_the_partitions_of_a_topic(asked: Asked) -> None:
    request = MetadataRequest(topics=[MetadataRequestTopic(name="wide")])
    answer = asked.ask(metadata_handler(asked, ApiKey.METADATA), request, 12, MetadataResponse)
    assert [each.partition_index for each in answer.topics[0].partitions] == list(range(PARTITIONS))
    assert asked.turns >= PARTITIONS // 16


def test_described_partitions_give_way_as_well(asked: Asked) -> None:
    handler = metadata_handler(asked, ApiKey.DESCRIBE_TOPIC_PARTITIONS)
    request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name="wide")], response_partition_limit=PARTITIONS)
    answer = asked.ask(handler, request, 0, DescribeTopicPartitionsResponse)
    assert [each.partition_index for each in answer.topics[0].partitions] == list(range(PARTITIONS))
    assert asked.turns >= PARTITIONS // 16


class Commits:
    """A coordinator that keeps what it is given, and has no offsets."""

    def __init__(self) -> None:
        self.committed: list[int] = []

    def fetch_offsets(
        self, request: OffsetFetchRequestGroup, *, require_stable: bool
    ) -> Promise[OffsetFetchResponseGroup]:
        assert not require_stable
        return Promise.of(OffsetFetchResponseGroup(group_id=request.group_id))

    def commit_offsets(self, request: OffsetCommitRequest, _version: int) -> Promise[OffsetCommitResponse]:
        self.committed.append(sum(len(topic.partitions) for topic in request.topics))
        return Promise.of(OffsetCommitResponse())


@pytest.mark.parametrize(("partitions", "in_turns"), [(MANY_PARTITIONS - 1, False), (2 * MANY_PARTITIONS, True)])
def test_only_commits_too_large_to_be_overtaken_give_way_ahead_of_the_coordinator(
    asked: Asked, partitions: int, in_turns: bool
) -> None:
    commits = Commits()
    api = GroupOffsetsApi(commits, lambda: asked.scene.replicas.image.topics)  # type: ignore[arg-type] # see above
    handler = next(each for each in api.handlers() if each.api_key == ApiKey.OFFSET_COMMIT)
    wanted = [OffsetCommitRequestPartition(partition_index=index % PARTITIONS) for index in range(partitions)]
    topic = OffsetCommitRequestTopic(name="wide", partitions=wanted)
    request = OffsetCommitRequest(group_id="g", topics=[topic])
    spawn(handler.handle(asked.scene.context(handler, 9), request))  # type: ignore[arg-type] # a coroutine
    assert (commits.committed == []) is in_turns
    asked.scene.world.run_soon()
    assert commits.committed == [partitions]


def test_fetched_offsets_give_way_between_groups_which_may_have_many(asked: Asked) -> None:
    api = GroupOffsetsApi(Commits(), lambda: asked.scene.replicas.image.topics)  # type: ignore[arg-type] # see above
    handler = next(each for each in api.handlers() if each.api_key == ApiKey.OFFSET_FETCH)
    names = [f"group-{number}" for number in range(40)]
    request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=name, topics=None) for name in names])
    context = asked.scene.context(handler, 9)
    answer = flatten(spawn(handler.handle(context, request)))  # type: ignore[arg-type] # a coroutine
    turns = 0
    while not answer.done:
        asked.scene.world.run_one_turn()
        turns += 1
    settled: object = answer.result()
    assert isinstance(settled, OffsetFetchResponse)
    assert [each.group_id for each in settled.groups] == names
    assert turns == len(names)


def test_described_configurations_give_way_between_resources(asked: Asked) -> None:
    config = BrokerConfig({"process.roles": "broker,controller", "node.id": "1"})
    handler = ConfigsApi(lambda: asked.scene.replicas.image, lambda: config).describe_handler()
    names = [*(f"topic-{number}" for number in range(TOPICS)), "missing"]
    request = DescribeConfigsRequest(
        resources=[DescribeConfigsResource(resource_type=2, resource_name=name) for name in names]
    )
    answer = asked.ask(handler, request, 4, DescribeConfigsResponse)
    assert [(each.resource_name, each.error_code) for each in answer.results] == [
        (name, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if name == "missing" else 0) for name in names
    ]
    assert asked.turns >= TOPICS
