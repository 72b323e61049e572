"""One node of the quorum.

A node that is the only voter elects itself when it starts, in an epoch above all that it has seen; what it appends is
committed once it is durable. Times are read from the clock port; nothing else here depends on the outside.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from odradek.ports import Clock, Promise
from odradek.quorum.batches import Encoded, decode_batches, encode_batches, encode_control_batch
from odradek.quorum.election_state import NOBODY, ElectionState
from odradek.quorum.leader import LeaderState
from odradek.quorum.log import (
    BOOTSTRAP_SNAPSHOT,
    Batch,
    ElectionStateStore,
    RaftListener,
    RaftLog,
    SnapshotId,
    SnapshotStore,
)
from odradek.quorum.snapshots import Snapshot, SnapshotTimes, build_snapshot, read_snapshot
from odradek.quorum.voters import BEFORE_LOG, VoterEndpoint, VoterNode, VoterSet, VotersHistory
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.messages.kraft_version_record import KRaftVersionRecord
from odradek.wire.messages.leader_change_message import LeaderChangeMessage, Voter
from odradek.wire.records.control import ControlType
from odradek.wire.schema import Message
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

READ_BYTES = 1024 * 1024
"""How much of the log is decoded at a time when it is loaded."""


class NodeIdentity(NamedTuple):
    """Who this node is in the quorum: id, metadata directory, and where its controller listeners are reached."""

    node_id: int
    directory_id: Uuid
    endpoints: tuple[VoterEndpoint, ...]


class RaftStores(NamedTuple):
    """Where this node keeps its part of the quorum's state."""

    log: RaftLog
    election_state: ElectionStateStore
    snapshots: SnapshotStore


