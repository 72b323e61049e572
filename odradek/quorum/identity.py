"""Who a node of the quorum is, and where it keeps its part of the quorum's state."""

from __future__ import annotations

from typing import NamedTuple

from odradek.quorum.log import ElectionStateStore, RaftLog, SnapshotStore
from odradek.quorum.voters import VoterEndpoint, VoterNode
from odradek.wire.uuids import Uuid


class NodeIdentity(NamedTuple):
    """Who this node is in the quorum: id, metadata directory, and where its controller listeners are reached."""

    node_id: int
    directory_id: Uuid
    endpoints: tuple[VoterEndpoint, ...]
    """Empty for a broker, which can only observe."""

    def as_voter(self) -> VoterNode:
        """What the voter set says of this node, where it is a voter."""
        return VoterNode(self.node_id, self.directory_id, self.endpoints)


class RaftStores(NamedTuple):
    """Where this node keeps its part of the quorum's state."""

    log: RaftLog
    election_state: ElectionStateStore
    snapshots: SnapshotStore
