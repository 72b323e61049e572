"""Operations on faults. What there is comes from `odradek.testing.faults.specs`, with its names and its words."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from odradek.control.operations import TIMEOUT, Call, ControlError, Controlled, Operation, Parameter
from odradek.control.schemas import BOOLEAN, INTEGER, NUMBER, STRING, Schema, array, record, ref
from odradek.testing.cluster import Cluster
from odradek.testing.faults.specs import FaultSpec, fault_from_json, fault_kinds

TAG = "faults"
_TYPES: Mapping[str, Schema] = {
    "str": STRING,
    "int": INTEGER,
    "float": NUMBER,
    "bool": BOOLEAN,
    "None": {"type": "null"},
    "list[int]": array(INTEGER),
}


def _schema(kind: type[FaultSpec]) -> Schema:
    fields = [each for each in dataclasses.fields(kind) if each.metadata.get("json", True)]
    properties: dict[str, Schema] = {"fault": {"const": kind.NAME}}
    required = ["fault"]
    for each in fields:
        schema: dict[str, Any] = dict(_type(str(each.type)))
        if each.default is not dataclasses.MISSING:
            schema["default"] = each.default
        elif each.default_factory is dataclasses.MISSING:
            required.append(each.name)
        properties[each.name] = schema
    return record(properties, *required, title=kind.NAME, description=inspect.getdoc(kind) or "")


def _type(annotation: str) -> Schema:
    choices = [_TYPES[name] for name in annotation.split(" | ")]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


COMPONENTS = {
    # Which of them is meant says `fault`, and what is wrong with it `fault_from_json`.
    "Fault": {"type": "object", "oneOf": [_schema(kind) for _name, kind in sorted(fault_kinds().items())]},
    "ActiveFault": record(
        {"id": STRING, "hits": {**INTEGER, "description": "How often it has acted."}, "fault": ref("Fault")},
        "id", "hits", "fault",
    ),
}  # fmt: skip


async def active(cluster: Cluster) -> list[dict[str, Any]]:
    """The faults that are not lifted, oldest first."""
    engine = cluster.faults
    return [
        {"id": fault_id, "hits": engine.hits(fault_id), "fault": spec.to_json()}
        for fault_id, spec in engine.active.items()
    ]


async def wait_for_hits(cluster: Cluster, fault_id: str, hits: int, timeout_s: float) -> None:
    """Wait until a fault has acted so often; raises TimeoutError."""
    await cluster.faults.wait(fault_id, hits, timeout_s)


async def lift(cluster: Cluster, fault_id: str) -> None:
    """Lift a fault."""
    await cluster.faults.lift(fault_id)


async def lift_all(cluster: Cluster) -> None:
    """Lift all faults."""
    await cluster.faults.lift_all()


async def apply(cluster: Cluster, spec: FaultSpec) -> str:
    """Have a fault begin; returns its id. Raises ValueError for what makes no sense."""
    return await cluster.faults.apply(spec)


async def _one(kafka: Controlled, fault_id: str) -> object:
    for each in await kafka.call(active):
        if each["id"] == fault_id:
            return each
    raise ControlError(404, "NO_FAULT", f"there is no fault {fault_id}, or none any more")


async def _list(kafka: Controlled, _call: Call) -> object:
    return await kafka.call(active)


async def _add(kafka: Controlled, call: Call) -> object:
    return await _one(kafka, await kafka.call(apply, fault_from_json(call.body)))


async def _get(kafka: Controlled, call: Call) -> object:
    fault_id, hits = call.path("fault_id"), call.number("wait_for_hits")
    found = await _one(kafka, fault_id)
    if not hits:
        return found
    await kafka.call(wait_for_hits, fault_id, hits, call.timeout_s)
    return await _one(kafka, fault_id)


async def _lift(kafka: Controlled, call: Call) -> None:
    await _one(kafka, call.path("fault_id"))
    await kafka.call(lift, call.path("fault_id"))


async def _lift_all(kafka: Controlled, _call: Call) -> None:
    await kafka.call(lift_all)


OPERATIONS = (
    Operation(
        method="GET", path="/faults", name="faults", tag=TAG, handler=_list, answer=array(ref("ActiveFault")),
        summary="The faults that are not lifted, oldest first.",
    ),
    Operation(
        method="POST", path="/faults", name="addFault", tag=TAG, handler=_add, body=ref("Fault"),
        answer=ref("ActiveFault"), status=201,
        summary="Have something go wrong from now on, until it is lifted or the node is reset.",
    ),
    Operation(
        method="GET", path="/faults/{fault_id}", name="fault", tag=TAG, handler=_get, answer=ref("ActiveFault"),
        problems=(404, 504),
        summary="A fault, and how often it has acted.",
        query=(
            Parameter(
                "wait_for_hits", {**INTEGER, "minimum": 0, "maximum": 2**31 - 1}, "Wait until it has acted so often."
            ),
            TIMEOUT,
        ),
    ),
    Operation(
        method="DELETE", path="/faults/{fault_id}", name="liftFault", tag=TAG, handler=_lift, problems=(404,),
        summary="Lift a fault.",
    ),
    Operation(
        method="DELETE", path="/faults", name="liftFaults", tag=TAG, handler=_lift_all,
        summary="Lift all faults.",
    ),
)  # fmt: skip
