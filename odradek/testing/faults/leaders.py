"""Leaders and coordinators that move, or are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odradek.metadata.image import NO_LEADER, PartitionImage
from odradek.metadata.topic_names import GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC
from odradek.testing.faults.begun import End, Scene
from odradek.testing.faults.decisions import partition_of, set_leader
from odradek.testing.faults.specs import MoveCoordinator, MoveLeader, WithoutCoordinator, WithoutLeader

if TYPE_CHECKING:
    from odradek.testing.cluster import Cluster


async def move_leader(scene: Scene, spec: MoveLeader) -> End:
    """Let another replica lead."""
    return await _move(scene, spec.topic, spec.partition, spec.to)


async def move_coordinator(scene: Scene, spec: MoveCoordinator) -> End:
    """Let another node coordinate."""
    return await _move(scene, *coordinator_partition(scene.cluster, spec.group, spec.transactional_id), spec.to)


async def without_leader(scene: Scene, spec: WithoutLeader) -> End:
    """Let nobody lead."""
    return await _remove(scene, spec.topic, spec.partition)


async def without_coordinator(scene: Scene, spec: WithoutCoordinator) -> End:
    """Let nobody coordinate."""
    return await _remove(scene, *coordinator_partition(scene.cluster, spec.group, spec.transactional_id))


def coordinator_partition(cluster: Cluster, group: str | None, transactional_id: str | None) -> tuple[str, int]:
    """The internal topic and its partition that a group or a transactional id is on; raises ValueError."""
    if (group is None) is (transactional_id is None):
        raise ValueError("say which group or which transactional_id it is")
    broker = next(iter(cluster.nodes.values())).node.broker
    if group is not None:
        topic, partition = GROUP_METADATA_TOPIC, broker.groups.partition_for(group)
    else:
        topic, partition = TRANSACTION_STATE_TOPIC, broker.transactions.partition_for(transactional_id or "")
    if topic not in cluster.image().topics.by_name:
        raise ValueError(f"{group or transactional_id} has no coordinator yet: {topic} is created when it is needed")
    return topic, partition


async def _move(scene: Scene, topic: str, partition: int, to: int | None) -> End:
    cluster = scene.cluster
    before = partition_of(cluster.image(), topic, partition)
    able = [each for each in _able(cluster, before) if each != before.leader]
    if to is None and not able:
        raise ValueError(f"nobody but node {before.leader} can lead {topic}-{partition}")
    if to is not None and to not in able:
        raise ValueError(f"node {to} cannot come to lead {topic}-{partition}: it leads already, or is not in sync")
    await set_leader(cluster, topic, partition, able[0] if to is None else to)
    scene.on_hit()

    async def end() -> None:
        await _give_back(cluster, topic, partition, before.leader)

    return end


async def _remove(scene: Scene, topic: str, partition: int) -> End:
    cluster = scene.cluster
    before = partition_of(cluster.image(), topic, partition)
    await set_leader(cluster, topic, partition, NO_LEADER)
    scene.on_hit()

    async def end() -> None:
        await _give_back(cluster, topic, partition, before.leader)

    return end


async def _give_back(cluster: Cluster, topic: str, partition: int, leader: int) -> None:
    """Let the node lead that did before, or if it cannot and nobody leads, another one."""
    found = cluster.image().topics.by_name.get(topic)
    now = None if found is None else found.partitions.get(partition)
    if now is None or now.leader == leader:
        return
    able = _able(cluster, now)
    if leader in able:
        await set_leader(cluster, topic, partition, leader)
    elif now.leader == NO_LEADER and able:
        await set_leader(cluster, topic, partition, able[0])


def _able(cluster: Cluster, partition: PartitionImage) -> list[int]:
    brokers = cluster.image().cluster.brokers
    return [each for each in partition.replicas if each in partition.isr and brokers[each].is_active]
