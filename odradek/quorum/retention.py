"""Which part of the metadata log, and which snapshots, have had their time (KIP-630, `metadata.max.retention.*`)."""

from __future__ import annotations

import logging

from odradek.quorum.log import BOOTSTRAP_SNAPSHOT, SnapshotId
from odradek.quorum.replica import Replica
from odradek.quorum.settings import QuorumSettings
from odradek.quorum.snapshots import last_contained_ms

_log = logging.getLogger(__name__)

CHECK_MS = 60_000
"""How often it is looked."""


class Retention:
    """Lets the log begin behind a newer snapshot; the newest one always stays, and the log behind it.

    Where nothing has changed, looking touches no disk.
    """

    def __init__(self, replica: Replica, settings: QuorumSettings) -> None:
        self._replica = replica
        self._settings = settings
        self._times_ms: dict[SnapshotId, int] = {}
        self._sizes_bytes: dict[SnapshotId, int] = {}

    def clean(self, now_ms: int) -> None:
        """Delete the oldest snapshot, and the log that it stands for, while size or age ask for it. Raises OSError."""
        replica = self._replica
        found = [each for each in replica.snapshot_ids if each != BOOTSTRAP_SNAPSHOT]
        if found and replica.log.start_offset < found[0].offset and self._is_over(found, None, now_ms):
            self._begin_behind(found[0])
        while len(found) > 1 and self._is_over(found, found[0], now_ms):
            oldest = found.pop(0)
            self._begin_behind(found[0])
            replica.snapshots.delete(oldest)
            replica.list_snapshots()
        for known in (self._times_ms, self._sizes_bytes):
            for snapshot_id in [each for each in known if each not in replica.snapshot_ids]:
                del known[snapshot_id]

    def _is_over(self, found: list[SnapshotId], oldest: SnapshotId | None, now_ms: int) -> bool:
        replica, settings = self._replica, self._settings
        if settings.retention_bytes >= 0:
            size_bytes = replica.log.size_bytes + sum(self._size_of(each) for each in found)
            if size_bytes > settings.retention_bytes:
                return True
        if settings.retention_ms < 0:
            return False
        return oldest is not None and now_ms - self._time_of(oldest) > settings.retention_ms

    def _size_of(self, snapshot_id: SnapshotId) -> int:
        if snapshot_id not in self._sizes_bytes:
            self._sizes_bytes[snapshot_id] = self._replica.snapshots.size_bytes(snapshot_id)
        return self._sizes_bytes[snapshot_id]

    def _time_of(self, snapshot_id: SnapshotId) -> int:
        if snapshot_id not in self._times_ms:
            self._times_ms[snapshot_id] = last_contained_ms(self._replica.snapshots.read(snapshot_id))
        return self._times_ms[snapshot_id]

    def _begin_behind(self, snapshot_id: SnapshotId) -> None:
        replica = self._replica
        if replica.log.start_offset < snapshot_id.offset <= replica.high_watermark:
            replica.delete_before(snapshot_id)
            _log.info("the metadata log begins at offset %d, behind a snapshot", snapshot_id.offset)
