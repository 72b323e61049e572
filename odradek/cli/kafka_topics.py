"""Apache Kafka's `kafka-topics` for scripts that run in its image: list, create, describe and delete.

What it prints and how it exits is what Kafka's tool does, whose topics and properties are in no order. For people there
is `odradek topic`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from odradek.cli.errors import EXIT_FAILED
from odradek.cli.session import run
from odradek.net.client import Client
from odradek.wire import ErrorCode
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from odradek.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicsResponse, DeleteTopicState
from odradek.wire.messages.describe_configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResponse,
)
from odradek.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    TopicRequest,
)
from odradek.wire.uuids import uuid_to_string

REQUEST_TIMEOUT_MS = 30_000
BROKER_DEFAULT = -1
TOPIC_RESOURCE = 2
DEFAULT_SOURCE = 5
"""The config source of DescribeConfigs for a value that nobody has set."""
NO_LEADER = -1
_ACTIONS = ("list", "create", "describe", "delete")


@click.command("kafka-topics")
@click.option("--bootstrap-server", metavar="HOST:PORT", required=True, help="The broker to ask.")
@click.option("--list", "action", flag_value="list", help="List topics.")
@click.option("--create", "action", flag_value="create", help="Create a topic.")
@click.option("--describe", "action", flag_value="describe", help="Describe topics.")
@click.option("--delete", "action", flag_value="delete", help="Delete topics.")
@click.option("--topic", metavar="NAME", help="The topic; a regular expression, unless it is created.")
@click.option("--partitions", type=click.IntRange(1), help="[default: the broker's num.partitions]")
@click.option("--replication-factor", type=click.IntRange(1), help="[default: the broker's]")
@click.option("--config", "configs", metavar="NAME=VALUE", multiple=True, help="A property of the topic; repeatable.")
@click.option("--if-not-exists", is_flag=True, help="Create nothing if it is there.")
@click.option("--if-exists", is_flag=True, help="Delete and describe nothing if it is not there.")
@click.option("--exclude-internal", is_flag=True, help="Leave out Kafka's own topics.")
@click.option("--command-config", metavar="FILE", help="Has no effect: there is nothing to log in to.")
def kafka_topics(
    bootstrap_server: str,
    action: str | None,
    topic: str | None,
    partitions: int | None,
    replication_factor: int | None,
    configs: Sequence[str],
    if_not_exists: bool,
    if_exists: bool,
    exclude_internal: bool,
    command_config: str | None,  # noqa: ARG001 - scripts give it
) -> None:
    """Kafka's kafka-topics, as far as scripts that prepare a broker need it."""
    if action is None:
        _fail(f"one of {', '.join(f'--{each}' for each in _ACTIONS)} is needed")
    if action in ("create", "delete") and topic is None:
        _fail(f"--{action} needs --topic")
    creatable = CreatableTopic(
        name=topic or "",
        num_partitions=partitions or BROKER_DEFAULT,
        replication_factor=replication_factor or BROKER_DEFAULT,
        configs=[CreatableTopicConfig(name=name, value=value) for name, value in map(_pair, configs)],
    )

    async def work(client: Client) -> list[str]:
        if action == "create":
            return await _create(client, creatable, if_not_exists)
        names = await _names(client, topic, exclude_internal)
        if action == "list":
            return names or [""]
        if not names and topic is not None and not if_exists:
            _fail(f"Topic '{topic}' does not exist as expected")
        return await (_describe(client, names) if action == "describe" else _delete(client, names))

    for line in run(bootstrap_server, work):
        click.echo(line)


async def _create(client: Client, topic: CreatableTopic, if_not_exists: bool) -> list[str]:
    request = CreateTopicsRequest(topics=[topic], timeout_ms=REQUEST_TIMEOUT_MS)
    (result,) = (await client.send(request, CreateTopicsResponse)).topics
    if result.error_code == ErrorCode.TOPIC_ALREADY_EXISTS and if_not_exists:
        return []
    if result.error_code:
        _fail(result.error_message or ErrorCode(result.error_code).message)
    return [f"Created topic {topic.name}."]


async def _names(client: Client, pattern: str | None, exclude_internal: bool) -> list[str]:
    """The topics that are meant, in order; all of them without a pattern."""
    found = sorted((each.name or "", each.is_internal) for each in (await client.metadata(None)).topics)
    return [
        name
        for name, is_internal in found
        if not (exclude_internal and is_internal) and (pattern is None or re.fullmatch(pattern, name))
    ]


async def _delete(client: Client, names: Sequence[str]) -> list[str]:
    topics = [DeleteTopicState(name=name) for name in names]
    request = DeleteTopicsRequest(topics=topics, timeout_ms=REQUEST_TIMEOUT_MS)
    for result in (await client.send(request, DeleteTopicsResponse)).responses if names else []:
        if result.error_code:
            _fail(result.error_message or ErrorCode(result.error_code).message)
    return []


async def _describe(client: Client, names: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for name in names:
        request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name=name)])
        (found,) = (await client.send(request, DescribeTopicPartitionsResponse)).topics
        if found.error_code:
            _fail(ErrorCode(found.error_code).message)
        lines += _described(found, await _configs(client, name))
    return lines


async def _configs(client: Client, name: str) -> str:
    resource = DescribeConfigsResource(resource_type=TOPIC_RESOURCE, resource_name=name)
    (result,) = (await client.send(DescribeConfigsRequest(resources=[resource]), DescribeConfigsResponse)).results
    return ",".join(
        sorted(f"{each.name}={each.value}" for each in result.configs if each.config_source != DEFAULT_SOURCE)
    )


def _described(topic: DescribeTopicPartitionsResponseTopic, configs: str) -> list[str]:
    replicas = max((len(each.replica_nodes) for each in topic.partitions), default=0)
    head = (
        f"Topic: {topic.name}\tTopicId: {uuid_to_string(topic.topic_id)}\tPartitionCount: {len(topic.partitions)}\t"
        f"ReplicationFactor: {replicas}\tConfigs: {configs}"
    )
    ordered = sorted(topic.partitions, key=lambda each: each.partition_index)
    return [head, *(f"\tTopic: {topic.name}\t{_partition(each)}" for each in ordered)]


def _partition(partition: DescribeTopicPartitionsResponsePartition) -> str:
    leader = "none" if partition.leader_id == NO_LEADER else partition.leader_id
    lists = {
        "Replicas": partition.replica_nodes,
        "Isr": partition.isr_nodes,
        "Elr": partition.eligible_leader_replicas or [],
        "LastKnownElr": partition.last_known_elr or [],
    }
    shown = "\t".join(f"{name}: {','.join(map(str, nodes))}" for name, nodes in lists.items())
    return f"Partition: {partition.partition_index}\tLeader: {leader}\t{shown}"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        _fail(f"--config {text}: write NAME=VALUE")
    return name, value


def _fail(message: str) -> NoReturn:
    """Kafka's tool says on standard output why it cannot do it, and exits with 1."""
    click.echo(f"Error while executing topic command : {message}")
    sys.exit(EXIT_FAILED)
