"""Looking at groups from within the nodes: what `Host.call` runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from odradek.broker.groups.consumer.protocol import read_assignment, read_subscription
from odradek.broker.groups.descriptions import CLASSIC_TYPE, CONSUMER_TYPE, FIRST_WITH_GROUP_ID_NOT_FOUND
from odradek.broker.groups.offset_store import TopicAndPartition
from odradek.broker.groups.options import GROUP_METADATA_TOPIC
from odradek.broker.groups.shard import GroupShard
from odradek.node.broker_part import BrokerPart
from odradek.storage.topic_partition import TopicPartition
from odradek.testing.cluster import Cluster, result_of
from odradek.testing.inspection import coordinating, leading, when_loaded
from odradek.testing.states import GroupInfo, GroupMember
from odradek.wire.errors import KafkaError, ProtocolError
from odradek.wire.messages.consumer_group_describe import Assignment
from odradek.wire.messages.consumer_group_describe import DescribedGroup as DescribedConsumerGroup
from odradek.wire.messages.describe_groups import DescribedGroup


async def groups(cluster: Cluster) -> dict[str, str]:
    """The states of all groups, by id."""
    found: dict[str, str] = {}
    for node in cluster.nodes.values():
        coordinator = node.node.broker.groups
        for group in await when_loaded(cluster, lambda: result_of(coordinator.list_groups((), ()))):  # noqa: B023 - at once
            found[group.group_id] = group.group_state
    return dict(sorted(found.items()))


async def find_group(cluster: Cluster, group_id: str) -> GroupInfo:
    """The group, which may be none."""

    async def look() -> GroupInfo:
        broker = coordinating(cluster, GROUP_METADATA_TOPIC, lambda each: each.groups.partition_for(group_id))
        return GroupInfo(group_id) if broker is None else await _look(cluster, broker, group_id)

    return await when_loaded(cluster, look)


async def _look(cluster: Cluster, broker: BrokerPart, group_id: str) -> GroupInfo:
    coordinator = broker.groups
    shard = TopicPartition(GROUP_METADATA_TOPIC, coordinator.partition_for(group_id))

    def describe(shard: GroupShard) -> GroupInfo:
        group = _described(shard, group_id)
        offsets = shard.offsets.readable_items(group_id, latest=False) if group.exists else []
        return with_offsets(cluster, group, ((key, committed.offset) for key, committed in offsets))

    return await result_of(coordinator.runtime.read(shard, describe))


def _described(shard: GroupShard, group_id: str) -> GroupInfo:
    (classic,) = shard.descriptions.describe([group_id], FIRST_WITH_GROUP_ID_NOT_FOUND)
    if not classic.error_code:
        group = shard.table.classic(group_id)
        return _classic_info(classic, -1 if group is None else group.generation)
    consumer = shard.consumers.describe(group_id)
    return GroupInfo(group_id) if consumer.error_code else _consumer_info(consumer)


def _classic_info(group: DescribedGroup, generation: int) -> GroupInfo:
    members = tuple(
        GroupMember(
            member.member_id,
            member.client_id,
            member.client_host,
            member.group_instance_id,
            _subscription(member.member_metadata),
            _classic_assignment(member.member_assignment),
        )
        for member in group.members
    )
    return GroupInfo(group.group_id, group.group_state, CLASSIC_TYPE, generation, group.protocol_data, members)


def _subscription(metadata: bytes) -> tuple[str, ...]:
    """The topics of a member that speaks the consumer protocol; others have some of their own."""
    try:
        return tuple(read_subscription(metadata).topics)
    except ProtocolError:
        return ()


def _classic_assignment(content: bytes) -> Mapping[str, tuple[int, ...]]:
    try:
        assigned = read_assignment(content).assigned_partitions
    except ProtocolError:
        return {}
    return {topic.topic: tuple(sorted(topic.partitions)) for topic in assigned if topic.partitions}


def _consumer_info(group: DescribedConsumerGroup) -> GroupInfo:
    members = tuple(
        GroupMember(
            member.member_id,
            member.client_id,
            member.client_host,
            member.instance_id,
            tuple(member.subscribed_topic_names),
            _consumer_assignment(member.assignment),
        )
        for member in group.members
    )
    return GroupInfo(group.group_id, group.group_state, CONSUMER_TYPE, group.group_epoch, group.assignor_name, members)


def _consumer_assignment(assignment: Assignment) -> Mapping[str, tuple[int, ...]]:
    return {each.topic_name: tuple(sorted(each.partitions)) for each in assignment.topic_partitions if each.partitions}


def with_offsets(cluster: Cluster, group: GroupInfo, offsets: Iterable[tuple[TopicAndPartition, int]]) -> GroupInfo:
    """The group with what it has committed, and its lag."""
    committed: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in sorted(offsets):
        committed.setdefault(topic, {})[partition] = offset
    topics = dict.fromkeys(committed)
    for member in group.members:
        topics.update(dict.fromkeys((*member.assignment, *member.subscription)))
    lag = {topic: _lag(cluster, topic, committed.get(topic, {})) for topic in sorted(topics)}
    return GroupInfo(
        group.group_id, group.state, group.type, group.generation, group.assignor, group.members, committed,
        {topic: partitions for topic, partitions in lag.items() if partitions},
    )  # fmt: skip


def _lag(cluster: Cluster, name: str, committed: Mapping[int, int]) -> dict[int, int]:
    """By partition, of those that exist and have a leader."""
    topic = cluster.image().topics.by_name.get(name)
    found: dict[int, int] = {}
    for index, image in [] if topic is None else sorted(topic.partitions.items()):
        try:
            log = leading(cluster, name, index, image).leader_log()
        except KafkaError:
            continue
        found[index] = max(0, log.high_watermark - max(committed.get(index, 0), log.log_start_offset))
    return found
