"""DescribeConfigs (32), AlterConfigs (33), IncrementalAlterConfigs (44), ListConfigResources (74)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from odradek.wire.messages import alter_configs, incremental_alter_configs
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from odradek.wire.messages.list_config_resources import ListConfigResourcesRequest, ListConfigResourcesResponse
from tests.support.process import wait_for
from tests.support.requests import code, metadata
from tests.support.wire import Connection

NewTopic = Callable[..., str]
Unique = Callable[[str], str]
TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)
DYNAMIC_TOPIC, DYNAMIC_BROKER, DYNAMIC_DEFAULT_BROKER, STATIC_BROKER, DEFAULT = 1, 2, 3, 4, 5
LONG_TYPE, LIST_TYPE = 5, 7
TOPIC_DEFAULTS = {
    "cleanup.policy": "delete",
    "compression.gzip.level": "-1",
    "compression.lz4.level": "9",
    "compression.type": "producer",
    "compression.zstd.level": "3",
    "delete.retention.ms": "86400000",
    "errors.deadletterqueue.group.enable": "false",
    "flush.messages": "9223372036854775807",
    "flush.ms": "9223372036854775807",
    "follower.replication.throttled.replicas": "",
    "index.interval.bytes": "4096",
    "leader.replication.throttled.replicas": "",
    "local.retention.bytes": "-2",
    "local.retention.ms": "-2",
    "max.compaction.lag.ms": "9223372036854775807",
    "max.decompressed.message.bytes": "2147483639",
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "message.timestamp.type": "CreateTime",
    "min.cleanable.dirty.ratio": "0.5",
    "min.compaction.lag.ms": "0",
    "min.insync.replicas": "1",
    "preallocate": "false",
    "remote.copy.lag.bytes": "-1",
    "remote.copy.lag.ms": "0",
    "remote.log.copy.disable": "false",
    "remote.log.delete.on.disable": "false",
    "remote.storage.enable": "false",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.index.bytes": "10485760",
    "segment.jitter.ms": "0",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}


def describe(
    connection: Connection, kind: int, name: str, keys: list[str] | None = None, version: int | None = None
) -> DescribeConfigsResult:
    resource = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys)
    request = DescribeConfigsRequest(
        resources=[resource], include_synonyms=True, include_documentation=(version or 4) >= 3
    )
    return connection.call(request, DescribeConfigsResponse, version).results[0]


def config(connection: Connection, kind: int, name: str, key: str) -> DescribeConfigsResourceResult:
    (found,) = describe(connection, kind, name, [key]).configs
    return found


def alter(
    connection: Connection, kind: int, name: str, *changes: tuple[str, int, str | None], validate_only: bool = False
) -> str:
    resource = incremental_alter_configs.AlterConfigsResource(
        resource_type=kind,
        resource_name=name,
        configs=[
            incremental_alter_configs.AlterableConfig(name=key, config_operation=operation, value=value)
            for key, operation, value in changes
        ],
    )
    request = incremental_alter_configs.IncrementalAlterConfigsRequest(
        resources=[resource], validate_only=validate_only
    )
    answer = connection.call(request, incremental_alter_configs.IncrementalAlterConfigsResponse)
    return code(answer.responses[0].error_code)


def becomes(connection: Connection, kind: int, name: str, key: str, value: str | None) -> None:
    wait_for(lambda: config(connection, kind, name, key).value == value, f"{key} is {value}")


@pytest.fixture
def node(connection: Connection, new_topic: NewTopic) -> str:
    """The broker's id."""
    return str(metadata(connection, new_topic()).partitions[0].leader_id)


@pytest.fixture
def broker_default(connection: Connection) -> Iterator[None]:
    """Takes back the cluster-wide dynamic configs that a test sets."""
    yield
    alter(connection, BROKER, "", ("log.cleaner.threads", DELETE, None), ("message.max.bytes", DELETE, None))


