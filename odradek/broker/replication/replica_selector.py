"""Which replica a consumer had better read from (KIP-392)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class ReadingClient(NamedTuple):
    """A consumer, as its fetch describes it."""

    rack: str
    listener: str
    """The name of the listener that it uses, which the other broker must have as well."""


class ReplicaView(NamedTuple):
    """An in-sync replica from which the consumer could go on. `lag_ms` says when it was caught up last."""

    broker_id: int
    rack: str | None
    log_end_offset: int
    lag_ms: float


def select_by_rack(rack: str, leader: ReplicaView, others: Iterable[ReplicaView]) -> int:
    """The leader if it is in the rack, else the replica there that has the most, else the leader."""
    if leader.rack == rack:
        return leader.broker_id
    nearby = [replica for replica in others if replica.rack == rack]
    if not nearby:
        return leader.broker_id
    return max(nearby, key=lambda replica: (replica.log_end_offset, -replica.lag_ms, replica.broker_id)).broker_id
