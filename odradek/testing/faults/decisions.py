"""What faults have the active controller decide."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from odradek.broker.replication.partition import Partition
from odradek.controller.brokers import fence
from odradek.controller.controller import Controller
from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.metadata.image import MetadataImage, PartitionImage
from odradek.metadata.snapshot import VersionedRecord
from odradek.metadata.versions import partition_version
from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord

if TYPE_CHECKING:
    from odradek.testing.cluster import Cluster

R = TypeVar("R")

LOOK_S = 0.005
TURNS = 6
"""Of the loop: how many it takes a request of one node to come to another, and some more."""
PATIENCE_S = 20.0
"""How long a controller is waited for; an election takes `controller.quorum.fetch.timeout.ms`."""
FOLLOW_S = 5.0
"""How long it is waited until nodes have heard of a decision, which those that are cut off do not."""


async def result(promise: Promise[R]) -> R:
    """What a promise of the state machines comes to."""
    done = asyncio.Event()
    promise.on_done(lambda _promise: done.set())
    await done.wait()
    return promise.result()


async def decide(cluster: Cluster, decision: Callable[[ControllerState], ControllerResult[R]]) -> R:
    """Have the active controller decide, and wait until that is committed and known; raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            controller = _active_controller(cluster)
            if controller is not None:
                try:
                    await result(controller.when_active())
                    decided = await result(controller.submit(decision))
                    break
                except KafkaError as error:
                    if error.code is not ErrorCode.NOT_CONTROLLER:
                        raise
            await asyncio.sleep(LOOK_S)
    await known(cluster, controller.image.offset)
    return decided


async def known(cluster: Cluster, offset: int) -> None:
    """Wait until all nodes that run and reach each other know the metadata up to an offset; at most `FOLLOW_S`."""
    until_s = asyncio.get_running_loop().time() + FOLLOW_S
    while asyncio.get_running_loop().time() < until_s:
        images = [node.node.quorum.loader.image for node_id, node in cluster.nodes.items() if cluster.is_well(node_id)]
        if all(image.offset >= offset for image in images):
            return
        await asyncio.sleep(LOOK_S)


def partition_of(image: MetadataImage, topic: str, partition: int) -> PartitionImage:
    """A partition; raises ValueError if there is none."""
    found = image.topics.by_name.get(topic)
    one = None if found is None else found.partitions.get(partition)
    if one is None:
        raise ValueError(f"there is no partition {topic}-{partition}")
    return one


async def set_leader(cluster: Cluster, topic: str, partition: int, leader: int) -> None:
    """Let a replica lead that is in sync, or with NO_LEADER nobody."""

    def lead(state: ControllerState) -> ControllerResult[None]:
        found = state.image.topics.by_name.get(topic)
        if found is None or partition not in found.partitions:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        change = PartitionChangeRecord(topic_id=found.id, partition_id=partition, leader=leader)
        record = VersionedRecord(change, partition_version(state.writing.metadata_version))
        return ControllerResult(None, [record])

    await decide(cluster, lead)


async def fall_behind(cluster: Cluster, node_id: int, topic: str | None) -> list[tuple[str, int]]:
    """Let leaders find that a follower lags, in a topic's partitions or all, as if it had long done so.

    Returns which those are, once it is out of sync in them; raises TimeoutError.
    """
    for _ in range(TURNS):
        await asyncio.sleep(0)  # what it has asked before arrives
    fallen: dict[tuple[str, int], None] = {}
    async with asyncio.timeout(PATIENCE_S):
        while True:
            lagging = []
            for partition in _replicas(cluster):
                leadership, name = partition.leadership, partition.topic_partition
                follower = None if leadership is None else leadership.followers.get(node_id)
                if leadership is None or follower is None or topic not in (None, name.topic):
                    continue
                if node_id in leadership.isr:
                    lagging.append((name.topic, name.partition))
                    follower.reset(0.0, 0, is_new_leader=True, is_in_sync=False)
                    partition.shrink_isr()
            fallen.update(dict.fromkeys(lagging))
            if not lagging:
                break
            await asyncio.sleep(LOOK_S)
    await known(cluster, cluster.image().offset)
    return list(fallen)


def _replicas(cluster: Cluster) -> list[Partition]:
    """What any node has a replica of."""
    return [
        partition
        for running in cluster.nodes.values()
        for partition in running.node.broker.replicas.partitions.values()
    ]


async def in_sync(cluster: Cluster, node_id: int, partitions: Iterable[tuple[str, int]]) -> None:
    """Wait until a node is in sync again in partitions that still are; at most `PATIENCE_S`."""
    until_s = asyncio.get_running_loop().time() + PATIENCE_S
    while asyncio.get_running_loop().time() < until_s and cluster.nodes:
        by_name = cluster.image().topics.by_name
        there = [by_name[topic].partitions.get(index) for topic, index in partitions if topic in by_name]
        if all(each is None or node_id in each.isr or node_id not in each.replicas for each in there):
            return
        await asyncio.sleep(LOOK_S)


async def fence_node(cluster: Cluster, node_id: int) -> None:
    """Let a node's session end now, as far as a majority of controllers is there to decide that."""
    if not cluster.has_majority_without(node_id):
        return

    def end_session(state: ControllerState) -> ControllerResult[None]:
        broker = state.image.cluster.brokers.get(node_id)
        state.sessions.remove(node_id)
        records = [] if broker is None or broker.fenced else fence(state, broker)
        return ControllerResult(None, records, is_atomic=False)

    await decide(cluster, end_session)


def _active_controller(cluster: Cluster) -> Controller | None:
    for node_id, running in cluster.nodes.items():
        if cluster.is_well(node_id) and running.node.controller.controller.is_active:
            return running.node.controller.controller
    return None
