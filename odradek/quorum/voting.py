"""What a node answers to Vote, BeginQuorumEpoch and EndQuorumEpoch (KIP-595, KIP-853, KIP-996)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from odradek.quorum.elections import Elections
from odradek.quorum.messages import Answers, only
from odradek.quorum.roles import Follower
from odradek.quorum.state import QuorumState
from odradek.quorum.voters import VoterEndpoint
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.begin_quorum_epoch import BeginQuorumEpochRequest, BeginQuorumEpochResponse
from odradek.wire.messages.begin_quorum_epoch import LeaderEndpoint as BeginEndpoint
from odradek.wire.messages.end_quorum_epoch import EndQuorumEpochRequest, EndQuorumEpochResponse, ReplicaInfo
from odradek.wire.messages.end_quorum_epoch import LeaderEndpoint as EndEndpoint
from odradek.wire.messages.vote import VoteRequest, VoteResponse
from odradek.wire.uuids import ZERO_UUID, Uuid

_log = logging.getLogger(__name__)

NO_VOTER_ID = -1


class Voting:
    """Handlers; `listener` is the one that was asked, at which the answer says where the leader is reached."""

    def __init__(self, state: QuorumState, answers: Answers, cluster_id: str, elections: Elections | None) -> None:
        self._state = state
        self._answers = answers
        self._cluster_id = cluster_id
        self._elections = elections

    def vote(self, request: VoteRequest, listener: str) -> VoteResponse:
        """Grant a vote, or say why not; a vote is on the disk before it is granted."""
        if self._is_foreign(request.cluster_id):
            return VoteResponse(error_code=ErrorCode.INCONSISTENT_CLUSTER_ID)
        asked = only(request.topics, [topic.partitions for topic in request.topics])
        if asked is None:
            return VoteResponse(error_code=ErrorCode.INVALID_REQUEST)
        newest_epoch = asked.replica_epoch if asked.pre_vote else asked.replica_epoch - 1
        if asked.last_offset < 0 or not 0 <= asked.last_offset_epoch <= newest_epoch:
            return self._answers.vote(ErrorCode.INVALID_REQUEST, listener)
        error = self._refusal(asked.replica_id, asked.replica_epoch)
        if error is not None:
            return self._answers.vote(error, listener)
        state = self._state
        if asked.replica_epoch > state.epoch:
            state.become_unattached(asked.replica_epoch)
        if not self._is_meant(request.voter_id, asked.voter_directory_id):
            return self._answers.vote(ErrorCode.INVALID_VOTER_KEY, listener)
        ours = (state.replica.last_epoch, state.replica.end_offset)
        granted = state.can_vote_for(
            asked.replica_id,
            asked.replica_directory_id,
            is_up_to_date=(asked.last_offset_epoch, asked.last_offset) >= ours,
            is_pre_vote=asked.pre_vote,
        )
        if granted and not asked.pre_vote and state.election.voted_id != asked.replica_id:
            state.add_vote(asked.replica_id, asked.replica_directory_id)
        _log.info(
            "%s for %d in epoch %d: %s",
            "pre-vote" if asked.pre_vote else "vote", asked.replica_id, asked.replica_epoch,
            "granted" if granted else "rejected",
        )  # fmt: skip
        return self._answers.vote(ErrorCode.NONE, listener, granted=granted)

    def begin_quorum_epoch(self, request: BeginQuorumEpochRequest, listener: str) -> BeginQuorumEpochResponse:
        """Follow the leader that says so."""
        if self._is_foreign(request.cluster_id):
            return BeginQuorumEpochResponse(error_code=ErrorCode.INCONSISTENT_CLUSTER_ID)
        asked = only(request.topics, [topic.partitions for topic in request.topics])
        if asked is None:
            return BeginQuorumEpochResponse(error_code=ErrorCode.INVALID_REQUEST)
        error = self._refusal(asked.leader_id, asked.leader_epoch)
        if error is not None:
            return self._answers.begin(error, listener)
        self._learn(asked.leader_id, asked.leader_epoch, request.leader_endpoints)
        if not self._is_meant(request.voter_id, asked.voter_directory_id):
            return self._answers.begin(ErrorCode.INVALID_VOTER_KEY, listener)
        return self._answers.begin(ErrorCode.NONE, listener)

    def end_quorum_epoch(self, request: EndQuorumEpochRequest, listener: str) -> EndQuorumEpochResponse:
        """Call an election soon, the sooner the better a successor this node is."""
        if self._is_foreign(request.cluster_id):
            return EndQuorumEpochResponse(error_code=ErrorCode.INCONSISTENT_CLUSTER_ID)
        asked = only(request.topics, [topic.partitions for topic in request.topics])
        if asked is None:
            return EndQuorumEpochResponse(error_code=ErrorCode.INVALID_REQUEST)
        error = self._refusal(asked.leader_id, asked.leader_epoch)
        if error is not None:
            return self._answers.end(error, listener)
        self._learn(asked.leader_id, asked.leader_epoch, request.leader_endpoints)
        role = self._state.role
        if isinstance(role, Follower) and self._state.leader_id == asked.leader_id and self._elections is not None:
            candidates = asked.preferred_candidates or [
                ReplicaInfo(candidate_id=id_, candidate_directory_id=ZERO_UUID) for id_ in asked.preferred_successors
            ]
            self._elections.hurry(role, self._backoff_ms(candidates))
        return self._answers.end(ErrorCode.NONE, listener)

    def _backoff_ms(self, candidates: Sequence[ReplicaInfo]) -> int:
        """None for the best successor, and twice as long for each behind it, up to the longest back-off."""
        own, longest_ms = self._state.identity, self._state.settings.election_backoff_max_ms
        places = [
            place
            for place, each in enumerate(candidates)
            if each.candidate_id == own.node_id and each.candidate_directory_id in (ZERO_UUID, own.directory_id)
        ]
        if not places:
            return longest_ms if candidates else 0
        if places[0] == 0:
            return 0
        return min(longest_ms, (longest_ms >> (len(candidates) - 1)) << (places[0] - 1))

    def _learn(self, leader_id: int, epoch: int, points: Sequence[BeginEndpoint | EndEndpoint]) -> None:
        endpoints = tuple(VoterEndpoint(point.name, point.host, point.port) for point in points)
        if not self._state.learn(leader_id, epoch, endpoints):
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)

    def _is_foreign(self, cluster_id: str | None) -> bool:
        return cluster_id is not None and cluster_id != self._cluster_id

    def _refusal(self, sender_id: int, epoch: int) -> ErrorCode | None:
        if epoch < self._state.epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        return ErrorCode.INVALID_REQUEST if sender_id < 0 else None

    def _is_meant(self, voter_id: int, directory_id: Uuid) -> bool:
        """Whether a request that names its receiver has come to the right one."""
        own = self._state.identity
        return voter_id == NO_VOTER_ID or (voter_id == own.node_id and directory_id in (ZERO_UUID, own.directory_id))