@pytest.mark.parametrize("version", range(1, 5))
def test_a_topics_configs_in_every_version(connection: Connection, new_topic: NewTopic, version: int) -> None:
    """Versions 1 to 4: where a value comes from, its synonyms, from 3 on its type and what it is for."""
    topic = new_topic(configs={"retention.ms": "1234"})
    answer = describe(connection, TOPIC, topic, version=version)
    assert (code(answer.error_code), answer.resource_name) == ("NONE", topic)
    configs = {entry.name: entry for entry in answer.configs}
    retention = configs["retention.ms"]
    assert (retention.value, retention.config_source, retention.read_only) == ("1234", DYNAMIC_TOPIC, False)
    assert [(synonym.name, synonym.value, synonym.source) for synonym in retention.synonyms] == [
        ("retention.ms", "1234", DYNAMIC_TOPIC)
    ]
    policy = configs["cleanup.policy"]
    assert (policy.value, policy.config_source) == ("delete", DEFAULT)
    assert [(synonym.name, synonym.source) for synonym in policy.synonyms] == [("log.cleanup.policy", DEFAULT)]
    if version >= 3:
        assert (retention.config_type, policy.config_type) == (LONG_TYPE, LIST_TYPE)
        assert retention.documentation


def test_all_topic_configs_and_their_defaults(connection: Connection, new_topic: NewTopic) -> None:
    """The names and values of 4.4.0."""
    found = {entry.name: entry.value for entry in describe(connection, TOPIC, new_topic()).configs}
    assert found.pop("file.delete.delay.ms") in ("1000", "60000")
    assert found == TOPIC_DEFAULTS


def test_only_the_asked_keys_are_described(connection: Connection, new_topic: NewTopic) -> None:
    """Unknown keys are left out."""
    answer = describe(connection, TOPIC, new_topic(), ["retention.ms", "no.such.config"])
    assert [entry.name for entry in answer.configs] == ["retention.ms"]


def test_a_topic_that_is_not_there(connection: Connection, unique: Unique) -> None:
    """UNKNOWN_TOPIC_OR_PARTITION for Describe and for Alter."""
    name = unique("missing")
    assert code(describe(connection, TOPIC, name).error_code) == "UNKNOWN_TOPIC_OR_PARTITION"
    assert alter(connection, TOPIC, name, ("retention.ms", SET, "1")) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_a_topic_config_is_set_and_deleted(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-339."""
    topic = new_topic()
    assert alter(connection, TOPIC, topic, ("retention.ms", SET, "777")) == "NONE"
    becomes(connection, TOPIC, topic, "retention.ms", "777")
    assert config(connection, TOPIC, topic, "retention.ms").config_source == DYNAMIC_TOPIC
    assert alter(connection, TOPIC, topic, ("retention.ms", DELETE, None)) == "NONE"
    becomes(connection, TOPIC, topic, "retention.ms", "604800000")


def test_lists_are_appended_to_and_subtracted_from(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-339: only for lists; INVALID_CONFIG for others."""
    topic = new_topic()
    assert alter(connection, TOPIC, topic, ("cleanup.policy", APPEND, "compact")) == "NONE"
    becomes(connection, TOPIC, topic, "cleanup.policy", "delete,compact")
    assert alter(connection, TOPIC, topic, ("cleanup.policy", SUBTRACT, "delete")) == "NONE"
    becomes(connection, TOPIC, topic, "cleanup.policy", "compact")
    assert alter(connection, TOPIC, topic, ("retention.ms", APPEND, "1")) == "INVALID_CONFIG"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("no.such.config", SET, "1"), "INVALID_CONFIG"),
        (("retention.ms", SET, "many"), "INVALID_CONFIG"),
        (("retention.ms", SET, "-2"), "INVALID_CONFIG"),
        (("cleanup.policy", SET, "shred"), "INVALID_CONFIG"),
        (("retention.ms", SET, None), "INVALID_REQUEST"),
    ],
)
def test_a_topic_config_that_cannot_be(
    connection: Connection, new_topic: NewTopic, change: tuple[str, int, str | None], expected: str
) -> None:
    """Kafka validates before anything changes."""
    topic = new_topic()
    assert alter(connection, TOPIC, topic, change) == expected
    assert config(connection, TOPIC, topic, "retention.ms").config_source == DEFAULT


