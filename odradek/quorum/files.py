"""The quorum's files in the metadata log's directory, beside the log's segments."""

from __future__ import annotations

from collections.abc import Sequence

from odradek.ports import FileSystem
from odradek.quorum.election_state import ElectionState
from odradek.quorum.log import SnapshotId
from odradek.quorum.snapshots import file_name, parse_file_name

QUORUM_STATE_FILE = "quorum-state"


class ElectionStateFile:
    """`quorum-state` in `directory`."""

    def __init__(self, files: FileSystem, directory: str) -> None:
        self._files = files
        self._path = f"{directory}/{QUORUM_STATE_FILE}"

    def load(self) -> ElectionState | None:
        """What was saved last; ProtocolError if the file cannot be read as such."""
        if not self._files.exists(self._path):
            return None
        return ElectionState.from_bytes(self._files.read(self._path))

    def save(self, state: ElectionState, static_voters: Sequence[int] | None = None) -> None:
        """Make it durable before returning. `static_voters` are ids, while kraft.version is 0."""
        self._files.write_atomically(self._path, state.to_bytes(static_voters))


class SnapshotFiles:
    """The `.checkpoint` files in `directory`."""

    def __init__(self, files: FileSystem, directory: str) -> None:
        self._files = files
        self._directory = directory

    def list(self) -> list[SnapshotId]:
        """What is there, oldest first."""
        if not self._files.exists(self._directory):
            return []
        found = [parse_file_name(name) for name in self._files.list(self._directory)]
        return sorted(snapshot_id for snapshot_id in found if snapshot_id is not None)

    def read(self, snapshot_id: SnapshotId) -> bytes:
        """A snapshot's bytes."""
        return self._files.read(f"{self._directory}/{file_name(snapshot_id)}")

    def size_bytes(self, snapshot_id: SnapshotId) -> int:
        """What a snapshot takes."""
        return self._files.size(f"{self._directory}/{file_name(snapshot_id)}")

    def write(self, snapshot_id: SnapshotId, data: bytes) -> None:
        """Put a snapshot there, whole and durable, or not at all."""
        self._files.write_atomically(f"{self._directory}/{file_name(snapshot_id)}", data)

    def delete(self, snapshot_id: SnapshotId) -> None:
        """Drop one; none of that name is fine."""
        self._files.remove(f"{self._directory}/{file_name(snapshot_id)}")
