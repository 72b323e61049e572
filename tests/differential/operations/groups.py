"""Classic groups, their offsets, and what administrators ask of groups of either protocol."""

from __future__ import annotations

import struct
from random import Random

from odradek.wire.messages.consumer_protocol import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)
from odradek.wire.messages.delete_groups import DeleteGroupsRequest
from odradek.wire.messages.describe_groups import DescribeGroupsRequest
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest
from odradek.wire.messages.heartbeat import HeartbeatRequest
from odradek.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse
from odradek.wire.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse, MemberIdentity
from odradek.wire.messages.list_groups import ListGroupsRequest
from odradek.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from odradek.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from odradek.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from odradek.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from odradek.wire.schema import Message
from tests.differential.operations.registry import operation
from tests.differential.world import Member, Step, World

SESSION_MS = 120_000
ERROR_MEMBER_ID_REQUIRED = 79


@operation(3)
def join_group(random: Random, world: World) -> list[Step]:
    idle = [member for member in world.members if not member.is_joining]
    if idle and random.random() < 0.5:
        member = random.choice(idle)
    else:
        number = len(world.members)
        instance = f"i{random.randrange(3)}" if random.random() < 0.3 else None
        member = Member(random.choice(world.groups), f"member-{number}", instance=instance)
    return [_join(random, world, member)]


def _join(random: Random, world: World, member: Member) -> Step:
    request = JoinGroupRequest(
        group_id=member.group,
        session_timeout_ms=SESSION_MS if random.random() < 0.95 else random.choice((1, 0, -1, 1 << 30)),
        rebalance_timeout_ms=SESSION_MS,
        member_id=member.member_id,
        group_instance_id=member.instance,
        protocol_type="consumer" if random.random() < 0.95 else random.choice(("connect", "")),
        protocols=[
            JoinGroupRequestProtocol(name=name, metadata=_subscription(random, world))
            for name in random.choice((["range"], ["range"], ["range", "sticky"], ["sticky", "range"], ["own"], []))
        ],
    )
    version = random.randint(0, 9)
    if member.instance is not None:
        version = random.randint(5, 9)
    if version >= 8:
        request.reason = random.choice((None, "", "why"))
    member.is_joining = True

    def note(answer: Message) -> None:
        member.is_joining = False
        assert isinstance(answer, JoinGroupResponse)
        if answer.error_code in (0, ERROR_MEMBER_ID_REQUIRED):
            member.member_id = answer.member_id
            member.epoch = answer.generation_id
            if member not in world.members:
                world.members.append(member)

    return Step(request, version=version, then=note, channel=member.channel, may_wait=True)


def _subscription(random: Random, world: World) -> bytes:
    """What a consumer says of itself in the classic protocol."""
    topics = sorted({world.topic(random).name for _ in range(random.choice((1, 1, 2)))})
    version = random.choice((0, 1, 3))
    said = ConsumerProtocolSubscription(topics=topics, user_data=None)
    return struct.pack(">h", version) + said.encode(version)


def _assignment(topic: str) -> bytes:
    partitions = [ConsumerProtocolAssignmentTopicPartition(topic=topic, partitions=[0])]
    return struct.pack(">h", 0) + ConsumerProtocolAssignment(assigned_partitions=partitions, user_data=None).encode(0)


def _member(random: Random, world: World) -> Member | None:
    return random.choice(world.members) if world.members else None


def _identity(random: Random, world: World, member: Member) -> tuple[str, int, str | None]:
    """Seldom not the member's own."""
    how = random.random()
    if how < 0.05:
        return member.member_id, max(member.epoch + random.choice((-1, 1)), -1), member.instance
    if how < 0.08:
        return random.choice(("", world.nobody)), member.epoch, member.instance
    if how < 0.1:
        return member.member_id, member.epoch, random.choice(("i0", "i1", None))
    return member.member_id, member.epoch, member.instance


@operation(3)
def sync_group(random: Random, world: World) -> list[Step]:
    member = _member(random, world)
    if member is None:
        return []
    member_id, epoch, instance = _identity(random, world, member)
    of_group = [other for other in world.members if other.group == member.group and other.member_id]
    request = SyncGroupRequest(
        group_id=member.group,
        generation_id=epoch,
        member_id=member_id,
        group_instance_id=instance,
        protocol_type=random.choice((None, "consumer", "consumer", "other")) if random.random() < 0.2 else "consumer",
        protocol_name=random.choice((None, "range", "own")) if random.random() < 0.2 else "range",
        assignments=[
            SyncGroupRequestAssignment(member_id=other.member_id, assignment=_assignment(world.topics[0].name))
            for other in of_group
        ]
        if random.random() < 0.6
        else [],
    )
    version = random.randint(0, 5) if instance is None else random.randint(3, 5)
    return [Step(request, version=version, channel=member.channel, may_wait=True)]


@operation(2)
def heartbeat(random: Random, world: World) -> list[Step]:
    member = _member(random, world)
    if member is None:
        return []
    member_id, epoch, instance = _identity(random, world, member)
    request = HeartbeatRequest(
        group_id=member.group, generation_id=epoch, member_id=member_id, group_instance_id=instance
    )
    return [Step(request, version=random.randint(0, 4) if instance is None else random.choice((3, 4)))]


