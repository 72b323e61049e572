"""Elections: when one is called, who is asked, and what others say of who leads (KIP-595, KIP-996)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from odradek.ports import Promise, TimerHandle
from odradek.quorum.election_state import NOBODY
from odradek.quorum.leader import LeaderState
from odradek.quorum.messages import TOPIC, LeaderSeen, only, seen
from odradek.quorum.roles import Follower, Nominee, Resigned
from odradek.quorum.settings import RaftCluster
from odradek.quorum.state import NEVER_MS, QuorumState
from odradek.quorum.voters import VoterNode
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.end_quorum_epoch import (
    EndQuorumEpochRequest,
    EndQuorumEpochRequestPartitionData,
    EndQuorumEpochRequestTopicData,
    EndQuorumEpochResponse,
    LeaderEndpoint,
    ReplicaInfo,
)
from odradek.wire.messages.vote import (
    VoteRequest,
    VoteRequestPartitionData,
    VoteRequestTopicData,
    VoteResponse,
    VoteResponsePartitionData,
)

_log = logging.getLogger(__name__)

BACKOFF_BASE_MS = 100
MAX_DOUBLINGS = 20


class Elections:
    """Acts on the state's role: `role_entered` after each change of it."""

    def __init__(self, state: QuorumState, cluster: RaftCluster) -> None:
        self._state = state
        self._cluster = cluster
        self._settings = cluster.settings
        self.on_unreachable: Callable[[], None] = lambda: None
        """Called when there is no connection to any voter that should hear that this node has resigned."""
        self._timer: TimerHandle | None = None
        self._is_closed = False

    def close(self) -> None:
        """Do nothing any more."""
        self._is_closed = True
        self._disarm()

    def role_entered(self) -> None:
        """Do what the new role does first, and be there when its time is up."""
        role = self._state.role
        self._disarm()
        if isinstance(role, Nominee):
            self._forward(role)
            if self._state.role is role:
                for voter in role.unrecorded():
                    self._ask_for_vote(role, voter)
        elif isinstance(role, Resigned):
            for voter_id in list(role.unacknowledged):
                told = self._state.replica.history.voters.by_id(voter_id)
                if told is not None:
                    self._tell_of_end(role, told)
        if self._state.role is role:
            self.arm()

    def arm(self) -> None:
        """Wake when the role's time is up, as it is now."""
        self._disarm()
        role = self._state.role
        if self._is_closed or isinstance(role, LeaderState) or role.deadline_ms == NEVER_MS:
            return
        delay_ms = max(0.0, role.deadline_ms - self._state.clock.monotonic_ms())
        self._timer = self._cluster.scheduler.call_later(delay_ms, lambda: self._state.attempt(self._woken))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _woken(self) -> None:
        state, role = self._state, self._state.role
        self._timer = None
        if self._is_closed or state.replica.has_failed or isinstance(role, LeaderState):
            return
        if role.deadline_ms > state.clock.monotonic_ms():
            self.arm()
        elif isinstance(role, Nominee):
            if role.is_prospective:
                self._lost()
            else:
                state.become_prospective()
        elif isinstance(role, Resigned):
            state.become_unattached(state.epoch + 1)
        elif state.is_voter:
            state.become_prospective()
        else:
            self._timer = self._cluster.scheduler.call_later(
                self._settings.fetch_timeout_ms, lambda: state.attempt(self._woken)
            )

    # As a nominee

    def _forward(self, role: Nominee) -> None:
        if self._state.role is not role or not role.is_elected:
            return
        if role.is_prospective:
            self._state.become_candidate()
        else:
            self._state.become_leader()

    def _lost(self) -> None:
        """Nobody else wants an election: go back to the leader, if one is known."""
        state = self._state
        if state.leader_id is not None and state.leader_endpoints:
            state.become_follower(state.epoch, state.leader_id, state.leader_endpoints)
        else:
            state.become_unattached(state.epoch, NOBODY if state.leader_id is None else state.leader_id)

    def _ask_for_vote(self, role: Nominee, voter: VoterNode) -> None:
        state = self._state
        address = voter.address(self._cluster.listener_name)
        if self._is_closed or state.role is not role or voter.id in role.granted or address is None:
            return
        partition = VoteRequestPartitionData(
            partition_index=0,
            replica_epoch=state.epoch,
            replica_id=state.identity.node_id,
            replica_directory_id=state.identity.directory_id,
            voter_directory_id=voter.directory_id,
            last_offset_epoch=state.replica.last_epoch,
            last_offset=state.replica.end_offset,
            pre_vote=role.is_prospective,
        )
        request = VoteRequest(
            cluster_id=self._cluster.cluster_id,
            voter_id=voter.id,
            topics=[VoteRequestTopicData(topic_name=TOPIC, partitions=[partition])],
        )
        self._cluster.control.send(
            *address, request, VoteResponse, timeout_ms=self._settings.request_timeout_ms
        ).on_done(lambda answer: state.attempt(lambda: self._voted(role, voter, answer)))

    def _voted(self, role: Nominee, voter: VoterNode, answer: Promise[VoteResponse]) -> None:
        state = self._state
        if self._is_closed:
            return
        if isinstance(answer.error, KafkaError) and answer.error.code is ErrorCode.UNSUPPORTED_VERSION:
            if state.role is role and role.is_prospective:
                state.become_candidate()
            return
        partition = None if answer.error is not None else _partition(answer.result())
        if partition is not None:
            points = answer.result().node_endpoints
            said = seen(
                partition.error_code, partition.leader_id, partition.leader_epoch, points, self._cluster.listener_name
            )
            if not self.observe(said) and state.role is role:
                self._record(role, voter, granted=partition.vote_granted)
                return
        if state.role is role and not role.is_rejected:
            self._cluster.scheduler.call_later(self._settings.retry_backoff_ms, lambda: self._ask_for_vote(role, voter))

    def _record(self, role: Nominee, voter: VoterNode, *, granted: bool) -> None:
        role.record(voter.id, granted=granted)
        self._forward(role)
        if self._state.role is not role or not role.is_rejected or role.is_backing_off:
            return
        if role.is_prospective:
            self._lost()
            return
        role.is_backing_off = True
        doublings = min(MAX_DOUBLINGS, role.retries - 1)
        backoff_ms = min(
            BACKOFF_BASE_MS * self._cluster.random.below(2 << doublings), self._settings.election_backoff_max_ms
        )
        role.deadline_ms = self._state.clock.monotonic_ms() + backoff_ms
        self.arm()

    # As a leader that was

    def _tell_of_end(self, role: Resigned, voter: VoterNode) -> None:
        state = self._state
        address = voter.address(self._cluster.listener_name)
        if self._is_closed or state.role is not role or address is None:
            return
        partition = EndQuorumEpochRequestPartitionData(
            partition_index=0,
            leader_id=state.identity.node_id,
            leader_epoch=state.epoch,
            preferred_successors=[each.id for each in role.successors],
            preferred_candidates=[
                ReplicaInfo(candidate_id=each.id, candidate_directory_id=each.directory_id) for each in role.successors
            ],
        )
        request = EndQuorumEpochRequest(
            cluster_id=self._cluster.cluster_id,
            topics=[EndQuorumEpochRequestTopicData(topic_name=TOPIC, partitions=[partition])],
            leader_endpoints=[
                LeaderEndpoint(name=point.listener, host=point.host, port=point.port)
                for point in state.identity.endpoints
            ],
        )
        self._cluster.control.send(
            *address, request, EndQuorumEpochResponse, timeout_ms=self._settings.request_timeout_ms
        ).on_done(lambda answer: state.attempt(lambda: self._told_of_end(role, voter, answer)))

    def _told_of_end(self, role: Resigned, voter: VoterNode, answer: Promise[EndQuorumEpochResponse]) -> None:
        if self._is_closed:
            return
        response = None if answer.error is not None else answer.result()
        if response is None and self._state.role is role:
            self._not_reached(role, voter)
        if response is not None and response.error_code == 0:
            partition = only(response.topics, [topic.partitions for topic in response.topics])
            if partition is not None:
                role.unacknowledged.pop(voter.id, None)
                self.observe(
                    seen(
                        partition.error_code, partition.leader_id, partition.leader_epoch, response.node_endpoints,
                        self._cluster.listener_name,
                    )
                )  # fmt: skip
                return
        if self._state.role is role:
            self._cluster.scheduler.call_later(self._settings.retry_backoff_ms, lambda: self._tell_of_end(role, voter))

    def _not_reached(self, role: Resigned, voter: VoterNode) -> None:
        role.unreachable[voter.id] = None
        if all(successor.id in role.unreachable for successor in role.successors):
            self.on_unreachable()

    # What answers say of who leads

    def observe(self, said: LeaderSeen) -> bool:
        """Take in who leads, as an answer says; True if there is nothing more to be had from that answer."""
        state, error = self._state, said.error
        if said.epoch < state.epoch or error is ErrorCode.UNKNOWN_LEADER_EPOCH:
            return True
        if said.epoch > state.epoch or error in (ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.NOT_LEADER_OR_FOLLOWER):
            state.learn(said.leader_id, said.epoch, said.endpoints)
            return True
        if said.leader_id != NOBODY and state.leader_id is None:
            state.learn(said.leader_id, said.epoch, said.endpoints)
        return error is not ErrorCode.NONE

    def hurry(self, role: Follower, delay_ms: float) -> None:
        """The leader has resigned: call an election after `delay_ms`, and not only when its silence is noticed.

        Nor does this node stand in the way of others that call one before, though it has just fetched from that leader.
        """
        role.has_fetched = False
        role.deadline_ms = self._state.clock.monotonic_ms() + delay_ms
        self.arm()


def _partition(response: VoteResponse) -> VoteResponsePartitionData | None:
    return None if response.error_code else only(response.topics, [topic.partitions for topic in response.topics])
