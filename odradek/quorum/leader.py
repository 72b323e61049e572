"""What a leader of the quorum knows of the voters, and the high watermark that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from odradek.quorum.voters import VoterSet
from odradek.wire.uuids import Uuid

NEVER = -1


@dataclass(slots=True)
class ReplicaProgress:
    """How far a voter has come; times in milliseconds since the epoch, NEVER if it has not fetched."""

    id: int
    directory_id: Uuid
    end_offset: int = -1
    last_fetch_ms: int = NEVER
    last_caught_up_ms: int = NEVER


class LeaderState:
    """The leader's view of one epoch, which begins at `epoch_start_offset`."""

    def __init__(self, node_id: int, epoch: int, epoch_start_offset: int, voters: VoterSet) -> None:
        self.node_id = node_id
        self.epoch = epoch
        self.epoch_start_offset = epoch_start_offset
        self.high_watermark = -1
        """-1 until a majority holds a record of this epoch: only then is what came before known to be committed."""
        self.voters = {voter.id: ReplicaProgress(voter.id, voter.directory_id) for voter in voters.voters}

    def update_end_offset(self, voter_id: int, end_offset: int) -> bool:
        """A voter holds everything below `end_offset` durably; returns whether the high watermark moved."""
        progress = self.voters.get(voter_id)
        if progress is None:
            return False
        progress.end_offset = end_offset
        ends = sorted((voter.end_offset for voter in self.voters.values()), reverse=True)
        held_by_majority = ends[len(ends) // 2]
        if held_by_majority <= max(self.epoch_start_offset, self.high_watermark):
            return False
        self.high_watermark = held_by_majority
        return True
