"""What the quorum needs of a log, of the place for its snapshots, and of the file that says whom it voted for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from odradek.ports import Promise
from odradek.quorum.election_state import ElectionState
from odradek.wire.schema import Message

NO_EPOCH = -1


class RaftLog(Protocol):
    """`__cluster_metadata-0` on this node. Methods that touch the disk may raise OSError or KafkaError."""

    @property
    def start_offset(self) -> int:
        """The first offset that is there."""
        ...

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        ...

    def append(self, batches: bytearray, leader_epoch: int) -> None:
        """Append one or more whole batches, which have their offsets and epoch already; they begin at `end_offset`."""
        ...

    def append_as_follower(self, batches: bytes) -> None:
        """Append whole batches of a leader, of whatever epochs; they begin at `end_offset`."""
        ...

    def flush(self) -> Promise[int]:
        """Settles once everything below the offset that it holds survives a power cut; fails with OSError."""
        ...

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Whole batches, at least one, from the one that holds `offset`; empty at the end of the log."""
        ...

    def truncate_to(self, offset: int) -> None:
        """Drop the batches from `offset` on."""
        ...

    def delete_before(self, offset: int) -> None:
        """Begin the log at `offset`, which is the start of a batch or the end; what is below may be deleted."""
        ...

    def restart_at(self, offset: int) -> None:
        """Drop all batches; the next record gets `offset`."""
        ...

    @property
    def size_bytes(self) -> int:
        """What the log takes on the disk."""
        ...


class SnapshotId(NamedTuple):
    """Names a snapshot: it stands for all records below `offset`, the last of which has `epoch`."""

    offset: int
    epoch: int


BOOTSTRAP_SNAPSHOT = SnapshotId(0, 0)
"""What formatting writes: voters, and the records for the first leader's first transaction."""


class SnapshotStore(Protocol):
    """The snapshots of the metadata log on this node; every method may raise OSError."""

    def list(self) -> list[SnapshotId]:
        """What is there, oldest first."""
        ...

    def read(self, snapshot_id: SnapshotId) -> bytes:
        """A snapshot's bytes."""
        ...

    def size_bytes(self, snapshot_id: SnapshotId) -> int:
        """What a snapshot takes on the disk."""
        ...

    def write(self, snapshot_id: SnapshotId, data: bytes) -> None:
        """Put a snapshot there, whole and durable, or not at all."""
        ...

    def delete(self, snapshot_id: SnapshotId) -> None:
        """Drop one; none of that name is fine."""
        ...


class ElectionStateStore(Protocol):
    """`quorum-state`."""

    def load(self) -> ElectionState | None:
        """What was saved last; None for a node that has never taken part."""
        ...

    def save(self, state: ElectionState, static_voters: Sequence[int] | None = None) -> None:
        """Make it durable before returning; raises OSError. `static_voters` are ids, while kraft.version is 0."""
        ...


class Batch(NamedTuple):
    """A batch of the metadata log, decoded; of a control batch, `records` is empty."""

    base_offset: int
    last_offset: int
    epoch: int
    timestamp_ms: int
    size_bytes: int
    records: Sequence[Message]


class RaftListener(Protocol):
    """Who follows the committed log: the metadata loader and, on a controller, the controller."""

    def load_snapshot(self, records: Sequence[Message], offset: int, epoch: int, timestamp_ms: int) -> None:
        """The state as of the record at `offset`; what was handed over before is void."""
        ...

    def commit(self, batches: Sequence[Batch]) -> None:
        """Batches that are committed, in order, each once."""
        ...

    def leader_changed(self, leader_id: int | None, epoch: int) -> None:
        """Who leads. This node itself only once it has handed over all that was committed before its epoch."""
        ...
