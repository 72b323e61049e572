"""Changes of the voter set by the leader: AddRaftVoter, RemoveRaftVoter, UpdateRaftVoter (KIP-853).

One change at a time, each by a VotersRecord that counts from when it is appended, and only once the leader has
committed something in its epoch, so that every two majorities that follow on each other overlap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from odradek.ports import Promise, TimerHandle
from odradek.quorum.leader import LeaderState
from odradek.quorum.leading import Leading
from odradek.quorum.messages import Answers
from odradek.quorum.serving import Serving
from odradek.quorum.settings import RaftCluster
from odradek.quorum.state import QuorumState
from odradek.quorum.voters import VoterEndpoint, VoterNode, VoterSet
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse
from odradek.wire.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from odradek.wire.messages.remove_raft_voter import RemoveRaftVoterRequest, RemoveRaftVoterResponse
from odradek.wire.messages.update_raft_voter import UpdateRaftVoterRequest, UpdateRaftVoterResponse
from odradek.wire.uuids import ZERO_UUID

_log = logging.getLogger(__name__)

KRAFT_VERSION = "kraft.version"
SOFTWARE_NAME = "odradek"
SOFTWARE_VERSION = "1"
Done = Callable[[KafkaError | None], None]


class _Change(NamedTuple):
    """The one change that is under way."""

    leader: LeaderState
    done: Done
    offset: int | None
    """Of its VotersRecord, once that is appended."""


class VoterChanges:
    """Answers the three requests; an answer comes when the change is committed, or has failed."""

    def __init__(
        self,
        state: QuorumState,
        leading: Leading,
        serving: Serving,
        answers: Answers,
        cluster: RaftCluster | None,
        cluster_id: str,
    ) -> None:
        self._state = state
        self._leading = leading
        self._serving = serving
        self._answers = answers
        self._cluster = cluster
        self._cluster_id = cluster_id
        self._change: _Change | None = None
        self._timer: TimerHandle | None = None

    # The requests

    def add(self, request: AddRaftVoterRequest) -> Promise[AddRaftVoterResponse]:
        """Make an observer, which must have caught up, a voter."""
        promise: Promise[AddRaftVoterResponse] = Promise()

        def done(error: KafkaError | None) -> None:
            code, text = (ErrorCode.NONE, None) if error is None else (error.code, error.message)
            promise.resolve(AddRaftVoterResponse(error_code=code, error_message=text))

        endpoints = tuple(VoterEndpoint(point.name, point.host, point.port) for point in request.listeners)
        new = VoterNode(request.voter_id, request.voter_directory_id, endpoints)
        error = self._refusal(request.cluster_id, self._state.epoch)
        if error is None and (new.id < 0 or new.directory_id == ZERO_UUID):
            error = KafkaError(ErrorCode.INVALID_REQUEST, "Add voter request didn't include a valid voter")
        if error is None and self._cluster is not None and new.address(self._cluster.listener_name) is None:
            error = KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"Add voter request has no endpoint for the default listener {self._cluster.listener_name}",
            )
        voters = self._state.replica.history.voters
        error = error or self._not_now("adding")
        if error is None and voters.by_id(new.id) is not None:
            error = KafkaError(
                ErrorCode.DUPLICATE_VOTER,
                f"The voter id {new.id} is already part of the set of voters {_names(voters)}.",
            )
        leader, cluster = self._leading.leader, self._cluster
        if error is not None or leader is None or cluster is None:
            done(error or KafkaError(ErrorCode.REQUEST_TIMED_OUT, "This node has no connections to others"))
            return promise
        self._begin(leader, done)
        self._ask_versions(leader, new, done, is_answered_at_append=not request.ack_when_committed)
        return promise

    def remove(self, request: RemoveRaftVoterRequest) -> Promise[RemoveRaftVoterResponse]:
        """Make a voter an observer; a leader that removes itself resigns when that is committed."""
        promise: Promise[RemoveRaftVoterResponse] = Promise()

        def done(error: KafkaError | None) -> None:
            code, text = (ErrorCode.NONE, None) if error is None else (error.code, error.message)
            promise.resolve(RemoveRaftVoterResponse(error_code=code, error_message=text))

        error = self._refusal(request.cluster_id, self._state.epoch)
        if error is None and (request.voter_id < 0 or request.voter_directory_id == ZERO_UUID):
            error = KafkaError(ErrorCode.INVALID_REQUEST, "Remove voter request didn't include a valid voter")
        error = error or self._not_now("removing")
        voters = self._state.replica.history.voters
        old = voters.by_id(request.voter_id)
        if error is None and (old is None or old.directory_id != request.voter_directory_id or len(voters.voters) == 1):
            error = KafkaError(
                ErrorCode.VOTER_NOT_FOUND,
                f"Cannot remove voter {request.voter_id} from the set of voters {_names(voters)}",
            )
        leader = self._leading.leader
        if error is not None or leader is None:
            done(error or KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER))
            return promise
        self._begin(leader, done)
        self._append(leader, voters.without(request.voter_id), done)
        return promise

    def update(self, request: UpdateRaftVoterRequest, listener: str) -> Promise[UpdateRaftVoterResponse]:
        """Take in where a voter is reached now, and which versions it supports."""
        promise: Promise[UpdateRaftVoterResponse] = Promise()

        def done(error: KafkaError | None) -> None:
            promise.resolve(self._answers.update_voter(ErrorCode.NONE if error is None else error.code, listener))

        endpoints = tuple(VoterEndpoint(point.name, point.host, point.port) for point in request.listeners)
        lowest = request.kraft_version_feature.min_supported_version
        highest = request.kraft_version_feature.max_supported_version
        new = VoterNode(request.voter_id, request.voter_directory_id, endpoints, lowest, highest)
        error = self._refusal(request.cluster_id, request.current_leader_epoch)
        is_valid = new.id >= 0 and new.directory_id != ZERO_UUID and 0 <= lowest <= highest
        if error is None and self._cluster is not None:
            is_valid = is_valid and new.address(self._cluster.listener_name) is not None
        if error is None and not is_valid:
            error = KafkaError(ErrorCode.INVALID_REQUEST)
        if error is None and self._state.replica.history.kraft_version < 1:
            done(self._noted(new))
            return promise
        error = error or self._not_now("updating")
        voters = self._state.replica.history.voters
        old = voters.by_id(new.id)
        if error is None and (old is None or old.directory_id != new.directory_id):
            error = KafkaError(ErrorCode.VOTER_NOT_FOUND)
        if error is None and not lowest <= self._state.replica.history.kraft_version <= highest:
            error = KafkaError(ErrorCode.INVALID_REQUEST)
        leader = self._leading.leader
        if error is not None or leader is None or old == new:
            done(error)
            return promise
        self._begin(leader, done)
        self._append(leader, voters.updated(new), done)
        return promise

    def _noted(self, new: VoterNode) -> KafkaError | None:
        """Keep what a static voter says of itself, for an upgrade of kraft.version; why it cannot be kept."""
        leader = self._leading.leader
        if leader is None or self._change is not None or leader.high_watermark < 0 or leader.reported is None:
            return KafkaError(ErrorCode.REQUEST_TIMED_OUT)
        if new.min_kraft_version > 0:
            return KafkaError(ErrorCode.INVALID_REQUEST)
        if leader.reported.by_id(new.id) is None:
            return KafkaError(ErrorCode.VOTER_NOT_FOUND)
        leader.reported = leader.reported.updated(new)
        self._leading.heard_from(leader, new.id, new.directory_id)
        return None

    # Checks

    def _refusal(self, cluster_id: str | None, epoch: int) -> KafkaError | None:
        if cluster_id is not None and cluster_id != self._cluster_id:
            return KafkaError(
                ErrorCode.INCONSISTENT_CLUSTER_ID,
                f"The cluster id {cluster_id} is not {self._cluster_id}, this cluster's",
            )
        code = self._serving.refusal(epoch)
        return None if code is None else KafkaError(code)

    def _not_now(self, doing: str) -> KafkaError | None:
        """Why no change can begin: these go by, and a client tries again."""
        leader, history = self._leading.leader, self._state.replica.history
        if self._change is not None:
            return KafkaError(ErrorCode.REQUEST_TIMED_OUT, "A previous voter change request is still being handled")
        if leader is None or leader.high_watermark < 0:
            return KafkaError(ErrorCode.REQUEST_TIMED_OUT, "The leader has not established its high watermark yet")
        if history.kraft_version < 1:
            return KafkaError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"Cluster doesn't support {doing} voter because the {KRAFT_VERSION} feature is {history.kraft_version}",
            )
        if history.voters_offset >= leader.high_watermark:
            return KafkaError(ErrorCode.REQUEST_TIMED_OUT, "The last change of the voters is not committed yet")
        return None

    # How a change goes on

    def _begin(self, leader: LeaderState, done: Done) -> None:
        self._change = _Change(leader, done, None)
        if self._cluster is not None:
            self._timer = self._cluster.scheduler.call_later(
                self._cluster.settings.request_timeout_ms,
                lambda: self._finish(done, KafkaError(ErrorCode.REQUEST_TIMED_OUT)),
            )

    def _ask_versions(self, leader: LeaderState, new: VoterNode, done: Done, *, is_answered_at_append: bool) -> None:
        cluster = self._cluster
        address = None if cluster is None else new.address(cluster.listener_name)
        if cluster is None or address is None:
            return
        request = ApiVersionsRequest(client_software_name=SOFTWARE_NAME, client_software_version=SOFTWARE_VERSION)

        def answered(answer: Promise[ApiVersionsResponse]) -> None:
            change = self._change
            if change is None or change.done is not done or self._leading.leader is not leader:
                return
            if answer.error is not None or answer.result().error_code:
                self._finish(done, KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"Voter {new.id} does not answer"))
                return
            supported = [each for each in answer.result().supported_features if each.name == KRAFT_VERSION]
            lowest, highest = (supported[0].min_version, supported[0].max_version) if supported else (0, 0)
            if not lowest <= self._state.replica.history.kraft_version <= highest:
                self._finish(
                    done,
                    KafkaError(
                        ErrorCode.INVALID_REQUEST, f"Voter {new.id} supports {KRAFT_VERSION} {lowest} to {highest} only"
                    ),
                )
            elif not leader.is_caught_up(new.id, new.directory_id, self._state.clock.now_ms()):
                self._finish(done, KafkaError(ErrorCode.REQUEST_TIMED_OUT, f"Voter {new.id} is lagging behind"))
            else:
                node = new._replace(min_kraft_version=lowest, max_kraft_version=highest)
                self._append(leader, self._state.replica.history.voters.added(node), done)
                if is_answered_at_append:
                    done(None)

        cluster.control.send(
            *address, request, ApiVersionsResponse, timeout_ms=cluster.settings.request_timeout_ms
        ).on_done(answered)

    def _append(self, leader: LeaderState, voters: VoterSet, done: Done) -> None:
        offset = self._state.replica.end_offset
        self._change = _Change(leader, done, offset)
        _log.info("the voters become %s, by the record at offset %d", _names(voters), offset)
        self._leading.append_voters(leader, voters)
        if leader.update_high_watermark():
            self._leading.advanced(leader)

    def moved(self) -> None:
        """The high watermark or the role has moved: the change may be committed, or will never be known to be."""
        change, leader = self._change, self._leading.leader
        if change is not None and leader is not change.leader:
            self._finish(change.done, KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER))
        elif change is not None and change.offset is not None and change.leader.high_watermark > change.offset:
            self._finish(change.done, None)
        if (
            leader is not None
            and not self._state.is_voter
            and (leader.high_watermark > self._state.replica.history.voters_offset)
        ):
            _log.info("this node is no voter any more, and resigns")
            self._state.become_resigned(leader.successors())

    def _finish(self, done: Done, error: KafkaError | None) -> None:
        change = self._change
        if change is None or change.done is not done:
            return
        self._change = None
        if self._timer is not None:
            self._timer.cancel()
        done(error)


def _names(voters: VoterSet) -> str:
    return ", ".join(str(voter_id) for voter_id in voters.ids)
