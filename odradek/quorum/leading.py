"""What a leader does: it opens its epoch in the log, appends, and keeps the voters' fetches and its own right to lead.

A leader that has not been heard of by a majority of voters for 1.5 times the fetch time-out resigns: others may have
elected another one by then (KIP-595, check-quorum).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from odradek.ports import Promise, TimerHandle
from odradek.quorum.batches import Encoded, encode_batches, encode_control_batch
from odradek.quorum.elections import Elections
from odradek.quorum.leader import LeaderState
from odradek.quorum.messages import TOPIC, only, seen
from odradek.quorum.settings import RaftCluster
from odradek.quorum.state import QuorumState
from odradek.quorum.voters import BEFORE_LOG, VoterNode, VoterSet
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.begin_quorum_epoch import (
    BeginQuorumEpochRequest,
    BeginQuorumEpochRequestPartitionData,
    BeginQuorumEpochRequestTopicData,
    BeginQuorumEpochResponse,
    LeaderEndpoint,
)
from odradek.wire.messages.kraft_version_record import KRaftVersionRecord
from odradek.wire.messages.leader_change_message import LeaderChangeMessage, Voter
from odradek.wire.records.control import ControlType
from odradek.wire.schema import Message
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

CHECK_QUORUM_FACTOR = 1.5


class Leading:
    """Acts while the role is a LeaderState. `on_moved` is called when the log or the high watermark has moved."""

    def __init__(self, state: QuorumState, cluster: RaftCluster | None, elections: Elections | None) -> None:
        self.on_moved: Callable[[LeaderState], None] = lambda _leader: None
        self._state = state
        self._cluster = cluster
        self._elections = elections
        self._check_timer: TimerHandle | None = None
        self._begin_timer: TimerHandle | None = None
        self._heard_ms = 0.0
        self.is_leaving = False
        """Whether this node appends no more, so that a successor can come to the end of the log."""

    @property
    def leader(self) -> LeaderState | None:
        """The role, if this node leads."""
        role = self._state.role
        return role if isinstance(role, LeaderState) and not self._state.replica.has_failed else None

    def begin(self, leader: LeaderState) -> None:
        """Write what an epoch opens with; raises KafkaError KAFKA_STORAGE_ERROR."""
        _log.info("leading the metadata quorum in epoch %d from offset %d", leader.epoch, leader.epoch_start_offset)
        self.is_leaving = False
        self._watch(leader)
        history, identity = self._state.replica.history, self._state.identity
        if history.kraft_version == 0:
            leader.reported = history.voters.updated(identity.as_voter())
        controls = self._start_of_epoch(leader)
        replica = self._state.replica
        encoded = encode_control_batch(controls, replica.end_offset, leader.epoch, self._state.clock.now_ms())
        self._append(leader, encoded)

    def end(self) -> None:
        """This node leads no more."""
        for timer in (self._check_timer, self._begin_timer):
            if timer is not None:
                timer.cancel()
        self._check_timer = self._begin_timer = None

    def _start_of_epoch(self, leader: LeaderState) -> list[tuple[ControlType, Message]]:
        history, identity = self._state.replica.history, self._state.identity
        change = LeaderChangeMessage(
            version=0,
            leader_id=identity.node_id,
            voters=[Voter(voter_id=voter.id) for voter in history.voters.voters],
            granting_voters=[Voter(voter_id=voter_id) for voter_id in sorted(leader.granting)],
        )
        controls: list[tuple[ControlType, Message]] = [(ControlType.LEADER_CHANGE, change)]
        own = history.voters.find(identity.node_id, identity.directory_id)
        if history.kraft_version == 0 or own is None:
            return controls
        current = identity.as_voter()
        if history.voters_offset == BEFORE_LOG or own != current:
            offset = self._state.replica.end_offset
            updated = history.voters.updated(current)
            version = KRaftVersionRecord(version=0, kraft_version=history.kraft_version)
            controls.append((ControlType.KRAFT_VERSION, version))
            controls.append((ControlType.KRAFT_VOTERS, updated.to_record()))
            history.set_kraft_version(offset + 1, history.kraft_version)
            history.set_voters(offset + 2, updated)
            leader.use_voters(updated)
        return controls

    # Appending

    def append(self, records: Sequence[tuple[Message, int]], *, atomic: bool) -> int:
        """Append (record, version) pairs; returns the last one's offset."""
        leader = self.leader
        if leader is None or self.is_leaving:
            raise KafkaError(ErrorCode.NOT_CONTROLLER)
        replica = self._state.replica
        now_ms = self._state.clock.now_ms()
        self._append(leader, encode_batches(records, replica.end_offset, leader.epoch, now_ms, atomic=atomic))
        return replica.end_offset - 1

    def append_voters(self, leader: LeaderState, voters: VoterSet) -> int:
        """Append a voter set, which counts from now on; returns its offset."""
        replica = self._state.replica
        offset = replica.end_offset
        control = [(ControlType.KRAFT_VOTERS, voters.to_record())]
        encoded = encode_control_batch(control, offset, leader.epoch, self._state.clock.now_ms())
        replica.history.set_voters(offset, voters)
        leader.use_voters(voters)
        self._watch(leader)
        self._append(leader, encoded)
        return offset

    def append_upgrade(self, leader: LeaderState, kraft_version: int, voters: VoterSet) -> None:
        """Append a kraft.version and the voter set that it comes with; both count from now on."""
        replica = self._state.replica
        offset = replica.end_offset
        controls: list[tuple[ControlType, Message]] = [
            (ControlType.KRAFT_VERSION, KRaftVersionRecord(version=0, kraft_version=kraft_version)),
            (ControlType.KRAFT_VOTERS, voters.to_record()),
        ]
        encoded = encode_control_batch(controls, offset, leader.epoch, self._state.clock.now_ms())
        replica.history.set_kraft_version(offset, kraft_version)
        replica.history.set_voters(offset + 1, voters)
        leader.use_voters(voters)
        self._append(leader, encoded)

    def _append(self, leader: LeaderState, encoded: Encoded) -> None:
        self._state.replica.append(encoded, leader.epoch)
        self._state.replica.flush()
        if self._state.role is leader:
            self.on_moved(leader)

    def flushed(self, offset: int) -> None:
        """What is below `offset` is durable here."""
        leader = self.leader
        if leader is not None and leader.update_end_offset(self._state.identity.node_id, offset):
            self.advanced(leader)

    def advanced(self, leader: LeaderState) -> None:
        """The high watermark has moved: hand over what is committed."""
        self._state.replica.advance_to(leader.high_watermark)
        if self._state.role is leader:
            self.on_moved(leader)

    # Whether this node still leads

    def heard_from(self, leader: LeaderState, replica_id: int, directory_id: Uuid) -> None:
        """A replica has fetched."""
        if leader.heard_from(replica_id, directory_id):
            self._heard_ms = self._state.clock.monotonic_ms()

    def _watch(self, leader: LeaderState) -> None:
        """See to the other voters, if there are any: an only voter has no timers for them."""
        if self._begin_timer is None:
            self._tell_voters(leader)
        if self._check_timer is None:
            self._heard_ms = self._state.clock.monotonic_ms()
            self._check_quorum(leader)

    def _check_quorum(self, leader: LeaderState) -> None:
        cluster, self._check_timer = self._cluster, None
        if cluster is None or self.leader is not leader or not leader.successors():
            return
        limit_ms = CHECK_QUORUM_FACTOR * cluster.settings.fetch_timeout_ms
        now_ms = self._state.clock.monotonic_ms()
        remaining_ms = self._heard_ms + limit_ms - now_ms
        if remaining_ms <= 0:
            _log.warning("no majority of voters has fetched for %d ms: this node resigns", limit_ms)
            self._state.become_resigned(leader.successors())
        else:
            self._check_timer = cluster.scheduler.call_later(remaining_ms, lambda: self._check_quorum(leader))

    def _tell_voters(self, leader: LeaderState) -> None:
        """Tell the voters that have not fetched lately who leads, and go on doing so."""
        cluster, self._begin_timer = self._cluster, None
        if cluster is None or self.leader is not leader or not leader.successors():
            return
        period_ms = cluster.settings.fetch_timeout_ms / 2
        now_ms = self._state.clock.now_ms()
        for voter in leader.successors():
            if now_ms - leader.voters[voter.id].last_fetch_ms >= period_ms:
                self._begin_epoch(leader, voter, cluster)
        self._begin_timer = cluster.scheduler.call_later(period_ms, lambda: self._tell_voters(leader))

    def _begin_epoch(self, leader: LeaderState, voter: VoterNode, cluster: RaftCluster) -> None:
        address = voter.address(cluster.listener_name)
        if address is None:
            return
        identity = self._state.identity
        partition = BeginQuorumEpochRequestPartitionData(
            partition_index=0,
            voter_directory_id=voter.directory_id,
            leader_id=identity.node_id,
            leader_epoch=leader.epoch,
        )
        request = BeginQuorumEpochRequest(
            cluster_id=cluster.cluster_id,
            voter_id=voter.id,
            topics=[BeginQuorumEpochRequestTopicData(topic_name=TOPIC, partitions=[partition])],
            leader_endpoints=[
                LeaderEndpoint(name=point.listener, host=point.host, port=point.port) for point in identity.endpoints
            ],
        )
        cluster.control.send(
            *address, request, BeginQuorumEpochResponse, timeout_ms=cluster.settings.request_timeout_ms
        ).on_done(self._begun)

    def _begun(self, answer: Promise[BeginQuorumEpochResponse]) -> None:
        """Only an answer that knows better matters; a voter that did not hear of it is told again."""
        if answer.error is not None or self._elections is None or self._cluster is None:
            return
        response = answer.result()
        partition = only(response.topics, [topic.partitions for topic in response.topics])
        if response.error_code == 0 and partition is not None:
            self._elections.observe(
                seen(
                    partition.error_code, partition.leader_id, partition.leader_epoch, response.node_endpoints,
                    self._cluster.listener_name,
                )
            )  # fmt: skip
