"""A follower's own part in the voter set: keeping its entry true, and joining by itself (KIP-853)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from odradek.ports import Promise
from odradek.quorum.roles import Follower
from odradek.quorum.settings import RaftCluster
from odradek.quorum.state import QuorumState
from odradek.quorum.voters import address_of
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse
from odradek.wire.messages.add_raft_voter import Listener as AddedListener
from odradek.wire.messages.remove_raft_voter import RemoveRaftVoterRequest, RemoveRaftVoterResponse
from odradek.wire.messages.update_raft_voter import (
    KRaftVersionFeature,
    Listener,
    UpdateRaftVoterRequest,
    UpdateRaftVoterResponse,
)
from odradek.wire.schema import Message

Resp = TypeVar("Resp", bound=Message)


class Joining:
    """Looks once in a fetch time-out; what fails is tried again then."""

    def __init__(self, state: QuorumState, cluster: RaftCluster) -> None:
        self._state = state
        self._cluster = cluster
        self._is_asking = False

    def look(self, role: Follower) -> None:
        """Send a request if the voter set should say something else of this node."""
        state = self._state
        now_ms = state.clock.monotonic_ms()
        if now_ms < role.update_voter_ms or self._is_asking:
            return
        role.update_voter_ms = now_ms + self._cluster.settings.fetch_timeout_ms
        history, own = state.replica.history, state.identity
        if not own.endpoints:
            return
        current = history.voters.by_id(own.node_id)
        if history.kraft_version < 1:
            if state.is_voter and not role.has_reported:
                self._report(role)
        elif state.is_voter:
            if current != own.as_voter():
                self._send(self._update(), UpdateRaftVoterResponse)
        elif self._cluster.settings.auto_join:
            if current is not None:
                old = RemoveRaftVoterRequest(
                    cluster_id=self._cluster.cluster_id,
                    voter_id=current.id,
                    voter_directory_id=current.directory_id,
                )
                self._send(old, RemoveRaftVoterResponse)
            else:
                self._send(self._add(), AddRaftVoterResponse)

    def _report(self, role: Follower) -> None:
        """Tell the leader once what this node supports; one that cannot be told is not told again."""

        def answered(answer: Promise[UpdateRaftVoterResponse]) -> None:
            error = answer.error
            code = error.code if isinstance(error, KafkaError) else ErrorCode.UNKNOWN_SERVER_ERROR
            if error is None:
                code = ErrorCode(answer.result().error_code)
            role.has_reported = code in (ErrorCode.NONE, ErrorCode.UNSUPPORTED_VERSION)

        self._send(self._update(), UpdateRaftVoterResponse, answered)

    def _update(self) -> UpdateRaftVoterRequest:
        own = self._state.identity.as_voter()
        return UpdateRaftVoterRequest(
            cluster_id=self._cluster.cluster_id,
            current_leader_epoch=self._state.epoch,
            voter_id=own.id,
            voter_directory_id=own.directory_id,
            listeners=[Listener(name=point.listener, host=point.host, port=point.port) for point in own.endpoints],
            kraft_version_feature=KRaftVersionFeature(
                min_supported_version=own.min_kraft_version, max_supported_version=own.max_kraft_version
            ),
        )

    def _add(self) -> AddRaftVoterRequest:
        own, settings = self._state.identity.as_voter(), self._cluster.settings
        return AddRaftVoterRequest(
            cluster_id=self._cluster.cluster_id,
            timeout_ms=settings.request_timeout_ms,
            voter_id=own.id,
            voter_directory_id=own.directory_id,
            listeners=[AddedListener(name=point.listener, host=point.host, port=point.port) for point in own.endpoints],
            ack_when_committed=False,
        )

    def _send(
        self, request: Message, response: type[Resp], then: Callable[[Promise[Resp]], None] = lambda _answer: None
    ) -> None:
        address = address_of(self._state.leader_endpoints, self._cluster.listener_name)
        if address is None:
            return
        self._is_asking = True

        def answered(answer: Promise[Resp]) -> None:
            self._is_asking = False
            then(answer)

        self._cluster.control.send(
            *address, request, response, timeout_ms=self._cluster.settings.request_timeout_ms
        ).on_done(answered)
