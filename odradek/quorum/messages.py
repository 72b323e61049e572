"""The quorum's requests and answers: the one topic and the one partition in them, and who leads at which address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from odradek.quorum.election_state import NOBODY
from odradek.quorum.state import QuorumState
from odradek.quorum.voters import VoterEndpoint, address_of
from odradek.wire.errors import ErrorCode
from odradek.wire.messages import begin_quorum_epoch as begin
from odradek.wire.messages import end_quorum_epoch as end
from odradek.wire.messages import vote
from odradek.wire.messages.fetch import FetchableTopicResponse, FetchResponse, LeaderIdAndEpoch, PartitionData
from odradek.wire.messages.fetch import NodeEndpoint as FetchEndpoint
from odradek.wire.messages.fetch_snapshot import FetchSnapshotResponse, FetchSnapshotResponsePartitionSnapshot
from odradek.wire.messages.fetch_snapshot import FetchSnapshotResponseTopicSnapshot as SnapshotTopic
from odradek.wire.messages.fetch_snapshot import LeaderIdAndEpoch as SnapshotLeader
from odradek.wire.messages.fetch_snapshot import NodeEndpoint as SnapshotEndpoint
from odradek.wire.messages.update_raft_voter import CurrentLeader, UpdateRaftVoterResponse

TOPIC = "__cluster_metadata"
TOPIC_ID = bytes(15) + b"\x01"
"""The id that Kafka reserves for the metadata log."""


class NamedTopic(Protocol):
    """A topic of a Vote, BeginQuorumEpoch or EndQuorumEpoch."""

    topic_name: str


class Point(Protocol):
    """Where a node is reached."""

    node_id: int
    host: str
    port: int


P = TypeVar("P")


def only(topics: Sequence[NamedTopic], partitions: Iterable[Sequence[P]]) -> P | None:
    """The metadata partition's part, if a message has that and nothing else; its index is to be looked at."""
    lists = list(partitions)
    if len(topics) != 1 or topics[0].topic_name != TOPIC or len(lists[0]) != 1:
        return None
    found = lists[0][0]
    return found if getattr(found, "partition_index", 0) == 0 else None


class LeaderSeen(NamedTuple):
    """What an answer says of who leads."""

    error: ErrorCode
    leader_id: int
    epoch: int
    endpoints: tuple[VoterEndpoint, ...]


def seen(error_code: int, leader_id: int, epoch: int, points: Iterable[Point], listener: str) -> LeaderSeen:
    """Read that from an answer that came over `listener`, at which its addresses are those of nodes."""
    endpoints = tuple(VoterEndpoint(listener, at.host, at.port) for at in points if at.node_id == leader_id)
    try:
        error = ErrorCode(error_code)
    except ValueError:
        error = ErrorCode.UNKNOWN_SERVER_ERROR
    return LeaderSeen(error, leader_id, epoch, endpoints)


class Answers:
    """Makes answers that say who leads, and where that is reached at the listener that was asked."""

    def __init__(self, state: QuorumState) -> None:
        self._state = state

    def vote(self, error: ErrorCode, listener: str, *, granted: bool = False) -> vote.VoteResponse:
        """An answer to Vote."""
        partition = vote.VoteResponsePartitionData(
            partition_index=0, error_code=error, leader_id=self._leader_id, leader_epoch=self._state.epoch,
            vote_granted=granted,
        )  # fmt: skip
        return vote.VoteResponse(
            topics=[vote.VoteResponseTopicData(topic_name=TOPIC, partitions=[partition])],
            node_endpoints=[
                vote.NodeEndpoint(node_id=id_, host=host, port=port) for id_, host, port in self._at(listener)
            ],
        )

    def begin(self, error: ErrorCode, listener: str) -> begin.BeginQuorumEpochResponse:
        """An answer to BeginQuorumEpoch."""
        partition = begin.BeginQuorumEpochResponsePartitionData(
            partition_index=0, error_code=error, leader_id=self._leader_id, leader_epoch=self._state.epoch
        )
        return begin.BeginQuorumEpochResponse(
            topics=[begin.BeginQuorumEpochResponseTopicData(topic_name=TOPIC, partitions=[partition])],
            node_endpoints=[
                begin.NodeEndpoint(node_id=id_, host=host, port=port) for id_, host, port in self._at(listener)
            ],
        )

    def end(self, error: ErrorCode, listener: str) -> end.EndQuorumEpochResponse:
        """An answer to EndQuorumEpoch."""
        partition = end.EndQuorumEpochResponsePartitionData(
            partition_index=0, error_code=error, leader_id=self._leader_id, leader_epoch=self._state.epoch
        )
        return end.EndQuorumEpochResponse(
            topics=[end.EndQuorumEpochResponseTopicData(topic_name=TOPIC, partitions=[partition])],
            node_endpoints=[
                end.NodeEndpoint(node_id=id_, host=host, port=port) for id_, host, port in self._at(listener)
            ],
        )

    def fetch(self, partition: PartitionData, listener: str) -> FetchResponse:
        """An answer to Fetch, with what `partition` says."""
        partition.current_leader = LeaderIdAndEpoch(leader_id=self._leader_id, leader_epoch=self._state.epoch)
        return FetchResponse(
            responses=[FetchableTopicResponse(topic=TOPIC, topic_id=TOPIC_ID, partitions=[partition])],
            node_endpoints=[FetchEndpoint(node_id=id_, host=host, port=port) for id_, host, port in self._at(listener)],
        )

    def fetch_snapshot(self, partition: FetchSnapshotResponsePartitionSnapshot, listener: str) -> FetchSnapshotResponse:
        """An answer to FetchSnapshot, with what `partition` says."""
        partition.current_leader = SnapshotLeader(leader_id=self._leader_id, leader_epoch=self._state.epoch)
        return FetchSnapshotResponse(
            topics=[SnapshotTopic(name=TOPIC, partitions=[partition])],
            node_endpoints=[
                SnapshotEndpoint(node_id=id_, host=host, port=port) for id_, host, port in self._at(listener)
            ],
        )

    def update_voter(self, error: ErrorCode, listener: str) -> UpdateRaftVoterResponse:
        """An answer to UpdateRaftVoter."""
        leader = CurrentLeader(leader_id=self._leader_id, leader_epoch=self._state.epoch)
        for _id, host, port in self._at(listener):
            leader.host, leader.port = host, port
        return UpdateRaftVoterResponse(error_code=error, current_leader=leader)

    @property
    def _leader_id(self) -> int:
        leader_id = self._state.leader_id
        return NOBODY if leader_id is None else leader_id

    def _at(self, listener: str) -> list[tuple[int, str, int]]:
        leader_id = self._state.leader_id
        address = None if leader_id is None else address_of(self._state.leader_endpoints, listener)
        return [] if leader_id is None or address is None else [(leader_id, *address)]
