"""Operations on nodes: health, state, reset, and their clock."""

from __future__ import annotations

from typing import Any

from odradek import __version__
from odradek.control.operations import Call, ControlError, Controlled, Operation
from odradek.control.schemas import BOOLEAN, INTEGER, NUMBER, STRING, array, mapping, record, ref
from odradek.testing.clock import Clock, freeze, resume
from odradek.testing.cluster import Cluster

NODES, CLOCK = "nodes", "clock"
_MAX_DAYS = 36_500
_SPANS = {"weeks": 7.0, "days": 1.0, "hours": 1 / 24, "minutes": 1 / 1440, "seconds": 1 / 86_400, "ms": 1 / 86_400_000}

COMPONENTS = {
    "Health": record({"status": {"const": "ok"}, "version": STRING}, "status", "version"),
    "Node": record(
        {
            "node_id": INTEGER,
            "listeners": mapping({**INTEGER, "description": "The port."}),
            "is_controller": {**BOOLEAN, "description": "Whether it decides on the cluster's metadata."},
            "is_fenced": {**BOOLEAN, "description": "Whether the controller has clients avoid it."},
            "leads": {**INTEGER, "description": "How many partitions it leads."},
        },
        "node_id", "listeners", "is_controller", "is_fenced", "leads",
    ),
    "Nodes": record(
        {
            "bootstrap_servers": {**STRING, "description": "What clients are given."},
            "cluster_id": STRING,
            "nodes": array(ref("Node")),
        },
        "bootstrap_servers", "cluster_id", "nodes",
    ),
    "Clock": record(
        {
            "now_ms": {**INTEGER, "description": "Since the Unix epoch."},
            "is_frozen": {**BOOLEAN, "description": "Whether time passes by advances only."},
        },
        "now_ms", "is_frozen",
    ),
}  # fmt: skip


async def node_states(cluster: Cluster) -> dict[str, Any]:
    """What is known of the nodes that run; raises RuntimeError if there are none."""
    image = cluster.image()
    leaders = [each.leader for topic in image.topics.by_name.values() for each in topic.partitions.values()]
    nodes = []
    for node_id, running in sorted(cluster.nodes.items()):
        registered = image.cluster.brokers.get(node_id)
        nodes.append(
            {
                "node_id": node_id,
                "listeners": {each.name: running.port_of(each.name) for each in running.node.config.listeners},
                "is_controller": running.node.quorum.raft.is_leader,
                "is_fenced": registered is None or registered.fenced,
                "leads": leaders.count(node_id),
            }
        )
    cluster_id = next(iter(cluster.nodes.values())).node.dirs.cluster_id
    return {"bootstrap_servers": cluster.bootstrap_servers, "cluster_id": cluster_id, "nodes": nodes}


async def clock_state(cluster: Cluster) -> dict[str, Any]:
    """What time it is for the nodes."""
    return {"now_ms": cluster.time.clients.now_ms(), "is_frozen": cluster.time.is_frozen}


async def _health(kafka: Controlled, _call: Call) -> object:
    await kafka.call(node_states)  # they answer
    return {"status": "ok", "version": __version__}


async def _nodes(kafka: Controlled, _call: Call) -> object:
    return await kafka.call(node_states)


async def _reset(kafka: Controlled, _call: Call) -> None:
    try:
        await kafka.call(Cluster.reset)
    except RuntimeError as error:
        raise ControlError(409, "CANNOT_RESET", str(error)) from error


async def _clock(kafka: Controlled, _call: Call) -> object:
    return await kafka.call(clock_state)


async def _advance(kafka: Controlled, call: Call) -> object:
    spans = {name: float(value) for name, value in call.body.items()}
    if sum(_SPANS[name] * value for name, value in spans.items()) > _MAX_DAYS:
        raise ControlError(400, "BAD_REQUEST", f"time is moved by {_MAX_DAYS} days at most")
    await Clock(kafka.running).advance_async(**spans)
    return await kafka.call(clock_state)


async def _freeze(kafka: Controlled, _call: Call) -> object:
    await kafka.call(freeze)
    return await kafka.call(clock_state)


async def _resume(kafka: Controlled, _call: Call) -> object:
    await kafka.call(resume)
    return await kafka.call(clock_state)


_SPAN = {**NUMBER, "minimum": 0}
OPERATIONS = (
    Operation(
        method="GET", path="/health", name="health", tag=NODES, handler=_health, answer=ref("Health"),
        summary="Whether clients can connect. Needs no token.",
    ),
    Operation(
        method="GET", path="/nodes", name="nodes", tag=NODES, handler=_nodes, answer=ref("Nodes"),
        summary="The nodes, and what clients are given as bootstrap.servers.",
    ),
    Operation(
        method="POST", path="/reset", name="reset", tag=NODES, handler=_reset, problems=(409,),
        summary="Empty all nodes, in a few milliseconds.",
        description="Topics, groups, transactions and faults are gone, and the clock is real time again. Addresses "
        "stay; clients that are connected are cut off. It is for nodes that keep everything in memory (`--in-memory`).",
    ),
    Operation(
        method="GET", path="/clock", name="clock", tag=CLOCK, handler=_clock, answer=ref("Clock"),
        summary="What time it is for the nodes.",
    ),
    Operation(
        method="POST", path="/clock/advance", name="advanceClock", tag=CLOCK, handler=_advance, answer=ref("Clock"),
        body=record(dict.fromkeys(_SPANS, _SPAN)), problems=(504,),
        summary="Let time pass for the nodes.",
        description="Answers when all that became due has been done: sessions have ended, transactions are aborted, "
        "records are deleted and compacted.",
    ),
    Operation(
        method="POST", path="/clock/freeze", name="freezeClock", tag=CLOCK, handler=_freeze, answer=ref("Clock"),
        summary="Let time stand still, but for advances.",
    ),
    Operation(
        method="POST", path="/clock/resume", name="resumeClock", tag=CLOCK, handler=_resume, answer=ref("Clock"),
        summary="Let time run on.",
    ),
)  # fmt: skip
