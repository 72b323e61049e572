"""What is found in nodes, as values that do not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DEAD = "Dead"
"""The state of a group that does not exist, as Kafka calls it."""
STABLE = "Stable"


@dataclass(frozen=True, slots=True)
class PartitionInfo:
    """A partition, as its leader has it. Without a leader, the offsets and the size are -1."""

    partition: int
    leader: int | None
    """The id of a node; None while none leads."""
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    """The replicas that are in sync."""
    log_start_offset: int = -1
    high_watermark: int = -1
    """The offset behind the last record that all in-sync replicas have."""
    last_stable_offset: int = -1
    """The offset up to which read_committed consumers read."""
    log_end_offset: int = -1
    size_bytes: int = -1


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic."""

    name: str
    topic_id: str
    partitions: Sequence[PartitionInfo]
    """By number."""
    config: Mapping[str, str | None]
    """All its properties, set or not."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a group."""

    member_id: str
    client_id: str
    client_host: str
    group_instance_id: str | None
    subscription: tuple[str, ...]
    """The topics that it has named."""
    assignment: Mapping[str, tuple[int, ...]]
    """The partitions that it has, by topic."""


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group, or that there is none: then its state is Dead."""

    group_id: str
    state: str = DEAD
    type: str = ""
    """classic, or consumer (KIP-848)."""
    generation: int = -1
    """Of a classic group; the epoch of a consumer group."""
    assignor: str = ""
    """Or the protocol of a classic group."""
    members: tuple[GroupMember, ...] = ()
    committed_offsets: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """By topic and partition."""
    lag: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """How many offsets each partition has behind what is committed, or all if nothing is.

    Of the topics that the group has committed to, is assigned, or subscribes to by name.
    """

    @property
    def exists(self) -> bool:
        """Whether there is such a group."""
        return self.state != DEAD

    @property
    def total_lag(self) -> int:
        """The sum of `lag`."""
        return sum(sum(partitions.values()) for partitions in self.lag.values())

    def __str__(self) -> str:
        """In a few words, for who waits for another state."""
        if not self.exists:
            return f"group {self.group_id} does not exist"
        lag = f"a lag of {self.total_lag}" if self.lag else "no topics"
        members = ", ".join(f"{each.client_id} with {_partitions(each.assignment)}" for each in self.members)
        return f"group {self.group_id} is {self.state}, has {lag}, and {members or 'no members'}"


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """A transactional id, and its latest transaction."""

    transactional_id: str
    state: str
    """Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit or CompleteAbort."""
    producer_id: int
    producer_epoch: int
    timeout_ms: int
    start_ms: int
    """When the transaction began, in milliseconds since the Unix epoch; -1 if there is none."""
    partitions: Mapping[str, tuple[int, ...]]
    """What the transaction has written to, by topic."""


def _partitions(assignment: Mapping[str, Sequence[int]]) -> str:
    names = [f"{topic}-{partition}" for topic, partitions in assignment.items() for partition in partitions]
    return ", ".join(names) or "nothing"
