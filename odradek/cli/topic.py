"""`odradek topic`: list, create, describe, delete."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from odradek.cli.errors import EXIT_FAILED
from odradek.cli.offsets import EARLIEST, LATEST, list_offsets
from odradek.cli.session import bootstrap_option, check, explain, note, print_table, run
from odradek.net.client import Client
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
from odradek.wire.messages.metadata import MetadataResponseTopic

REQUEST_TIMEOUT_MS = 30_000
BROKER_DEFAULT = -1
TOPIC_RESOURCE = 2
SET_ON_TOPIC = 1
"""The config source of DescribeConfigs that stands for a value of the topic's own."""


@click.group()
def topic() -> None:
    """List, create, describe and delete topics."""


@topic.command("list")
@bootstrap_option
@click.option("--internal", is_flag=True, help="Show Kafka's own topics too.")
def list_topics(bootstrap_server: str, internal: bool) -> None:
    """List topics: name, partitions, replicas."""

    async def work(client: Client) -> list[MetadataResponseTopic]:
        return (await client.metadata(None)).topics

    topics = sorted(run(bootstrap_server, work), key=lambda found: found.name or "")
    rows = [
        (found.name, len(found.partitions), max((len(each.replica_nodes) for each in found.partitions), default=0))
        for found in topics
        if internal or not found.is_internal
    ]
    if not rows:
        note("There are no topics.")
    else:
        print_table(("Topic", "Partitions", "Replicas"), rows)


@topic.command("create")
@click.argument("names", nargs=-1, required=True)
@click.option("--partitions", "-p", type=click.IntRange(1), help="[default: the broker's num.partitions]")
@click.option("--replication-factor", "-r", type=click.IntRange(1), help="[default: the broker's]")
@click.option("--config", "-c", "configs", metavar="KEY=VALUE", multiple=True, help="A topic property; repeatable.")
@bootstrap_option
def create(
    bootstrap_server: str,
    names: Sequence[str],
    partitions: int | None,
    replication_factor: int | None,
    configs: Sequence[str],
) -> None:
    """Create topics."""
    pairs = [_pair(config) for config in configs]

    async def work(client: Client) -> CreateTopicsResponse:
        creatable = [
            CreatableTopic(
                name=name,
                num_partitions=partitions or BROKER_DEFAULT,
                replication_factor=replication_factor or BROKER_DEFAULT,
                configs=[CreatableTopicConfig(name=key, value=value) for key, value in pairs],
            )
            for name in names
        ]
        return await client.send(
            CreateTopicsRequest(topics=creatable, timeout_ms=REQUEST_TIMEOUT_MS), CreateTopicsResponse
        )

    failed = False
    for result in run(bootstrap_server, work).topics:
        if result.error_code:
            failed = True
            note(f"odradek: error: {result.name}: {explain(result.error_code, result.error_message)}")
        else:
            size = f"partitions {result.num_partitions}, replication factor {result.replication_factor}"
            note(f"created {result.name}: {size}")
    if failed:
        sys.exit(EXIT_FAILED)


@topic.command("describe")
@click.argument("names", nargs=-1, required=True)
@bootstrap_option
def describe(bootstrap_server: str, names: Sequence[str]) -> None:
    """Show the partitions of topics with their offsets, and the properties set on them."""

    async def work(client: Client) -> None:
        metadata = await client.metadata(names)
        for found in metadata.topics:
            check(found.error_code, f"no topic {found.name} here" if found.error_code else None)
            await _describe(client, found)

    run(bootstrap_server, work)


@topic.command("delete")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@bootstrap_option
def delete(bootstrap_server: str, names: Sequence[str], yes: bool) -> None:
    """Delete topics with all their records."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(names)} with all records?", abort=True, err=True)

    async def work(client: Client) -> DeleteTopicsResponse:
        connection = await client.any_node()
        request = DeleteTopicsRequest(timeout_ms=REQUEST_TIMEOUT_MS)
        if connection.version(DeleteTopicsRequest) >= 6:
            request.topics = [DeleteTopicState(name=name) for name in names]
        else:
            request.topic_names = list(names)
        return await connection.send(request, DeleteTopicsResponse)

    failed = False
    for result in run(bootstrap_server, work).responses:
        if result.error_code:
            failed = True
            note(f"odradek: error: {result.name}: {explain(result.error_code, result.error_message)}")
        else:
            note(f"deleted {result.name}")
    if failed:
        sys.exit(EXIT_FAILED)


async def _describe(client: Client, found: MetadataResponseTopic) -> None:
    starts = await list_offsets(client, found, EARLIEST)
    ends = await list_offsets(client, found, LATEST)
    rows = [
        (
            found.name,
            each.partition_index,
            each.leader_id,
            ",".join(map(str, each.replica_nodes)),
            ",".join(map(str, each.isr_nodes)),
            starts[each.partition_index],
            ends[each.partition_index],
        )
        for each in sorted(found.partitions, key=lambda each: each.partition_index)
    ]
    print_table(("Topic", "Partition", "Leader", "Replicas", "In sync", "Start offset", "End offset"), rows)
    resource = DescribeConfigsResource(resource_type=TOPIC_RESOURCE, resource_name=found.name or "")
    response = await client.send(DescribeConfigsRequest(resources=[resource]), DescribeConfigsResponse)
    configs = [
        (found.name, config.name, config.value)
        for result in response.results
        for config in result.configs
        if config.config_source == SET_ON_TOPIC
    ]
    if configs:
        print_table(("Topic", "Property", "Value"), configs)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text}: write KEY=VALUE", param_hint="--config")
    return key, value