class RaftNode:
    """Appends to the metadata log while it leads, and hands committed batches to its listeners."""

    def __init__(
        self, identity: NodeIdentity, stores: RaftStores, clock: Clock, on_fatal: Callable[[BaseException], None]
    ) -> None:
        self.identity = identity
        self.bootstrap: Sequence[Message] = ()
        """The records of the bootstrap snapshot, for the first leader to write into the log."""
        self.high_watermark = -1
        self._log = stores.log
        self._election_state = stores.election_state
        self._snapshots = stores.snapshots
        self._clock = clock
        self._on_fatal = on_fatal
        self._history = VotersHistory()
        self._listeners: list[RaftListener] = []
        self._state = ElectionState()
        self._leader: LeaderState | None = None
        self._uncommitted: deque[Batch] = deque()
        self._flushing = False
        self._failed = False

    # What others ask

    @property
    def epoch(self) -> int:
        """The epoch that this node is in."""
        return self._state.leader_epoch

    @property
    def leader_id(self) -> int | None:
        """Who leads it, as far as this node knows."""
        return None if self._state.leader_id == NOBODY else self._state.leader_id

    @property
    def is_leader(self) -> bool:
        """Whether this node may append."""
        return self._leader is not None and not self._failed

    @property
    def leader(self) -> LeaderState | None:
        """The leader's own view, on the leader."""
        return self._leader

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        return self._log.end_offset

    @property
    def voters(self) -> VoterSet:
        """The latest voter set."""
        return self._history.voters

    @property
    def kraft_version(self) -> int:
        """The latest kraft.version."""
        return self._history.kraft_version

    def latest_snapshot(self) -> SnapshotId | None:
        """The newest snapshot; the bootstrap one counts."""
        found = self._snapshots.list()
        return found[-1] if found else None

    def add_listener(self, listener: RaftListener) -> None:
        """Hand what is committed to `listener` too; before `start`."""
        self._listeners.append(listener)

    # Start

    def start(self) -> None:
        """Read state, snapshot and log, and take part: raises OSError, ProtocolError or KafkaError if they are bad."""
        snapshot = self._load_snapshot()
        first_offset = self._log.start_offset
        last_epoch = 0
        if snapshot is not None and snapshot.id != BOOTSTRAP_SNAPSHOT:
            first_offset = snapshot.id.offset
            last_epoch = snapshot.id.epoch
            for listener in self._listeners:
                listener.load_snapshot(
                    snapshot.records, snapshot.id.offset - 1, snapshot.id.epoch, snapshot.last_contained_ms
                )
        elif snapshot is not None:
            self.bootstrap = snapshot.records
        self._load_log(first_offset)
        if self._uncommitted:
            last_epoch = max(last_epoch, self._uncommitted[-1].epoch)
        state = self._election_state.load() or ElectionState()
        if state.leader_epoch < last_epoch:
            state = ElectionState(leader_epoch=last_epoch)
        self._state = state
        if self.voters.is_only(self.identity.node_id, self.identity.directory_id):
            self._become_leader()

    def _load_snapshot(self) -> Snapshot | None:
        """The newest snapshot that can be read: one that is damaged costs only the replay of more of the log."""
        found = self._snapshots.list()
        while found:
            snapshot_id = found.pop()
            history = VotersHistory()
            try:
                snapshot = read_snapshot(snapshot_id, self._snapshots.read(snapshot_id), history)
            except (OSError, ProtocolError, KafkaError) as error:
                if self._log.start_offset > 0 or not found:
                    raise
                _log.warning("snapshot at offset %d skipped: %s", snapshot_id.offset, error)
                continue
            self._history = history
            return snapshot
        return None

    def _load_log(self, first_offset: int) -> None:
        offset = self._log.start_offset
        while offset < self._log.end_offset:
            data = self._log.read(offset, READ_BYTES)
            for batch in decode_batches(data, self._history):
                if batch.last_offset >= first_offset:
                    self._uncommitted.append(batch)
                offset = batch.last_offset + 1
            if not data:
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"The metadata log has nothing at offset {offset}")

    # Leadership

    def _become_leader(self) -> None:
        """Lead the next epoch. The only voter has its own vote, so being leader is all there is to be saved."""
        epoch = self._state.leader_epoch + 1
        self._state = ElectionState(leader_epoch=epoch, leader_id=self.identity.node_id)
        self._election_state.save(self._state)
        start_offset = self._log.end_offset
        self._leader = LeaderState(self.identity.node_id, epoch, start_offset, self.voters)
        _log.info("leading the metadata quorum in epoch %d from offset %d", epoch, start_offset)
        controls = self._start_of_epoch()
        encoded = encode_control_batch(controls, start_offset, epoch, self._clock.now_ms())
        self._append(encoded)

    def _start_of_epoch(self) -> list[tuple[ControlType, Message]]:
        voters = [Voter(voter_id=voter.id) for voter in self.voters.voters]
        granting = [Voter(voter_id=self.identity.node_id)]
        change = LeaderChangeMessage(
            version=0, leader_id=self.identity.node_id, voters=voters, granting_voters=granting
        )
        controls: list[tuple[ControlType, Message]] = [(ControlType.LEADER_CHANGE, change)]
        own = self.voters.find(self.identity.node_id, self.identity.directory_id)
        if self.kraft_version == 0 or own is None:
            return controls
        current = VoterNode(self.identity.node_id, self.identity.directory_id, self.identity.endpoints)
        if self._history.voters_offset == BEFORE_LOG or own != current:
            offset = self._log.end_offset
            updated = self.voters.updated(current)
            version = KRaftVersionRecord(version=0, kraft_version=self.kraft_version)
            controls.append((ControlType.KRAFT_VERSION, version))
            controls.append((ControlType.KRAFT_VOTERS, updated.to_record()))
            self._history.set_kraft_version(offset + 1, self.kraft_version)
            self._history.set_voters(offset + 2, updated)
        return controls

    # Appending

    def append(self, records: Sequence[tuple[Message, int]], *, atomic: bool) -> int:
        """Append (record, version) pairs; returns the last one's offset. They reach the listeners when committed.

        Raises KafkaError NOT_CONTROLLER on a node that does not lead, POLICY_VIOLATION for atomic records that do not
        fit a batch, KAFKA_STORAGE_ERROR if the disk fails, after which this node appends no more.
        """
        if self._leader is None or self._failed:
            raise KafkaError(ErrorCode.NOT_CONTROLLER)
        encoded = encode_batches(records, self._log.end_offset, self._leader.epoch, self._clock.now_ms(), atomic=atomic)
        self._append(encoded)
        return self._log.end_offset - 1

    def _append(self, encoded: Encoded) -> None:
        try:
            self._log.append(encoded.data, self.epoch)
        except (OSError, KafkaError) as error:
            self._fail(error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        self._uncommitted.extend(encoded.batches)
        self._flush()

    def _flush(self) -> None:
        """One flush at a time; what is appended meanwhile shares the next one."""
        if self._flushing or self._failed:
            return
        self._flushing = True
        self._log.flush().on_done(self._flushed)

    def _flushed(self, flushed: Promise[int]) -> None:
        self._flushing = False
        if flushed.error is not None:
            self._fail(flushed.error)
            return
        leader = self._leader
        if leader is not None and leader.update_end_offset(self.identity.node_id, flushed.result()):
            self._advance_to(leader.high_watermark)
        if self._log.end_offset > flushed.result():
            self._flush()

    def _advance_to(self, high_watermark: int) -> None:
        leader = self._leader
        is_first = leader is not None and self.high_watermark <= leader.epoch_start_offset
        self.high_watermark = high_watermark
        batches = []
        while self._uncommitted and self._uncommitted[0].last_offset < high_watermark:
            batches.append(self._uncommitted.popleft())
        for listener in self._listeners:
            listener.commit(batches)
        if is_first and leader is not None and leader is self._leader:
            for listener in self._listeners:
                listener.leader_changed(self.identity.node_id, leader.epoch)

    def _fail(self, error: BaseException) -> None:
        """Without its log a node of the quorum cannot go on: what is durable is not known any more."""
        if not self._failed:
            self._failed = True
            _log.error("the metadata log failed: %r", error)
            self._on_fatal(error)
            for listener in self._listeners:
                listener.leader_changed(None, self.epoch)

    # Snapshots

    def build_snapshot(
        self, offset: int, epoch: int, records: Sequence[tuple[Message, int]], last_contained_ms: int
    ) -> tuple[SnapshotId, bytes]:
        """The snapshot that stands for everything up to the record at `offset`, which must be committed."""
        snapshot_id = SnapshotId(offset + 1, epoch)
        times = SnapshotTimes(last_contained_ms, self._clock.now_ms())
        voters = self._history.voters_at(offset)
        return snapshot_id, build_snapshot(snapshot_id, voters, self._history.kraft_version_at(offset), records, times)

    def store_snapshot(self, snapshot_id: SnapshotId, data: bytes) -> None:
        """Keep a snapshot, durably; may run on another thread. Raises OSError."""
        self._snapshots.write(snapshot_id, data)

    def delete_snapshots_but(self, newest: int, kept: SnapshotId) -> None:
        """Drop all snapshots but the `newest` ones and `kept`. Raises OSError."""
        for snapshot_id in self._snapshots.list()[:-newest]:
            if snapshot_id != kept:
                self._snapshots.delete(snapshot_id)
