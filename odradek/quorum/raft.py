"""One node of the quorum: the parts put together, and what the rest of the node asks of it.

A node that is the only voter leads when `start` returns, in an epoch above all that it has seen; what it appends is
committed once it is durable. With others beside it (`cluster`) it takes part in elections, leads, follows or observes,
driven by timers and by requests, and by nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from odradek.ports import Clock, Promise, TimerHandle
from odradek.quorum.elections import Elections
from odradek.quorum.following import Following
from odradek.quorum.identity import NodeIdentity as NodeIdentity
from odradek.quorum.identity import RaftStores as RaftStores
from odradek.quorum.joining import Joining
from odradek.quorum.kraft_version import upgrade
from odradek.quorum.leader import LeaderState
from odradek.quorum.leading import Leading
from odradek.quorum.log import RaftListener, SnapshotId
from odradek.quorum.messages import Answers
from odradek.quorum.replica import Replica
from odradek.quorum.retention import CHECK_MS, Retention
from odradek.quorum.roles import Follower, Role
from odradek.quorum.serving import Serving
from odradek.quorum.settings import QuorumSettings, RaftCluster
from odradek.quorum.snapshots import SnapshotTimes, build_snapshot
from odradek.quorum.state import QuorumState
from odradek.quorum.voter_changes import VoterChanges
from odradek.quorum.voters import VoterSet, address_of
from odradek.quorum.voting import Voting
from odradek.wire.errors import KafkaError
from odradek.wire.schema import Message

_log = logging.getLogger(__name__)

HANDOVER_MS = 500
"""How long a leader that is to stop waits for a successor to have all of its log."""


class RaftNode:
    """Appends to the metadata log while it leads, follows whoever else does, and hands over what is committed."""

    def __init__(
        self,
        identity: NodeIdentity,
        stores: RaftStores,
        clock: Clock,
        on_fatal: Callable[[BaseException], None],
        *,
        cluster: RaftCluster | None = None,
    ) -> None:
        """`on_fatal` is told when the disk fails; without a `cluster` this node knows of no others."""
        self.identity = identity
        settings = cluster.settings if cluster is not None else QuorumSettings()
        cluster_id = cluster.cluster_id if cluster is not None else ""
        self._cluster = cluster
        self._clock = clock
        self._on_fatal = on_fatal
        self._replica = Replica(stores, settings.static_voters, self._failed)
        random = cluster.random if cluster is not None else None
        self._state = QuorumState(identity, self._replica, stores.election_state, clock, random, settings)
        answers = Answers(self._state)
        self._elections = Elections(self._state, cluster) if cluster is not None else None
        self._following: Following | None = None
        if cluster is not None and self._elections is not None:
            self._elections.on_unreachable = self._nobody_leads
            self._following = Following(self._state, cluster, self._elections)
            self._following.on_fetching = Joining(self._state, cluster).look
        self._leading = Leading(self._state, cluster, self._elections)
        self.serving = Serving(self._state, self._leading, answers, cluster, cluster_id)
        self.voting = Voting(self._state, answers, cluster_id, self._elections)
        self.voter_changes = VoterChanges(self._state, self._leading, self.serving, answers, cluster, cluster_id)
        self._retention = Retention(self._replica, settings)
        self._retention_timer: TimerHandle | None = None
        self._told: tuple[int | None, int] = (None, -1)
        self._on_other_leader: Promise[None] | None = None
        self._state.on_role = self._role_changed
        self._replica.on_flushed = self._flushed
        self._leading.on_moved = self._moved

    # What others ask

    @property
    def epoch(self) -> int:
        """The epoch that this node is in."""
        return self._state.epoch

    @property
    def leader_id(self) -> int | None:
        """Who leads it, as far as this node knows."""
        return self._state.leader_id

    @property
    def is_leader(self) -> bool:
        """Whether this node may append."""
        return self._leading.leader is not None and not self._leading.is_leaving

    @property
    def is_voter(self) -> bool:
        """Whether this node is in the latest voter set."""
        return self._state.is_voter

    @property
    def role(self) -> Role:
        """What this node is in its epoch."""
        return self._state.role

    @property
    def leader(self) -> LeaderState | None:
        """The leader's own view, on the leader."""
        role = self._state.role
        return role if isinstance(role, LeaderState) else None

    @property
    def bootstrap(self) -> Sequence[Message]:
        """The records of the bootstrap snapshot, for the first leader to write into the log."""
        return self._replica.bootstrap

    @property
    def high_watermark(self) -> int:
        """Everything below is known here to be committed; -1 if nothing is."""
        return self._replica.high_watermark

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        return self._replica.end_offset

    @property
    def voters(self) -> VoterSet:
        """The latest voter set."""
        return self._replica.history.voters

    @property
    def kraft_version(self) -> int:
        """The latest kraft.version."""
        return self._replica.history.kraft_version

    def leader_endpoint(self, listener: str) -> tuple[str, int] | None:
        """Host and port at which the leader's listener of this name is reached; None if either is unknown."""
        return None if self.leader_id is None else address_of(self._state.leader_endpoints, listener)

    def latest_snapshot(self) -> SnapshotId | None:
        """The newest snapshot; the bootstrap one counts."""
        return self._replica.latest_snapshot()

    def add_listener(self, listener: RaftListener) -> None:
        """Hand what is committed to `listener` too; before `start`."""
        self._replica.listeners.append(listener)

    # Start and stop

    def start(self) -> None:
        """Read state, snapshot and log, and take part: raises OSError, ProtocolError or KafkaError if they are bad."""
        self._replica.load()
        self._state.initialize()
        if self._cluster is not None:
            self._retention_timer = self._cluster.scheduler.call_later(CHECK_MS, self._clean)
        if self.voters.is_only(self.identity.node_id, self.identity.directory_id):
            self._state.lead_alone()
        else:
            self._role_changed(self._state.role)

    def shutdown(self) -> Promise[None]:
        """Give up leading, so that others need not wait for a time-out; settles once another leads, or cannot be had.

        `close` comes after it.
        """
        done: Promise[None] = Promise()
        leader = self._leading.leader
        if leader is None or self._cluster is None or not leader.successors():
            done.resolve(None)
            return done
        self._on_other_leader = done
        scheduler, timeout_ms = self._cluster.scheduler, self._cluster.settings.request_timeout_ms
        timer = scheduler.call_later(timeout_ms, lambda: done.resolve(None))
        done.on_done(lambda _done: timer.cancel())
        scheduler.call_later(min(timeout_ms / 2, HANDOVER_MS), lambda: self.resign(leader.epoch))
        self._leading.is_leaving = True
        self._hand_over(leader)
        return done

    def _hand_over(self, leader: LeaderState) -> None:
        """Resign once the best successor has the whole log: nobody would vote for one that lacks some of it."""
        best = leader.successors()[:1]
        if not best or leader.voters[best[0].id].end_offset >= self._replica.end_offset:
            self.resign(leader.epoch)

    def resign(self, epoch: int) -> None:
        """Give up leading `epoch`; nothing happens in another one."""
        leader = self._leading.leader
        if leader is not None and leader.epoch == epoch:
            self._state.become_resigned(leader.successors())

    def close(self) -> None:
        """No timers, no requests and no votes from here on."""
        self._replica.close()
        self._leading.end()
        if self._retention_timer is not None:
            self._retention_timer.cancel()
        if self._elections is not None:
            self._elections.close()
        if self._following is not None:
            self._following.close()

    # What moves

    def _role_changed(self, _left: Role) -> None:
        role = self._state.role
        self._leading.end()
        self.serving.moved()
        self.voter_changes.moved()
        self._tell()
        if isinstance(role, LeaderState):
            self._leading.begin(role)
        if self._state.role is role and self._elections is not None:
            self._elections.role_entered()
        if self._state.role is role and self._following is not None:
            self._following.role_entered()
        if isinstance(role, Follower) and self._on_other_leader is not None:
            self._on_other_leader.resolve(None)

    def _nobody_leads(self) -> None:
        """The other voters are gone: there is nobody to wait for."""
        if self._on_other_leader is not None:
            self._on_other_leader.resolve(None)

    def _flushed(self, offset: int) -> None:
        self._leading.flushed(offset)
        if self._following is not None:
            self._following.flushed()

    def _moved(self, leader: LeaderState) -> None:
        self._tell()
        self.serving.moved()
        if self._state.role is leader:
            self.voter_changes.moved()
        if self._state.role is leader and self._leading.is_leaving:
            self._hand_over(leader)

    def _tell(self) -> None:
        """Tell listeners who leads: of this node only once all before its epoch is handed over."""
        role, leader_id = self._state.role, self.leader_id
        if self._replica.has_failed:
            return
        if isinstance(role, LeaderState):
            if role.high_watermark <= role.epoch_start_offset:
                leader_id = None
        elif leader_id == self.identity.node_id:
            leader_id = None
        told, said = self._told, (leader_id, self.epoch)
        if said == told or (leader_id is None and told[0] is None):
            return
        self._told = said
        for listener in self._replica.listeners:
            listener.leader_changed(*said)

    def _failed(self, error: BaseException) -> None:
        self._on_fatal(error)
        for listener in self._replica.listeners:
            listener.leader_changed(None, self.epoch)

    # Appending

    def append(self, records: Sequence[tuple[Message, int]], *, atomic: bool) -> int:
        """Append (record, version) pairs; returns the last one's offset. They reach the listeners when committed.

        Raises KafkaError NOT_CONTROLLER on a node that does not lead, POLICY_VIOLATION for atomic records that do not
        fit a batch, KAFKA_STORAGE_ERROR if the disk fails, after which this node appends no more.
        """
        return self._leading.append(records, atomic=atomic)

    def upgrade_kraft_version(self, version: int, *, validate_only: bool) -> None:
        """Let the voters be in the log from now on; see `kraft_version.upgrade` for what is raised."""
        upgrade(self._state, self._leading, version, validate_only=validate_only)

    # Snapshots

    def build_snapshot(
        self, offset: int, epoch: int, records: Sequence[tuple[Message, int]], last_contained_ms: int
    ) -> tuple[SnapshotId, bytes]:
        """The snapshot that stands for everything up to the record at `offset`, which must be committed."""
        snapshot_id = SnapshotId(offset + 1, epoch)
        times = SnapshotTimes(last_contained_ms, self._clock.now_ms())
        history = self._replica.history
        kraft_version = history.kraft_version_at(offset)
        return snapshot_id, build_snapshot(snapshot_id, history.voters_at(offset), kraft_version, records, times)

    def store_snapshot(self, snapshot_id: SnapshotId, data: bytes) -> None:
        """Keep a snapshot, durably; may run on another thread. Raises OSError."""
        self._replica.snapshots.write(snapshot_id, data)
        self._replica.list_snapshots()

    def delete_snapshots_but(self, newest: int, kept: SnapshotId) -> None:
        """Drop all snapshots but the `newest` ones, `kept`, and the one that the log begins behind. Raises OSError."""
        needed = (kept, self._replica.first_snapshot())
        for snapshot_id in self._replica.snapshots.list()[:-newest]:
            if snapshot_id not in needed:
                self._replica.snapshots.delete(snapshot_id)
        self._replica.list_snapshots()

    def _clean(self) -> None:
        try:
            self._retention.clean(self._clock.now_ms())
        except (OSError, KafkaError) as error:
            _log.warning("the metadata log could not be cleaned: %r", error)
        if self._cluster is not None:
            self._retention_timer = self._cluster.scheduler.call_later(CHECK_MS, self._clean)