@operation(1)
def leave_group(random: Random, world: World) -> list[Step]:
    member = _member(random, world)
    if member is None:
        return []
    version = random.randint(0, 5)
    if version < 3:
        request = LeaveGroupRequest(group_id=member.group, member_id=member.member_id)
        return [Step(request, version=version)]
    leaving = [member] if random.random() < 0.8 else random.sample(world.members, min(2, len(world.members)))
    identities = [
        MemberIdentity(
            member_id=one.member_id if one.instance is None or random.random() < 0.5 else "",
            group_instance_id=one.instance if random.random() < 0.9 else random.choice(("i0", None)),
        )
        for one in leaving
    ]

    def note(answer: Message) -> None:
        assert isinstance(answer, LeaveGroupResponse)
        for one, result in zip(leaving, answer.members, strict=False):
            if result.error_code == 0 and random.random() < 0.5 and one in world.members and not one.is_joining:
                one.member_id = ""

    return [Step(LeaveGroupRequest(group_id=member.group, members=identities), version=version, then=note)]


@operation(4)
def offset_commit(random: Random, world: World) -> list[Step]:
    topics: dict[str, OffsetCommitRequestTopic] = {}
    for _ in range(random.choice((1, 1, 2, 3))):
        topic = world.topic(random)
        data = topics.setdefault(topic.name, OffsetCommitRequestTopic(name=topic.name, topic_id=topic.wire_id))
        data.partitions.append(
            OffsetCommitRequestPartition(
                partition_index=world.partition(topic, random),
                committed_offset=random.choice((0, 1, 5, 100, -1)),
                committed_leader_epoch=random.choice((-1, 0, 1)),
                committed_metadata=random.choice((None, "", "m", "x" * 4096, "x" * 4097)),
            )
        )
    request = OffsetCommitRequest(group_id=random.choice(world.groups), topics=list(topics.values()))
    version = random.randint(2, 10)
    members = [*world.members, *world.consumers]
    if members and random.random() < 0.5:
        member = random.choice(members)
        request.group_id = member.group
        request.member_id, request.generation_id_or_member_epoch, instance = _identity(random, world, member)
        if instance is not None:
            request.group_instance_id = instance
            version = random.randint(7, 10)
    return [Step(request, version=version)]


@operation(4)
def offset_fetch(random: Random, world: World) -> list[Step]:
    version = random.randint(1, 10)
    wanted = [world.topic(random) for _ in range(random.choice((1, 1, 2)))]
    indexes = [sorted({world.partition(topic, random) for _ in range(2)}) for topic in wanted]
    everything = version >= 2 and random.random() < 0.3
    request = OffsetFetchRequest(require_stable=version >= 7 and random.random() < 0.3)
    if version < 8:
        request.group_id = random.choice(world.groups)
        request.topics = [
            OffsetFetchRequestTopic(name=topic.name, partition_indexes=some)
            for topic, some in zip(wanted, indexes, strict=True)
        ]
        if everything:
            request.topics = None
        return [Step(request, version=version)]
    for group in random.sample(world.groups, random.choice((1, 1, 2))):
        asked = OffsetFetchRequestGroup(group_id=group, topics=None)
        if not everything:
            asked.topics = [
                OffsetFetchRequestTopics(name=topic.name, topic_id=topic.wire_id, partition_indexes=some)
                for topic, some in zip(wanted, indexes, strict=True)
            ]
        members = [member for member in (*world.members, *world.consumers) if member.group == group]
        if version >= 9 and members and random.random() < 0.5:
            member = random.choice(members)
            asked.member_id, asked.member_epoch, _ = _identity(random, world, member)
        request.groups.append(asked)
    return [Step(request, version=version)]


@operation(1)
def offset_delete(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    wanted = OffsetDeleteRequestPartition(partition_index=world.partition(topic, random))
    request = OffsetDeleteRequest(
        group_id=random.choice(world.groups),
        topics=[OffsetDeleteRequestTopic(name=topic.name, partitions=[wanted])],
    )
    return [Step(request)]


@operation(1.5)
def describe_groups(random: Random, world: World) -> list[Step]:
    groups = random.sample([*world.groups, world.nobody], random.choice((1, 1, 2)))
    version = random.randint(0, 6)
    return [
        Step(
            DescribeGroupsRequest(groups=groups, include_authorized_operations=version >= 3 and random.random() < 0.2),
            version=version,
        )
    ]


@operation(0.7)
def list_groups(random: Random, world: World) -> list[Step]:
    version = random.randint(0, 5)
    request = ListGroupsRequest()
    if version >= 4:
        request.states_filter = random.choice(([], [], ["Stable"], ["Empty", "dead"], ["stable"], ["Nothing"]))
    if version >= 5:
        request.types_filter = random.choice(([], [], ["classic"], ["consumer"], ["Consumer"], ["nothing"]))
    return [Step(request, version=version)]


@operation(0.5)
def delete_groups(random: Random, world: World) -> list[Step]:
    groups = random.sample([*world.groups, world.nobody, ""], random.choice((1, 1, 2)))
    return [Step(DeleteGroupsRequest(groups_names=groups))]


@operation(1)
def find_coordinator(random: Random, world: World) -> list[Step]:
    version = random.randint(0, 6)
    keys = [random.choice((*world.groups, *world.transactional_ids, "")) for _ in range(random.choice((1, 2)))]
    request = FindCoordinatorRequest(key_type=random.choice((0, 0, 1, 1, 3)) if version >= 1 else 0)
    if version < 4:
        request.key = keys[0]
    else:
        request.coordinator_keys = keys
    return [Step(request, version=version)]
