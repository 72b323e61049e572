"""The quorum's own APIs, which controllers serve each other and brokers (KIP-595, KIP-630, KIP-853): Fetch (1) of the
metadata log, Vote (52), BeginQuorumEpoch (53), EndQuorumEpoch (54), FetchSnapshot (59), AddRaftVoter (80),
RemoveRaftVoter (81) and UpdateRaftVoter (82)."""

from __future__ import annotations

from typing import TypeVar

from odradek.controller.api.common import check_cluster
from odradek.ports import Promise
from odradek.quorum.raft import RaftNode
from odradek.security.acl import Operation, ResourceType
from odradek.server.context import RequestContext
from odradek.server.handlers import AnyHandler, Handler, erase
from odradek.wire.messages.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse
from odradek.wire.messages.begin_quorum_epoch import BeginQuorumEpochRequest, BeginQuorumEpochResponse
from odradek.wire.messages.end_quorum_epoch import EndQuorumEpochRequest, EndQuorumEpochResponse
from odradek.wire.messages.fetch import FetchRequest, FetchResponse
from odradek.wire.messages.fetch_snapshot import FetchSnapshotRequest, FetchSnapshotResponse
from odradek.wire.messages.remove_raft_voter import RemoveRaftVoterRequest, RemoveRaftVoterResponse
from odradek.wire.messages.update_raft_voter import UpdateRaftVoterRequest, UpdateRaftVoterResponse
from odradek.wire.messages.vote import VoteRequest, VoteResponse

_FIRST_FETCH_WITH_ENDPOINTS = 17
_FIRST_WITH_ENDPOINTS = 1
"""Of the other APIs. Who asks in an earlier version knows where the voters are (KIP-853)."""

_Told = TypeVar(
    "_Told", FetchResponse, VoteResponse, BeginQuorumEpochResponse, EndQuorumEpochResponse, FetchSnapshotResponse
)


class RaftApi:
    """Hands requests to this node's part of the quorum."""

    def __init__(self, raft: RaftNode) -> None:
        self._raft = raft

    def handlers(self) -> list[AnyHandler]:
        """The declarations of the APIs that nodes use among themselves."""
        action, cluster = Operation.CLUSTER_ACTION, ResourceType.CLUSTER
        return [
            erase(Handler(FetchRequest, self._fetch, action, cluster)),
            erase(Handler(VoteRequest, self._vote, action, cluster)),
            erase(Handler(BeginQuorumEpochRequest, self._begin_quorum_epoch, action, cluster)),
            erase(Handler(EndQuorumEpochRequest, self._end_quorum_epoch, action, cluster)),
            erase(Handler(FetchSnapshotRequest, self._fetch_snapshot, action, cluster)),
            erase(Handler(UpdateRaftVoterRequest, self._update_voter, action, cluster)),
        ]

    def admin_handlers(self) -> list[AnyHandler]:
        """The declarations of those that brokers forward for clients."""
        alter, cluster = Operation.ALTER, ResourceType.CLUSTER
        return [
            erase(Handler(AddRaftVoterRequest, self._add_voter, alter, cluster)),
            erase(Handler(RemoveRaftVoterRequest, self._remove_voter, alter, cluster)),
        ]

    def _fetch(self, context: RequestContext, request: FetchRequest) -> Promise[FetchResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        answer = self._raft.serving.fetch(request, context.listener)
        if context.api_version >= _FIRST_FETCH_WITH_ENDPOINTS:
            return answer
        return answer.then(lambda response: _for_version(response, 0))

    def _vote(self, context: RequestContext, request: VoteRequest) -> VoteResponse:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return _for_version(self._raft.voting.vote(request, context.listener), context.api_version)

    def _begin_quorum_epoch(
        self, context: RequestContext, request: BeginQuorumEpochRequest
    ) -> BeginQuorumEpochResponse:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return _for_version(self._raft.voting.begin_quorum_epoch(request, context.listener), context.api_version)

    def _end_quorum_epoch(self, context: RequestContext, request: EndQuorumEpochRequest) -> EndQuorumEpochResponse:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return _for_version(self._raft.voting.end_quorum_epoch(request, context.listener), context.api_version)

    def _fetch_snapshot(self, context: RequestContext, request: FetchSnapshotRequest) -> FetchSnapshotResponse:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return _for_version(self._raft.serving.fetch_snapshot(request, context.listener), context.api_version)

    def _add_voter(self, context: RequestContext, request: AddRaftVoterRequest) -> Promise[AddRaftVoterResponse]:
        check_cluster(context, Operation.ALTER)
        return self._raft.voter_changes.add(request)

    def _remove_voter(
        self, context: RequestContext, request: RemoveRaftVoterRequest
    ) -> Promise[RemoveRaftVoterResponse]:
        check_cluster(context, Operation.ALTER)
        return self._raft.voter_changes.remove(request)

    def _update_voter(
        self, context: RequestContext, request: UpdateRaftVoterRequest
    ) -> Promise[UpdateRaftVoterResponse]:
        check_cluster(context, Operation.CLUSTER_ACTION)
        return self._raft.voter_changes.update(request, context.listener)


def _for_version(response: _Told, version: int) -> _Told:
    """Without the addresses of nodes where the version has no place for them."""
    if version < _FIRST_WITH_ENDPOINTS:
        response.node_endpoints = []
    return response
