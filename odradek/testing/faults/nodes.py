"""Nodes that crash, stand still, or are cut off."""

from __future__ import annotations

import errno

from odradek.testing.defaults import BROKER
from odradek.testing.disk import DiskFault
from odradek.testing.faults.begun import End, Scene, nothing
from odradek.testing.faults.decisions import fall_behind, fence_node, in_sync
from odradek.testing.faults.specs import Crash, Disconnect, DiskError, DiskFull, Isolate, Pause, ShrinkIsr


async def crash(scene: Scene, spec: Crash) -> End:
    """Kill a node; the end starts it again."""
    cluster = scene.cluster
    _check(scene, spec.node)
    scene.on_hit()
    await cluster.crash(spec.node, power_cut=spec.power_cut)
    if spec.noticed:
        await fence_node(cluster, spec.node)

    async def end() -> None:
        await cluster.restart(spec.node)

    return end


async def pause(scene: Scene, spec: Pause) -> End:
    """Stop a node where it is; the end lets it go on."""
    _check(scene, spec.node)
    gate = scene.cluster.grounds[spec.node].gate
    scene.on_hit()
    gate.pause()
    if spec.noticed:
        await fence_node(scene.cluster, spec.node)

    async def end() -> None:
        gate.resume()

    return end


async def disconnect(scene: Scene, spec: Disconnect) -> End:
    """End all connections to the listener of clients."""
    _check(scene, spec.node)
    for _ in range(scene.cluster.nodes[spec.node].cut_connections(BROKER)):
        scene.on_hit()
    return nothing


async def isolate(scene: Scene, spec: Isolate) -> End:
    """Cut nodes off from the others."""
    cluster = scene.cluster
    for node_id in spec.nodes:
        _check(scene, node_id)
    cluster.links.cut_off(scene.fault_id, frozenset(spec.nodes))
    scene.on_hit()
    for ground in list(cluster.grounds.values()):
        ground.cut()
    if spec.noticed:
        for node_id in spec.nodes:
            await fence_node(cluster, node_id)

    async def end() -> None:
        cluster.links.mend(scene.fault_id)

    return end


async def shrink_isr(scene: Scene, spec: ShrinkIsr) -> End:
    """Let a follower fall behind; the end waits until it is in sync again."""
    cluster = scene.cluster
    _check(scene, spec.node)
    if spec.topic is not None and spec.topic not in cluster.image().topics.by_name:
        raise ValueError(f"there is no topic {spec.topic}")
    cluster.links.stop_fetching(scene.fault_id, spec.node)
    cluster.grounds[spec.node].cut()
    try:
        shrunk = await fall_behind(cluster, spec.node, spec.topic)
    except BaseException:
        cluster.links.mend(scene.fault_id)
        raise
    scene.on_hit()

    async def end() -> None:
        cluster.links.mend(scene.fault_id)
        await in_sync(cluster, spec.node, shrunk)

    return end


async def fail_disk(scene: Scene, spec: DiskFull | DiskError) -> End:
    """Let a node's disk fail; the end mends it, and starts the node again if it has stopped meanwhile."""
    cluster = scene.cluster
    _check(scene, spec.node)
    disk = cluster.disks[spec.node]
    error = errno.ENOSPC if isinstance(spec, DiskFull) else errno.EIO
    disk.fail(scene.fault_id, DiskFault(error, spec.topic, scene.on_hit))

    async def end() -> None:
        disk.mend(scene.fault_id)
        await cluster.restart(spec.node)

    return end


def _check(scene: Scene, node_id: int) -> None:
    """Raise ValueError if there is no such node, RuntimeError if it does not run."""
    if node_id not in scene.cluster.grounds:
        raise ValueError(f"there is no node {node_id}")
    if node_id not in scene.cluster.nodes:
        raise RuntimeError(f"node {node_id} does not run")
