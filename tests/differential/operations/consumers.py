"""Groups of KIP-848, heartbeat by heartbeat."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from odradek.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from odradek.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse,
)
from odradek.wire.schema import Message
from odradek.wire.uuids import uuid_to_string
from tests.differential.operations.registry import operation
from tests.differential.world import Member, Step, World


@operation(1.5)
def consumer_joins(random: Random, world: World) -> list[Step]:
    back = [member for member in world.consumers if member.epoch < 0]
    if back and random.random() < 0.5:
        member = random.choice(back)
    else:
        instance = f"c{random.randrange(2)}" if random.random() < 0.25 else None
        member = Member(random.choice(world.groups), "main", uuid_to_string(random.randbytes(16)), instance)
    version = random.choice((0, 1, 1))
    member_id = member.member_id if version == 1 or random.random() < 0.7 else ""
    request = ConsumerGroupHeartbeatRequest(
        group_id=member.group,
        member_id=member_id,
        member_epoch=0,
        instance_id=member.instance,
        rebalance_timeout_ms=120_000 if random.random() < 0.95 else -1,
        subscribed_topic_names=sorted({world.topic(random).name for _ in range(random.choice((1, 1, 2)))}),
        topic_partitions=[],
    )
    if random.random() < 0.15:
        request.server_assignor = random.choice(("uniform", "range", "nothing"))
    if random.random() < 0.1:
        request.rack_id = random.choice(("", "a"))
    if version == 1 and random.random() < 0.1:
        request.subscribed_topic_regex = random.choice(("", "["))
    return [Step(request, version=version, then=_note(world, member))]


def _note(world: World, member: Member) -> Callable[[Message], None]:
    def note(answer: Message) -> None:
        assert isinstance(answer, ConsumerGroupHeartbeatResponse)
        if answer.error_code == 0:
            member.epoch = answer.member_epoch
            member.member_id = answer.member_id or member.member_id
            if answer.assignment is not None:
                member.owned = {
                    topic.topic_id: sorted(topic.partitions) for topic in answer.assignment.topic_partitions
                }
            if member not in world.consumers:
                world.consumers.append(member)
        elif member.epoch >= 0:
            member.epoch = -1

    return note


@operation(5)
def consumer_beats(random: Random, world: World) -> list[Step]:
    joined = [member for member in world.consumers if member.epoch >= 0]
    if not joined:
        return []
    member = random.choice(joined)
    request = ConsumerGroupHeartbeatRequest(
        group_id=member.group, member_id=member.member_id, member_epoch=member.epoch, instance_id=member.instance
    )
    if random.random() < 0.7:
        request.topic_partitions = [
            ConsumerGroupHeartbeatRequestTopicPartitions(topic_id=topic_id, partitions=list(partitions))
            for topic_id, partitions in member.owned.items()
        ]
    if random.random() < 0.15:
        request.subscribed_topic_names = sorted({world.topic(random).name for _ in range(random.choice((0, 1, 2)))})
    if random.random() < 0.05:
        request.member_epoch = max(member.epoch + random.choice((-1, 1)), 0)
    if random.random() < 0.03:
        request.instance_id = random.choice(("c0", "c1"))
    if random.random() < 0.05:
        request.rebalance_timeout_ms = 130_000
    return [Step(request, version=1, then=_note(world, member))]


@operation(0.7)
def consumer_leaves(random: Random, world: World) -> list[Step]:
    joined = [member for member in world.consumers if member.epoch >= 0]
    if not joined:
        return []
    member = random.choice(joined)
    request = ConsumerGroupHeartbeatRequest(
        group_id=member.group,
        member_id=member.member_id,
        member_epoch=-1 if member.instance is None or random.random() < 0.4 else -2,
        instance_id=member.instance,
    )
    return [Step(request, then=_note(world, member))]


@operation(1.5)
def consumer_group_describe(random: Random, world: World) -> list[Step]:
    groups = random.sample([*world.groups, world.nobody], random.choice((1, 1, 2)))
    return [Step(ConsumerGroupDescribeRequest(group_ids=groups))]
