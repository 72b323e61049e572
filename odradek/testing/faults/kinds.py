"""Which function begins which fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from odradek.testing.faults import coordinators, leaders, nodes
from odradek.testing.faults.begun import End, Scene
from odradek.testing.faults.specs import (
    Crash,
    Disconnect,
    DiskError,
    DiskFull,
    ExpireSession,
    FaultSpec,
    FenceProducer,
    HangTransaction,
    Isolate,
    MoveCoordinator,
    MoveLeader,
    Pause,
    Rebalance,
    ShrinkIsr,
    WithoutCoordinator,
    WithoutLeader,
)

Begin = Callable[[Scene, FaultSpec], Awaitable[End]]

_BEGINS: Mapping[type[FaultSpec], Callable[..., Awaitable[End]]] = {
    Crash: nodes.crash,
    Disconnect: nodes.disconnect,
    DiskError: nodes.fail_disk,
    DiskFull: nodes.fail_disk,
    ExpireSession: coordinators.expire_session,
    FenceProducer: coordinators.fence_producer,
    HangTransaction: coordinators.hang_transaction,
    Isolate: nodes.isolate,
    MoveCoordinator: leaders.move_coordinator,
    MoveLeader: leaders.move_leader,
    Pause: nodes.pause,
    Rebalance: coordinators.rebalance,
    ShrinkIsr: nodes.shrink_isr,
    WithoutCoordinator: leaders.without_coordinator,
    WithoutLeader: leaders.without_leader,
}


def begin_of(spec: FaultSpec) -> Begin:
    """The function of a fault that is none of requests."""
    return cast("Begin", _BEGINS[type(spec)])
