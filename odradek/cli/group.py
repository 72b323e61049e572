"""`odradek group`: list, describe, delete."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence

import click

from odradek.cli.errors import EXIT_FAILED
from odradek.cli.offsets import LATEST, list_offsets
from odradek.cli.session import bootstrap_option, check, explain, note, print_table, run
from odradek.net.client import Client
from odradek.wire import ProtocolError
from odradek.wire.messages.consumer_protocol import ConsumerProtocolAssignment
from odradek.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.describe_groups import DescribedGroup, DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from odradek.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse


@click.group()
def group() -> None:
    """List, describe and delete consumer groups."""


@group.command("list")
@bootstrap_option
def list_groups(bootstrap_server: str) -> None:
    """List groups: name, state, type, protocol."""

    async def work(client: Client) -> list[tuple[str, str, str, str]]:
        rows = []
        for broker in (await client.metadata([])).brokers:
            response = await client.send(ListGroupsRequest(), ListGroupsResponse, node_id=broker.node_id)
            check(response.error_code)
            rows += [(each.group_id, each.group_state, each.group_type, each.protocol_type) for each in response.groups]
        return sorted(rows)

    rows = run(bootstrap_server, work)
    if not rows:
        note("There are no groups.")
    else:
        print_table(("Group", "State", "Type", "Protocol"), rows)


@group.command("describe")
@click.argument("group_ids", nargs=-1, required=True)
@bootstrap_option
def describe(bootstrap_server: str, group_ids: Sequence[str]) -> None:
    """Show a group's members and, by partition, its committed offsets and how far it is behind."""

    async def work(client: Client) -> None:
        for group_id in group_ids:
            await _describe(client, group_id)

    run(bootstrap_server, work)


@group.command("delete")
@click.argument("group_ids", nargs=-1, required=True)
@bootstrap_option
def delete(bootstrap_server: str, group_ids: Sequence[str]) -> None:
    """Delete groups without members, with their committed offsets."""

    async def work(client: Client) -> bool:
        failed = False
        for group_id in group_ids:
            coordinator = await client.group_coordinator(group_id)
            request = DeleteGroupsRequest(groups_names=[group_id])
            response = await client.send(request, DeleteGroupsResponse, node_id=coordinator)
            result = response.results[0]
            if result.error_code:
                failed = True
                note(f"odradek: error: {group_id}: {explain(result.error_code, result.error_message)}")
            else:
                note(f"deleted {group_id}")
        return failed

    if run(bootstrap_server, work):
        sys.exit(EXIT_FAILED)


async def _describe(client: Client, group_id: str) -> None:
    coordinator = await client.group_coordinator(group_id)
    response = await client.send(DescribeGroupsRequest(groups=[group_id]), DescribeGroupsResponse, node_id=coordinator)
    described = response.groups[0]
    check(described.error_code, described.error_message)
    members = [
        (group_id, member.member_id, member.client_id, member.client_host, _assignment_text(member.member_assignment))
        for member in described.members
    ]
    note(f"{group_id}: {described.group_state}, {len(members)} members")
    if members:
        print_table(("Group", "Member", "Client", "Host", "Partitions"), members)
    rows = await _offset_rows(client, described, coordinator)
    if rows:
        print_table(("Group", "Topic", "Partition", "Committed", "End offset", "Lag", "Member"), rows)


async def _offset_rows(client: Client, described: DescribedGroup, coordinator: int) -> list[tuple[object, ...]]:
    owners = {
        partition: member.member_id for member in described.members for partition in _assigned(member.member_assignment)
    }
    rows: list[tuple[object, ...]] = []
    committed = await _committed(client, described.group_id, coordinator)
    for topic in (await client.metadata(sorted({name for name, _ in committed}))).topics if committed else ():
        numbers = sorted(number for name, number in committed if name == topic.name)
        ends = {} if topic.error_code else await list_offsets(client, topic, LATEST, numbers)
        for number in numbers:
            offset = committed[topic.name or "", number]
            end = ends.get(number)
            lag = "-" if end is None else max(0, end - offset)
            owner = owners.get((topic.name or "", number), "-")
            rows.append((described.group_id, topic.name, number, offset, "-" if end is None else end, lag, owner))
    return rows


async def _committed(client: Client, group_id: str, coordinator: int) -> dict[tuple[str, int], int]:
    connection = await client.node(coordinator)
    # Versions 8 and 9 carry several groups, and topics by name; from 10 on topics go by id only.
    version = min(connection.version(OffsetFetchRequest), 9)
    request = OffsetFetchRequest()
    if version >= 8:
        request.groups = [OffsetFetchRequestGroup(group_id=group_id, topics=None)]
    else:
        request.group_id, request.topics = group_id, None
    response = await connection.send(request, OffsetFetchResponse, version=version)
    found: dict[tuple[str, int], int] = {}
    if version >= 8:
        check(response.groups[0].error_code)
        for topic in response.groups[0].topics:
            found |= {(topic.name, each.partition_index): each.committed_offset for each in topic.partitions}
    else:
        check(response.error_code)
        for old in response.topics:
            found |= {(old.name, each.partition_index): each.committed_offset for each in old.partitions}
    return {partition: offset for partition, offset in found.items() if offset >= 0}


def _assigned(assignment: bytes) -> Iterator[tuple[str, int]]:
    """The partitions in a consumer's assignment; nothing for members of other protocols."""
    if len(assignment) < 2:
        return
    version = min(int.from_bytes(assignment[:2], "big"), ConsumerProtocolAssignment.MAX_VERSION)
    with contextlib.suppress(ProtocolError):
        decoded, _ = ConsumerProtocolAssignment.decode_prefix(assignment, version, 2)
        for topic in decoded.assigned_partitions:
            for number in topic.partitions:
                yield topic.topic, number


def _assignment_text(assignment: bytes) -> str:
    by_topic: dict[str, list[int]] = {}
    for topic, number in _assigned(assignment):
        by_topic.setdefault(topic, []).append(number)
    return " ".join(f"{topic}[{','.join(map(str, sorted(numbers)))}]" for topic, numbers in sorted(by_topic.items()))
