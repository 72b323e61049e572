"""This node's copy of the metadata log, with what follows from it: epochs, voters, and what listeners have got.

It knows nothing of elections. Whoever leads or follows appends here; what is committed goes to the listeners from here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile

from odradek.ports import Promise
from odradek.quorum.batches import Encoded, decode_batches, note_controls, whole_batches
from odradek.quorum.epochs import EpochEnd, EpochHistory
from odradek.quorum.identity import RaftStores
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, Batch, RaftListener, SnapshotId
from odradek.quorum.snapshots import Snapshot, read_snapshot
from odradek.quorum.voters import VoterSet, VotersHistory
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.schema import Message

_log = logging.getLogger(__name__)

READ_BYTES = 1024 * 1024
"""How much of the log is decoded at a time when it is loaded."""


class Replica:
    """The log as this node has it. Methods that write raise KafkaError KAFKA_STORAGE_ERROR if the disk fails."""

    def __init__(self, stores: RaftStores, static_voters: VoterSet, on_failed: Callable[[BaseException], None]) -> None:
        self.bootstrap: Sequence[Message] = ()
        self.high_watermark = -1
        """What is known here to be committed; it never goes back while the node runs."""
        self.flushed_offset = -1
        """Everything below survives a power cut."""
        self.has_failed = False
        self.on_flushed: Callable[[int], None] = lambda _offset: None
        self.history = VotersHistory(static_voters)
        self.epochs = EpochHistory()
        self.log = stores.log
        self.snapshots = stores.snapshots
        self.listeners: list[RaftListener] = []
        self.snapshot_ids: tuple[SnapshotId, ...] = ()
        """What there was when it was looked for last, oldest first."""
        self._static_voters = static_voters
        self._on_failed = on_failed
        self._uncommitted: deque[Batch] = deque()
        self._flushing = False
        self._is_closed = False
        self._cuts = 0
        self._advancing = False

    @property
    def end_offset(self) -> int:
        """The offset that the next record gets."""
        return self.log.end_offset

    @property
    def last_epoch(self) -> int:
        """The epoch of the last record; 0 if there is none."""
        return self.epochs.last_epoch

    def load(self) -> None:
        """Read snapshot and log; raises OSError, ProtocolError or KafkaError if they are bad."""
        snapshot = self._newest_snapshot()
        first_offset = self.log.start_offset
        if snapshot is not None and snapshot.id != BOOTSTRAP_SNAPSHOT:
            first_offset = snapshot.id.offset
            if self.log.end_offset < first_offset:
                self.log.restart_at(first_offset)
            self._begin_at_a_snapshot(snapshot.id)
            self._hand_over(snapshot)
        elif snapshot is not None:
            self.bootstrap = snapshot.records
        self._load_log(first_offset)
        if snapshot is not None and self.last_epoch < snapshot.id.epoch:
            self._restart_at(snapshot.id)

    def _restart_at(self, snapshot_id: SnapshotId) -> None:
        """The log parts from the snapshot, which a crash kept from taking the log's place."""
        self.log.restart_at(snapshot_id.offset)
        self.epochs.restart(snapshot_id.epoch, snapshot_id.offset)
        self._uncommitted.clear()
        self.history = VotersHistory(self._static_voters)
        read_snapshot(snapshot_id, self.snapshots.read(snapshot_id), self.history)

    def _newest_snapshot(self) -> Snapshot | None:
        """The newest snapshot that can be read: one that is damaged costs only the replay of more of the log."""
        self.list_snapshots()
        found = list(self.snapshot_ids)
        while found:
            snapshot_id = found.pop()
            history = VotersHistory(self._static_voters)
            try:
                snapshot = read_snapshot(snapshot_id, self.snapshots.read(snapshot_id), history)
            except (OSError, ProtocolError, KafkaError) as error:
                if self.log.start_offset > 0 or not found:
                    raise
                _log.warning("snapshot at offset %d skipped: %s", snapshot_id.offset, error)
                continue
            self.history = history
            return snapshot
        return None

    def _begin_at_a_snapshot(self, newest: SnapshotId) -> None:
        """Let the log begin where a snapshot ends, which knows the epoch before that; segments may begin earlier."""
        if self.log.start_offset == 0:
            return
        known = [each for each in self.snapshot_ids if self.log.start_offset <= each.offset <= self.log.end_offset]
        first = known[0] if known else newest
        if first.offset > self.log.start_offset:
            self.log.delete_before(first.offset)
        self.epochs.restart(first.epoch, first.offset)

    def _load_log(self, first_offset: int) -> None:
        offset = self.log.start_offset
        while offset < self.log.end_offset:
            data = self.log.read(offset, READ_BYTES)
            for batch in decode_batches(data, self.history):
                self.epochs.note(batch.epoch, batch.base_offset)
                if batch.last_offset >= first_offset:
                    self._uncommitted.append(batch)
                offset = batch.last_offset + 1
            if not data:
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"The metadata log has nothing at offset {offset}")

    # Appending

    def append(self, encoded: Encoded, epoch: int) -> None:
        """Append what this node made as the leader of `epoch`."""
        try:
            self.log.append(encoded.data, epoch)
        except (OSError, KafkaError) as error:
            raise self.fail(error) from error
        self._take(encoded.batches)

    def append_fetched(self, data: bytes | bytearray | memoryview, epoch: int) -> bool:
        """Append what the leader of `epoch` sent; False if that was nothing.

        Raises KafkaError CORRUPT_MESSAGE or ProtocolError for bytes that are no batches of its log.
        """
        whole = whole_batches(data)
        batches = list(takewhile(lambda batch: batch.epoch <= epoch, decode_batches(whole)))
        expected = self.end_offset
        for batch in batches:
            if batch.base_offset != expected or batch.epoch < self.last_epoch:
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Batch at offset {batch.base_offset}, not {expected}")
            expected = batch.last_offset + 1
        if not batches:
            return False
        kept = whole[: sum(batch.size_bytes for batch in batches)]
        try:
            self.log.append_as_follower(kept)
        except (OSError, KafkaError) as error:
            raise self.fail(error) from error
        note_controls(self.history, kept)
        self._take(batches)
        return True

    def _take(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.epochs.note(batch.epoch, batch.base_offset)
        self._uncommitted.extend(batches)

    def flush(self) -> None:
        """Make what is appended durable. One flush at a time; what is appended meanwhile shares the next one."""
        if self._flushing or self.has_failed:
            return
        self._flushing = True
        cuts = self._cuts
        self.log.flush().on_done(lambda flushed: self._flushed(flushed, cuts))

    def _flushed(self, flushed: Promise[int], cuts: int) -> None:
        self._flushing = False
        if self._is_closed:
            return
        if flushed.error is not None:
            self.fail(flushed.error)
            return
        if cuts == self._cuts:
            self.flushed_offset = max(self.flushed_offset, flushed.result())
            self.on_flushed(self.flushed_offset)
        if self.log.end_offset > self.flushed_offset:
            self.flush()

    def close(self) -> None:
        """A flush that is under way says nothing any more, be it that the stop cuts it short."""
        self._is_closed = True

    def fail(self, error: BaseException) -> KafkaError:
        """Without its log a node of the quorum cannot go on: what is durable is not known any more."""
        if not self.has_failed:
            self.has_failed = True
            _log.error("the metadata log failed: %r", error)
            self._on_failed(error)
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error))

    # What listeners get

    def advance_to(self, high_watermark: int) -> None:
        """Hand over what is committed; a listener that makes more be committed gets that after this."""
        self.high_watermark = max(self.high_watermark, high_watermark)
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._uncommitted and self._uncommitted[0].last_offset < self.high_watermark:
                batches = []
                while self._uncommitted and self._uncommitted[0].last_offset < self.high_watermark:
                    batches.append(self._uncommitted.popleft())
                for listener in self.listeners:
                    listener.commit(batches)
        finally:
            self._advancing = False

    def _hand_over(self, snapshot: Snapshot) -> None:
        self.high_watermark = max(self.high_watermark, snapshot.id.offset)
        for listener in self.listeners:
            listener.load_snapshot(
                snapshot.records, snapshot.id.offset - 1, snapshot.id.epoch, snapshot.last_contained_ms
            )

    # Following

    def truncate_to_common(self, leaders: EpochEnd) -> int:
        """Cut the log where it may part from the leader's, whose largest epoch up to ours ends there; the new end.

        Raises KafkaError UNKNOWN_SERVER_ERROR rather than dropping what is committed.
        """
        ours = self.epochs.end_of(leaders.epoch, self.end_offset)
        offset = min(ours.end_offset, leaders.end_offset) if ours.epoch == leaders.epoch else ours.end_offset
        if offset < max(self.high_watermark, self.log.start_offset):
            raise KafkaError(
                ErrorCode.UNKNOWN_SERVER_ERROR,
                f"The leader's log parts at offset {offset} from this one, which is committed to {self.high_watermark}",
            )
        if offset < self.end_offset:
            try:
                self.log.truncate_to(offset)
            except (OSError, KafkaError) as error:
                raise self.fail(error) from error
            self._cuts += 1
            self.flushed_offset = min(self.flushed_offset, offset)
            self.epochs.truncate_to(offset)
            self.history.truncate_to(offset)
            while self._uncommitted and self._uncommitted[-1].last_offset >= offset:
                self._uncommitted.pop()
        return self.end_offset

    def install(self, snapshot_id: SnapshotId, data: bytes) -> None:
        """Begin anew behind a leader's snapshot. ProtocolError or KafkaError CORRUPT_MESSAGE if it is not whole."""
        history = VotersHistory(self._static_voters)
        snapshot = read_snapshot(snapshot_id, data, history)
        try:
            self.snapshots.write(snapshot_id, data)
            self.log.restart_at(snapshot_id.offset)
            self.list_snapshots()
        except (OSError, KafkaError) as error:
            raise self.fail(error) from error
        self._cuts += 1
        self.flushed_offset = -1
        self.history = history
        self.epochs.restart(snapshot_id.epoch, snapshot_id.offset)
        self._uncommitted.clear()
        self._hand_over(snapshot)

    # Leading

    def first_snapshot(self) -> SnapshotId | None:
        """The one that the log begins behind; None if the log begins at 0."""
        base = self.epochs.base
        return SnapshotId(base.end_offset, base.epoch) if base.end_offset > 0 else None

    def latest_snapshot(self) -> SnapshotId | None:
        """The newest one; the bootstrap one counts."""
        return self.snapshot_ids[-1] if self.snapshot_ids else None

    def list_snapshots(self) -> None:
        """Look which there are; may run on another thread."""
        self.snapshot_ids = tuple(self.snapshots.list())

    def delete_before(self, snapshot_id: SnapshotId) -> None:
        """Begin the log behind a snapshot. Raises OSError or KafkaError."""
        self.log.delete_before(snapshot_id.offset)
        self.epochs.delete_before(snapshot_id.offset)
