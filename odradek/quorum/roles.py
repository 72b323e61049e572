"""What a node is in its epoch (KIP-595, KIP-996): these states are forgotten by a restart, unlike `ElectionState`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from odradek.quorum.leader import LeaderState
from odradek.quorum.log import SnapshotId
from odradek.quorum.voters import VoterNode, VoterSet


@dataclass(slots=True, eq=False)
class Unattached:
    """Knows of no leader that it can reach; asks for one, and a voter calls an election at `deadline_ms`."""

    deadline_ms: float


@dataclass(slots=True, eq=False)
class Nominee:
    """Asks the other voters for their votes: whether it would be elected (prospective), or in earnest (candidate)."""

    voters: VoterSet
    own_id: int
    is_prospective: bool
    deadline_ms: float
    retries: int = 1
    granted: dict[int, None] = field(default_factory=dict)
    rejected: dict[int, None] = field(default_factory=dict)
    is_backing_off: bool = False

    def unrecorded(self) -> list[VoterNode]:
        """The voters that have not answered."""
        return [voter for voter in self.voters.voters if voter.id not in self.granted and voter.id not in self.rejected]

    def record(self, voter_id: int, *, granted: bool) -> None:
        """Take in a voter's answer; a vote once granted stays."""
        if voter_id in self.voters.ids and voter_id not in self.granted:
            if granted:
                self.rejected.pop(voter_id, None)
                self.granted[voter_id] = None
            else:
                self.rejected[voter_id] = None

    @property
    def is_elected(self) -> bool:
        """Whether a majority has granted its vote."""
        return len(self.granted) >= self.voters.majority

    @property
    def is_rejected(self) -> bool:
        """Whether no majority can come about any more."""
        return len(self.voters.voters) - len(self.rejected) < self.voters.majority


@dataclass(slots=True, eq=False)
class Download:
    """A snapshot that is being fetched, as far as it has come."""

    snapshot_id: SnapshotId
    data: bytearray = field(default_factory=bytearray)


@dataclass(slots=True, eq=False)
class Follower:
    """Fetches from the leader; a voter that gets nothing from it until `deadline_ms` calls an election."""

    deadline_ms: float
    update_voter_ms: float
    """When it looks next whether the voter set is right about it."""
    has_fetched: bool = False
    has_reported: bool = False
    """Whether the leader, of static voters, knows what this node supports."""
    download: Download | None = None


@dataclass(slots=True, eq=False)
class Resigned:
    """Led this epoch, and leads it no more; tells the voters, the best successor first, until `deadline_ms`."""

    deadline_ms: float
    successors: Sequence[VoterNode]
    """The best first; none of a leader that comes back, which knows no more who has come how far."""
    unacknowledged: dict[int, None]
    """The voters that are to be told."""
    unreachable: dict[int, None] = field(default_factory=dict)
    """Those that there was no connection to."""


Role = Unattached | Nominee | Follower | LeaderState | Resigned
