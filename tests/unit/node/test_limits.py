"""Small requests do not make responses of any size."""

from __future__ import annotations

import pytest

from odradek.config.types import ResourceType
from odradek.server import configs
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from odradek.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
)
from odradek.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    TopicRequest,
)
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
)
from tests.unit.node.machine import Machine, RunningNode


def described(node: RunningNode, *resources: tuple[int, str]) -> list[tuple[int, dict[str, str | None]]]:
    """(error, values) of each resource."""
    request = DescribeConfigsRequest(
        resources=[DescribeConfigsResource(resource_type=kind, resource_name=name) for kind, name in resources]
    )
    answer = node.ask(request, DescribeConfigsResponse)
    return [(each.error_code, {entry.name: entry.value for entry in each.configs}) for each in answer.results]


def test_configurations_are_described_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Machine().start()
    broker = (ResourceType.BROKER, "1")
    ((error, entries),) = described(node, broker)
    assert (error, len(entries) > 100) == (ErrorCode.NONE, True)
    monkeypatch.setattr(configs, "MAX_CONFIG_ENTRIES", 2 * len(entries))
    answers = described(node, broker, broker, broker, (ResourceType.GROUP, "g"))
    assert [error for error, _ in answers] == [0, 0, ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_REQUEST]
    assert answers[2][1] == {}


def test_each_topic_is_described_with_its_own_values() -> None:
    node = Machine().start()
    for name, configured in (("plain", {}), ("short", {"retention.ms": "5"}), ("other", {})):
        node.create_topic(name, configs=configured)
    topic = ResourceType.TOPIC
    answers = described(node, *((topic, name) for name in ("plain", "short", "other", "missing", "")))
    assert [values.get("retention.ms") for _, values in answers] == ["604800000", "5", "604800000", None, None]
    assert [error for error, _ in answers] == [
        ErrorCode.NONE,
        ErrorCode.NONE,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
    ]
    groups = described(node, (ResourceType.GROUP, "g"), (ResourceType.GROUP, ""), (ResourceType.GROUP, "h"))
    assert [error for error, _ in groups] == [ErrorCode.NONE, ErrorCode.INVALID_REQUEST, ErrorCode.NONE]
    assert groups[0][1] == groups[2][1]


def test_what_is_named_twice_is_described_once() -> None:
    node = Machine().start()
    node.create_topic("t")
    groups = node.ask(DescribeGroupsRequest(groups=["g", "h", "g"]), DescribeGroupsResponse).groups
    assert sorted(group.group_id for group in groups) == ["g", "h"]
    request = DescribeProducersRequest(topics=[TopicRequest(name="t", partition_indexes=[0, 0])])
    (topic,) = node.ask(request, DescribeProducersResponse).topics
    assert [part.error_code for part in topic.partitions] == [ErrorCode.NONE, ErrorCode.INVALID_REQUEST]


def test_offsets_are_told_once() -> None:
    node = Machine().start()

    def named(*indexes: int) -> list[OffsetFetchRequestTopics]:
        return [OffsetFetchRequestTopics(name="t", partition_indexes=list(indexes))]

    groups = [
        OffsetFetchRequestGroup(group_id="g", topics=None),
        OffsetFetchRequestGroup(group_id="g", topics=named(0, 1, 0)),
        OffsetFetchRequestGroup(group_id="g", topics=None),
        OffsetFetchRequestGroup(group_id="g", topics=named(1, 2)),
        OffsetFetchRequestGroup(group_id="h", topics=named(1)),
    ]
    node.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=["g"]), FindCoordinatorResponse)
    node.world.advance(1000)
    answer = node.ask(OffsetFetchRequest(groups=groups), OffsetFetchResponse, 9)
    told = [
        (group.group_id, [part.partition_index for topic in group.topics for part in topic.partitions])
        for group in answer.groups
    ]
    assert told == [("g", []), ("g", [0, 1]), ("g", [2]), ("h", [1])]
    assert [group.error_code for group in answer.groups] == [ErrorCode.NONE] * 4


def test_log_dirs_and_keys_that_are_named_often_count_once() -> None:
    node = Machine().start()
    node.create_topic("t", partitions=3)
    topics = [
        DescribableLogDirTopic(topic="t", partitions=[2, 0, 2, 9]),
        DescribableLogDirTopic(topic="t", partitions=[0]),
    ]
    (directory,) = node.ask(DescribeLogDirsRequest(topics=topics), DescribeLogDirsResponse).results
    (topic,) = directory.topics
    assert sorted(partition.partition_index for partition in topic.partitions) == [0, 2]
    keys = ["retention.ms", "nonsense", "retention.ms"]
    resource = DescribeConfigsResource(resource_type=ResourceType.TOPIC, resource_name="t", configuration_keys=keys)
    (answer,) = node.ask(DescribeConfigsRequest(resources=[resource]), DescribeConfigsResponse).results
    assert [entry.name for entry in answer.configs] == ["retention.ms"]
