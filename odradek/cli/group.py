"""`odradek group`: list, describe, delete, reset offsets."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click

from odradek.cli.errors import EXIT_FAILED
from odradek.cli.group_reset import reset
from odradek.cli.groups import GroupDescription, Place, committed_offsets, describe_group
from odradek.cli.offsets import LATEST, list_offsets
from odradek.cli.session import bootstrap_option, check, explain, note, print_table, run
from odradek.net.client import Client
from odradek.wire.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from odradek.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse


@click.group()
def group() -> None:
    """List, describe and delete consumer groups, and reset their offsets."""


group.add_command(reset)


@group.command("list")
@click.option("--state", "states", metavar="STATE", multiple=True, help="Only groups in this state; repeatable.")
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only groups of this type; repeatable.")
@bootstrap_option
def list_groups(bootstrap_server: str, states: Sequence[str], types: Sequence[str]) -> None:
    """List groups: name, state, type, protocol."""

    async def work(client: Client) -> list[ListedGroup]:
        found: list[ListedGroup] = []
        for broker in (await client.metadata([])).brokers:
            request = ListGroupsRequest(states_filter=list(states), types_filter=list(types))
            response = await client.send(request, ListGroupsResponse, node_id=broker.node_id)
            check(response.error_code)
            found += response.groups
        return found

    groups = sorted(run(bootstrap_server, work), key=lambda each: each.group_id)
    if not groups:
        note("There are no groups." if not states and not types else "There are no such groups.")
        return
    rows = [(each.group_id, each.group_state, each.group_type, each.protocol_type) for each in groups]
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
    described = await describe_group(client, group_id)
    members = [
        (group_id, member.member_id, member.client_id, member.host, _places_text(member.assigned))
        for member in described.members
    ]
    note(f"{group_id}: {described.state}, {len(members)} members")
    if members:
        print_table(("Group", "Member", "Client", "Host", "Partitions"), members)
    rows = await _offset_rows(client, described)
    if rows:
        print_table(("Group", "Topic", "Partition", "Committed", "End offset", "Lag", "Member"), rows)


async def _offset_rows(client: Client, described: GroupDescription) -> list[tuple[object, ...]]:
    owners = {place: member.member_id for member in described.members for place in member.assigned}
    rows: list[tuple[object, ...]] = []
    committed = await committed_offsets(client, described.group_id, described.coordinator)
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


def _places_text(places: Iterable[Place]) -> str:
    by_topic: dict[str, list[int]] = {}
    for topic, number in places:
        by_topic.setdefault(topic, []).append(number)
    return " ".join(f"{topic}[{','.join(map(str, sorted(numbers)))}]" for topic, numbers in sorted(by_topic.items()))
