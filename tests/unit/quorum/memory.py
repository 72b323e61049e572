"""The quorum's log and files in memory: what is not flushed is lost by `crash`."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.ports import Promise
from odradek.quorum.election_state import ElectionState
from odradek.quorum.log import SnapshotId
from odradek.wire.records.header import iter_batches


class MemoryRaftLog:
    """A RaftLog; `hold_flushes` keeps flushes pending until `finish_flushes`, `fail_with` lets the disk fail."""

    def __init__(self) -> None:
        self.start_offset = 0
        self.batches: list[tuple[int, int, bytes]] = []
        self.durable = 0
        self.hold_flushes = False
        self.fail_with: OSError | None = None
        self._pending: list[tuple[Promise[int], int]] = []

    @property
    def end_offset(self) -> int:
        return self.batches[-1][1] if self.batches else self.start_offset

    def append(self, batches: bytearray, leader_epoch: int) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        data = bytes(batches)
        for position, header in iter_batches(data):
            assert header.base_offset == self.end_offset
            assert header.leader_epoch == leader_epoch
            end = header.base_offset + header.last_offset_delta + 1
            self.batches.append((header.base_offset, end, data[position : position + header.size_bytes]))

    def append_as_follower(self, batches: bytes) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        for position, header in iter_batches(batches):
            assert header.base_offset == self.end_offset
            end = header.base_offset + header.last_offset_delta + 1
            self.batches.append((header.base_offset, end, batches[position : position + header.size_bytes]))

    def flush(self) -> Promise[int]:
        promise: Promise[int] = Promise()
        self._pending.append((promise, self.end_offset))
        if not self.hold_flushes:
            self.finish_flushes()
        return promise

    def finish_flushes(self) -> None:
        pending, self._pending = self._pending, []
        for promise, end_offset in pending:
            if self.fail_with is not None:
                promise.reject(self.fail_with)
            else:
                self.durable = end_offset
                promise.resolve(end_offset)

    def read(self, offset: int, max_bytes: int) -> bytes:
        found = b""
        for _base, end, data in self.batches:
            if end > offset and (not found or len(found) + len(data) <= max_bytes):
                found += data
            elif found:
                break
        return found

    def truncate_to(self, offset: int) -> None:
        self.batches = [batch for batch in self.batches if batch[0] < offset]
        self.durable = min(self.durable, offset)

    def delete_before(self, offset: int) -> None:
        self.batches = [batch for batch in self.batches if batch[1] > offset]
        self.start_offset = offset

    def restart_at(self, offset: int) -> None:
        self.batches = []
        self.start_offset = self.durable = offset

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for _base, _end, data in self.batches)

    def crash(self) -> None:
        self.truncate_to(self.durable)
        self._pending = []


class MemoryElectionState:
    """An ElectionStateStore that remembers all that was saved."""

    def __init__(self) -> None:
        self.saved: list[bytes] = []

    def load(self) -> ElectionState | None:
        return ElectionState.from_bytes(self.saved[-1]) if self.saved else None

    def save(self, state: ElectionState, static_voters: Sequence[int] | None = None) -> None:
        self.saved.append(state.to_bytes(static_voters))


class MemorySnapshots:
    """A SnapshotStore."""

    def __init__(self) -> None:
        self.files: dict[SnapshotId, bytes] = {}

    def list(self) -> list[SnapshotId]:
        return sorted(self.files)

    def read(self, snapshot_id: SnapshotId) -> bytes:
        return self.files[snapshot_id]

    def size_bytes(self, snapshot_id: SnapshotId) -> int:
        return len(self.files[snapshot_id])

    def write(self, snapshot_id: SnapshotId, data: bytes) -> None:
        self.files[snapshot_id] = data

    def delete(self, snapshot_id: SnapshotId) -> None:
        self.files.pop(snapshot_id, None)