def test_validate_only_changes_nothing(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-133."""
    topic = new_topic()
    assert alter(connection, TOPIC, topic, ("retention.ms", SET, "777"), validate_only=True) == "NONE"
    assert alter(connection, TOPIC, topic, ("retention.ms", SET, "x"), validate_only=True) == "INVALID_CONFIG"
    assert config(connection, TOPIC, topic, "retention.ms").config_source == DEFAULT


def test_the_old_alter_configs_replaces_everything(connection: Connection, new_topic: NewTopic) -> None:
    """KIP-133: what is not named goes back to its default."""
    topic = new_topic(configs={"retention.ms": "1234"})
    resource = alter_configs.AlterConfigsResource(
        resource_type=TOPIC,
        resource_name=topic,
        configs=[alter_configs.AlterableConfig(name="segment.bytes", value="2000000")],
    )
    request = alter_configs.AlterConfigsRequest(resources=[resource])
    answer = connection.call(request, alter_configs.AlterConfigsResponse)
    assert code(answer.responses[0].error_code) == "NONE"
    becomes(connection, TOPIC, topic, "segment.bytes", "2000000")
    becomes(connection, TOPIC, topic, "retention.ms", "604800000")


def test_the_brokers_configs(connection: Connection, node: str) -> None:
    """Static, read-only and default values; a topic's default has the broker's as its synonym."""
    configs = {entry.name: entry for entry in describe(connection, BROKER, node).configs}
    assert (configs["num.partitions"].value, configs["num.partitions"].config_source) == ("1", DEFAULT)
    assert configs["num.partitions"].read_only
    assert configs["message.max.bytes"].value == "1048588"
    assert not configs["message.max.bytes"].read_only
    assert configs["node.id"].config_source == STATIC_BROKER
    assert configs["ssl.keystore.password"].is_sensitive
    assert configs["ssl.keystore.password"].value is None


@pytest.mark.usefixtures("broker_default")
def test_a_cluster_wide_dynamic_config_reaches_broker_and_topics(
    connection: Connection, node: str, new_topic: NewTopic
) -> None:
    """KIP-226: precedence is topic, broker, cluster-wide, static, default."""
    topic = new_topic()
    assert alter(connection, BROKER, "", ("message.max.bytes", SET, "2000000")) == "NONE"
    becomes(connection, BROKER, node, "message.max.bytes", "2000000")
    broker = config(connection, BROKER, node, "message.max.bytes")
    assert broker.config_source == DYNAMIC_DEFAULT_BROKER
    assert [synonym.source for synonym in broker.synonyms] == [DYNAMIC_DEFAULT_BROKER, DEFAULT]
    becomes(connection, TOPIC, topic, "max.message.bytes", "2000000")
    assert config(connection, TOPIC, topic, "max.message.bytes").config_source == DYNAMIC_DEFAULT_BROKER
    assert alter(connection, BROKER, node, ("message.max.bytes", SET, "3000000")) == "NONE"
    becomes(connection, TOPIC, topic, "max.message.bytes", "3000000")
    assert config(connection, BROKER, node, "message.max.bytes").config_source == DYNAMIC_BROKER
    assert alter(connection, BROKER, node, ("message.max.bytes", DELETE, None)) == "NONE"
    becomes(connection, TOPIC, topic, "max.message.bytes", "2000000")


@pytest.mark.parametrize("key", ["log.dirs", "node.id", "num.partitions"])
def test_a_read_only_broker_config(connection: Connection, node: str, key: str) -> None:
    """KIP-226: INVALID_REQUEST."""
    assert alter(connection, BROKER, node, (key, SET, "5")) == "INVALID_REQUEST"


def test_a_broker_that_is_not_this_one(connection: Connection) -> None:
    """INVALID_REQUEST for an id of another broker and for what is no id."""
    assert code(describe(connection, BROKER, "999").error_code) == "INVALID_REQUEST"
    assert code(describe(connection, BROKER, "abc").error_code) == "INVALID_REQUEST"


def test_an_unknown_kind_of_resource(connection: Connection) -> None:
    """INVALID_REQUEST."""
    assert code(describe(connection, 77, "x").error_code) == "INVALID_REQUEST"
    assert alter(connection, 77, "x", ("a", SET, "b")) == "INVALID_REQUEST"


def test_config_resources_are_listed(connection: Connection, new_topic: NewTopic, node: str) -> None:
    """KIP-1142."""
    topic = new_topic()
    answer = connection.call(ListConfigResourcesRequest(resource_types=[TOPIC, BROKER]), ListConfigResourcesResponse)
    assert code(answer.error_code) == "NONE"
    found = {(entry.resource_type, entry.resource_name) for entry in answer.config_resources}
    assert {(TOPIC, topic), (BROKER, node)} <= found
    wrong = connection.call(ListConfigResourcesRequest(resource_types=[77]), ListConfigResourcesResponse)
    assert code(wrong.error_code) == "UNSUPPORTED_VERSION"
