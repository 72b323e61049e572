"""A member of a consumer group, as the log has it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from odradek.wire.uuids import Uuid

JOINING_EPOCH = 0
LEAVING_EPOCH = -1
STATIC_LEAVING_EPOCH = -2
"""A static member leaves for a while: it keeps its partitions until its session ends."""

Partitions = Mapping[Uuid, Mapping[int, int]]
"""By topic id and partition: the epoch in which the member was given it."""
Target = Mapping[Uuid, tuple[int, ...]]
"""By topic id: partitions, in order."""

NO_PARTITIONS: Partitions = {}
NO_TARGET: Target = {}


class MemberState(IntEnum):
    """Where a member is on its way to its target; Kafka's numbers."""

    STABLE = 0
    """Nothing is left to do in its epoch."""
    UNREVOKED_PARTITIONS = 1
    """It has to give up partitions before it may go on to the next epoch."""
    UNRELEASED_PARTITIONS = 2
    """It is in the target's epoch, but others have yet to give up partitions of it."""
    UNKNOWN = 127
    """What a newer broker wrote."""

    @classmethod
    def _missing_(cls, _value: object) -> MemberState:
        return cls.UNKNOWN


class ClassicMetadata(NamedTuple):
    """What a member that speaks the classic protocol said when it joined; `protocols` are (name, metadata)."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]

    @property
    def protocol(self) -> str:
        """The protocol that it likes best, in which it is answered."""
        return self.protocols[0][0]


class ConsumerMember(NamedTuple):
    """Never changed in place; `rebalance_timeout_ms` is -1 until it says one."""

    member_id: str
    epoch: int = 0
    previous_epoch: int = -1
    state: MemberState = MemberState.STABLE
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    client_id: str = ""
    client_host: str = ""
    topic_names: tuple[str, ...] = ()
    """Sorted, each once."""
    topic_regex: str = ""
    assignor: str | None = None
    assigned: Partitions = NO_PARTITIONS
    pending_revocation: Partitions = NO_PARTITIONS
    classic: ClassicMetadata | None = None
    """None for one that speaks the consumer protocol."""

    def is_reconciled_to(self, epoch: int) -> bool:
        """Whether it has all of the target of that epoch, and nothing else."""
        return self.state is MemberState.STABLE and self.epoch == epoch

    def in_epoch(self, epoch: int, state: MemberState, assigned: Partitions, pending: Partitions) -> ConsumerMember:
        """The member one step on."""
        return self._replace(
            epoch=epoch, previous_epoch=self.epoch, state=state, assigned=assigned, pending_revocation=pending
        )

    def holding_epoch(self, topic_id: Uuid, partition: int) -> int | None:
        """The epoch in which it was given a partition that it has, or has yet to give up; None if it has not."""
        epoch = self.assigned.get(topic_id, {}).get(partition)
        return self.pending_revocation.get(topic_id, {}).get(partition) if epoch is None else epoch


def subscription(names: list[str]) -> tuple[str, ...]:
    """Topic names as members keep them."""
    return tuple(sorted(dict.fromkeys(names)))
