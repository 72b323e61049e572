"""What brokers hold, beside a controller that decides on their leaders: was a committed record ever lost?

A partition's data is a number here, how many records there are. A replica in sync has what the leader has; records
commit while enough are in sync. A leader that was elected cleanly must have every committed record.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from odradek.metadata.image import NO_LEADER, RECOVERING, PartitionImage
from odradek.wire.uuids import Uuid

PartitionKey = tuple[Uuid, int]


class BrokenPromiseError(AssertionError):
    """An invariant does not hold."""


@dataclass
class PartitionData:
    """What each replica of one partition has on its disk, and what is committed."""

    held: dict[int, int] = field(default_factory=dict)
    committed: int = 0


class DataModel:
    """The data of all partitions; it is told of each partition's every change."""

    def __init__(self) -> None:
        self._data: dict[PartitionKey, PartitionData] = {}

    def changed(self, key: PartitionKey, before: PartitionImage | None, after: PartitionImage) -> None:
        """Check a change, and follow it."""
        check_shape(after)
        data = self._data.setdefault(key, PartitionData())
        if before is not None:
            _check_order(before, after)
        for broker_id in [each for each in data.held if each not in after.replicas]:
            del data.held[broker_id]  # who is no replica any more deletes what it had
        leader = after.leader
        is_new = before is None or (leader, after.leader_epoch) != (before.leader, before.leader_epoch)
        if leader == NO_LEADER or not is_new:
            return
        has = data.held.get(leader, 0)
        if after.recovery_state == RECOVERING:
            data.committed = min(data.committed, has)
        elif has < data.committed:
            raise BrokenPromiseError(f"leader {leader} has {has} of {data.committed} committed records: {after}")
        for replica in after.replicas:  # followers cut off what the new leader does not have
            data.held[replica] = min(data.held.get(replica, 0), has)

    def produce(self, key: PartitionKey, partition: PartitionImage, min_isr: int) -> None:
        """The leader appends a record; it is committed if enough replicas are in sync (acks=all)."""
        data = self._data[key]
        end = data.held.get(partition.leader, 0) + 1
        data.held[partition.leader] = end
        if len(partition.isr) >= min(min_isr, len(partition.replicas)):
            for replica in partition.isr:
                data.held[replica] = end
            data.committed = end

    def fetch(self, key: PartitionKey, partition: PartitionImage, replica: int) -> None:
        """A follower catches up."""
        data = self._data[key]
        data.held[replica] = data.held.get(partition.leader, 0)

    def crash(self, broker_id: int, lost: int) -> None:
        """A broker's disk loses the last records of all its partitions."""
        for data in self._data.values():
            if broker_id in data.held:
                data.held[broker_id] = max(0, data.held[broker_id] - lost)


def check_shape(partition: PartitionImage) -> None:
    """Raise BrokenPromiseError if a partition contradicts itself."""
    replicas, isr, elr = set(partition.replicas), set(partition.isr), set(partition.elr)
    sound = {
        "a leader is in sync": partition.leader == NO_LEADER or partition.leader in isr,
        "somebody in sync leads": partition.leader != NO_LEADER or not isr,
        "who is in sync is a replica": isr <= replicas,
        "who is eligible is a replica": elr <= replicas,
        "nobody is both": not isr & elr,
        "each once": len(replicas) == len(partition.replicas)
        and len(isr) == len(partition.isr)
        and len(elr) == len(partition.elr),
        "who comes or goes is a replica": set(partition.adding) | set(partition.removing) <= replicas,
        "nobody comes and goes": not set(partition.adding) & set(partition.removing),
        "each has a directory": len(partition.directories) == len(partition.replicas),
        "the last leader is remembered without one": partition.leader == NO_LEADER or not partition.last_known_elr,
        "one that recovers is alone": partition.recovery_state != RECOVERING or len(isr) <= 1,
    }
    broken = [what for what, holds in sound.items() if not holds]
    if broken:
        raise BrokenPromiseError(f"{broken}: {partition}")


def _check_order(before: PartitionImage, after: PartitionImage) -> None:
    if after == before:
        return
    if after.partition_epoch <= before.partition_epoch or after.leader_epoch < before.leader_epoch:
        raise BrokenPromiseError(f"epochs go back: {before} -> {after}")
    if after.leader != before.leader and after.leader_epoch == before.leader_epoch:
        raise BrokenPromiseError(f"another leader in the same epoch: {before} -> {after}")
    is_complete = before.is_reassigning and not after.is_reassigning and set(before.adding) <= set(after.replicas)
    if is_complete and not set(before.removing) & set(after.replicas) and before.isr and not after.isr:
        raise BrokenPromiseError(f"a reassignment ended without anybody in sync: {before} -> {after}")
