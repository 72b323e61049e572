"""Groups of either protocol, described in one way, and their committed offsets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from odradek.cli.session import check
from odradek.net.client import Client, UnsupportedApiError
from odradek.wire import ErrorCode, ProtocolError
from odradek.wire.messages.consumer_group_describe import (
    Assignment,
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
)
from odradek.wire.messages.consumer_protocol import ConsumerProtocolAssignment
from odradek.wire.messages.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
)
from odradek.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse

Place = tuple[str, int]
"""A topic and a partition."""
LAST_VERSION_BY_NAME = 9
"""From the next version on, OffsetCommit and OffsetFetch name topics by id only."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member and what it reads."""

    member_id: str
    client_id: str
    host: str
    assigned: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """A group of the classic or the consumer protocol (KIP-848)."""

    group_id: str
    state: str
    members: tuple[GroupMember, ...]
    coordinator: int
    """The id of the broker that coordinates it."""


async def describe_group(client: Client, group_id: str) -> GroupDescription:
    """Ask for a consumer group first, as Kafka's admin client does. Raises KafkaError, ClientError."""
    coordinator = await client.group_coordinator(group_id)
    description = await _describe_consumer_group(client, group_id, coordinator)
    return description or await _describe_classic_group(client, group_id, coordinator)


async def committed_offsets(client: Client, group_id: str, coordinator: int) -> dict[Place, int]:
    """All offsets that a group has committed. Raises KafkaError, ClientError."""
    connection = await client.node(coordinator)
    version = min(connection.version(OffsetFetchRequest), LAST_VERSION_BY_NAME)
    request = OffsetFetchRequest()
    if version >= 8:
        request.groups = [OffsetFetchRequestGroup(group_id=group_id, topics=None)]
    else:
        request.group_id, request.topics = group_id, None
    response = await connection.send(request, OffsetFetchResponse, version=version)
    found: dict[Place, int] = {}
    if version >= 8:
        check(response.groups[0].error_code)
        for topic in response.groups[0].topics:
            found |= {(topic.name, each.partition_index): each.committed_offset for each in topic.partitions}
    else:
        check(response.error_code)
        for old in response.topics:
            found |= {(old.name, each.partition_index): each.committed_offset for each in old.partitions}
    return {place: offset for place, offset in found.items() if offset >= 0}


async def commit_offsets(client: Client, group_id: str, coordinator: int, offsets: Mapping[Place, int]) -> None:
    """Set offsets of a group without members. Raises KafkaError for the first that is refused, ClientError."""
    by_topic: dict[str, list[OffsetCommitRequestPartition]] = {}
    for (topic, number), offset in offsets.items():
        partition = OffsetCommitRequestPartition(partition_index=number, committed_offset=offset, committed_metadata="")
        by_topic.setdefault(topic, []).append(partition)
    topics = [OffsetCommitRequestTopic(name=name, partitions=partitions) for name, partitions in by_topic.items()]
    connection = await client.node(coordinator)
    version = min(connection.version(OffsetCommitRequest), LAST_VERSION_BY_NAME)
    request = OffsetCommitRequest(group_id=group_id, topics=topics)
    response = await connection.send(request, OffsetCommitResponse, version=version)
    for answer in response.topics:
        for result in answer.partitions:
            check(result.error_code)


async def _describe_consumer_group(client: Client, group_id: str, coordinator: int) -> GroupDescription | None:
    """None if it is of another protocol, or the broker knows only the classic one."""
    request = ConsumerGroupDescribeRequest(group_ids=[group_id])
    try:
        response = await client.send(request, ConsumerGroupDescribeResponse, node_id=coordinator)
    except UnsupportedApiError:
        return None
    described = response.groups[0]
    if described.error_code in (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION):
        return None
    check(described.error_code, described.error_message)
    members = tuple(
        GroupMember(member.member_id, member.client_id, member.client_host, tuple(_places(member.assignment)))
        for member in described.members
    )
    return GroupDescription(group_id, described.group_state, members, coordinator)


async def _describe_classic_group(client: Client, group_id: str, coordinator: int) -> GroupDescription:
    response = await client.send(DescribeGroupsRequest(groups=[group_id]), DescribeGroupsResponse, node_id=coordinator)
    described = response.groups[0]
    check(described.error_code, described.error_message)
    members = tuple(
        GroupMember(member.member_id, member.client_id, member.client_host, tuple(_assigned(member.member_assignment)))
        for member in described.members
    )
    return GroupDescription(group_id, described.group_state, members, coordinator)


def _places(assignment: Assignment) -> Iterator[Place]:
    for topic in assignment.topic_partitions:
        for number in topic.partitions:
            yield topic.topic_name, number


def _assigned(assignment: bytes) -> Iterator[Place]:
    """The partitions in a classic consumer's assignment; nothing for members of other protocols."""
    if len(assignment) < 2:
        return
    version = min(int.from_bytes(assignment[:2], "big"), ConsumerProtocolAssignment.MAX_VERSION)
    with contextlib.suppress(ProtocolError):
        decoded, _ = ConsumerProtocolAssignment.decode_prefix(assignment, version, 2)
        for topic in decoded.assigned_partitions:
            for number in topic.partitions:
                yield topic.topic, number
