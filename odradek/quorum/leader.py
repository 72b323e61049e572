"""What a leader of the quorum knows of those who fetch from it, and the high watermark that follows from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from odradek.quorum.voters import VoterNode, VoterSet
from odradek.wire.uuids import ZERO_UUID, Uuid

NEVER = -1
OBSERVER_SESSION_MS = 300_000
"""How long an observer that fetches no more is remembered."""
CAUGHT_UP_MS = 3_600_000
"""How lately a new voter must have fetched everything."""


@dataclass(slots=True)
class ReplicaProgress:
    """How far a replica has come; times in milliseconds since the epoch, NEVER if it has not fetched."""

    id: int
    directory_id: Uuid
    end_offset: int = -1
    last_fetch_ms: int = NEVER
    last_caught_up_ms: int = NEVER
    leader_end_offset: int = -1
    """The leader's end offset when this replica fetched last."""

    def fetched(self, end_offset: int, leader_end_offset: int, now_ms: int) -> None:
        """It holds everything below `end_offset`, since that is where it fetches on."""
        if end_offset >= leader_end_offset:
            self.last_caught_up_ms = max(now_ms, self.last_caught_up_ms)
        elif 0 < self.leader_end_offset <= end_offset:
            self.last_caught_up_ms = max(self.last_fetch_ms, self.last_caught_up_ms)
        self.last_fetch_ms = max(now_ms, self.last_fetch_ms)
        self.leader_end_offset = leader_end_offset
        self.end_offset = end_offset


class LeaderState:
    """The leader's view of one epoch, which begins at `epoch_start_offset`."""

    def __init__(
        self, node_id: int, epoch: int, epoch_start_offset: int, voters: VoterSet, granting: Iterable[int] = ()
    ) -> None:
        self.node_id = node_id
        self.epoch = epoch
        self.epoch_start_offset = epoch_start_offset
        self.granting = tuple(granting)
        """Who voted for it."""
        self.high_watermark = -1
        """-1 until a majority holds a record of this epoch: only then is what came before known to be committed."""
        self.is_announced = False
        """Whether the listeners know that this node leads."""
        self.reported: VoterSet | None = None
        """While voters are static: they, with what each has said of itself in this epoch (KIP-853)."""
        self.voters: dict[int, ReplicaProgress] = {}
        self.observers: dict[tuple[int, Uuid], ReplicaProgress] = {}
        self._voter_set = VoterSet()
        self._heard: dict[int, None] = {}
        self.use_voters(voters)

    def use_voters(self, voters: VoterSet) -> None:
        """Another voter set counts from now on; what is known of its members is kept."""
        self._voter_set = voters
        known: dict[tuple[int, Uuid], ReplicaProgress] = {
            (each.id, each.directory_id): each for each in self.voters.values()
        }
        known.update(self.observers)
        self.voters = {}
        for voter in voters.voters:
            progress = known.pop((voter.id, voter.directory_id), None) or known.pop((voter.id, ZERO_UUID), None)
            self.voters[voter.id] = progress or ReplicaProgress(voter.id, voter.directory_id)
            self.voters[voter.id].directory_id = voter.directory_id
        self.observers = {key: each for key, each in known.items() if key[0] != self.node_id}
        self._heard = {voter_id: None for voter_id in self._heard if voter_id in self.voters}

    def progress_of(self, replica_id: int, directory_id: Uuid) -> ReplicaProgress:
        """What is known of who fetches, be it a voter or an observer."""
        if self._voter_set.has(replica_id, directory_id):
            return self.voters[replica_id]
        return self.observers.setdefault((replica_id, directory_id), ReplicaProgress(replica_id, directory_id))

    def forget_stale_observers(self, now_ms: int) -> None:
        """Drop those that have not fetched for long."""
        for key, observer in list(self.observers.items()):
            if now_ms - observer.last_fetch_ms >= OBSERVER_SESSION_MS:
                del self.observers[key]

    def is_caught_up(self, replica_id: int, directory_id: Uuid, now_ms: int) -> bool:
        """Whether an observer has had everything lately, so that as a voter it holds nobody up."""
        observer = self.observers.get((replica_id, directory_id))
        return (
            observer is not None and observer.last_caught_up_ms > 0 and (now_ms - observer.last_fetch_ms < CAUGHT_UP_MS)
        )

    def update_end_offset(self, voter_id: int, end_offset: int) -> bool:
        """A voter holds everything below `end_offset` durably; returns whether the high watermark moved."""
        progress = self.voters.get(voter_id)
        if progress is None:
            return False
        progress.end_offset = end_offset
        return self.update_high_watermark()

    def update_high_watermark(self) -> bool:
        """Look how far a majority has come; returns whether the high watermark moved. It never goes back."""
        ends = sorted((voter.end_offset for voter in self.voters.values()), reverse=True)
        if not ends:
            return False
        held_by_majority = ends[len(ends) // 2]
        if held_by_majority <= max(self.epoch_start_offset, self.high_watermark):
            return False
        self.high_watermark = held_by_majority
        return True

    def heard_from(self, replica_id: int, directory_id: Uuid) -> bool:
        """A replica fetched; whether a majority, this node among them, has been heard of since that was last so."""
        if replica_id == self.node_id or not self._voter_set.has(replica_id, directory_id):
            return False
        self._heard[replica_id] = None
        own = 1 if self.node_id in self.voters else 0
        if len(self._heard) + own < self._voter_set.majority:
            return False
        self._heard = {}
        return True

    def successors(self) -> list[VoterNode]:
        """The other voters, whoever has come furthest first."""
        others = [voter for voter in self._voter_set.voters if voter.id != self.node_id]
        return sorted(others, key=lambda voter: (-self.voters[voter.id].end_offset, voter.id))
