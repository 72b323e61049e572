"""What kinds of faults are made of: functions that begin one and return what ends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from odradek.testing.cluster import Cluster

End = Callable[[], Awaitable[None]]


class Scene(NamedTuple):
    """Where a fault begins."""

    cluster: Cluster
    fault_id: str
    on_hit: Callable[[], None]
    """To be called whenever it acts, on any thread."""


async def nothing() -> None:
    """The end of what cannot be undone."""
