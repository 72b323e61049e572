"""Decides when the metadata image becomes a snapshot, so that a start replays a bounded part of the log."""

from __future__ import annotations

import logging
from typing import NamedTuple

from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.metadata.loader import MetadataLoader
from odradek.metadata.snapshot import to_records
from odradek.ports import Clock, Executor, Promise
from odradek.quorum.log import BOOTSTRAP_SNAPSHOT
from odradek.quorum.raft import RaftNode

_log = logging.getLogger(__name__)

KEPT_SNAPSHOTS = 2
"""The newest one, and one to fall back on."""


class SnapshotLimits(NamedTuple):
    """`metadata.log.max.record.bytes.between.snapshots` and `metadata.log.max.snapshot.interval.ms` (0: never)."""

    max_bytes: int
    max_interval_ms: int


class SnapshotGenerator:
    """A publisher of the loader, on every node that keeps the metadata log."""

    def __init__(
        self, raft: RaftNode, loader: MetadataLoader, limits: SnapshotLimits, clock: Clock, executor: Executor
    ) -> None:
        self._raft = raft
        self._loader = loader
        self._limits = limits
        self._clock = clock
        self._executor = executor
        self._last_ms = clock.monotonic_ms()
        self._writing = False

    def publish(self, _delta: MetadataDelta, image: MetadataImage) -> None:
        """Write a snapshot, away from this thread, if one is due; the image cannot change meanwhile."""
        if self._writing or not self._is_due():
            return
        self._writing = True
        self._last_ms = self._clock.monotonic_ms()
        self._loader.snapshot_taken()

        def write() -> None:
            records = list(to_records(image))
            snapshot = self._raft.build_snapshot(image.offset, image.epoch, records, image.timestamp_ms)
            self._raft.store_snapshot(*snapshot)

        self._executor.submit(write).on_done(lambda done: self._written(done, image))

    def _is_due(self) -> bool:
        max_bytes, max_interval_ms = self._limits
        if self._loader.bytes_since_snapshot >= max_bytes:
            return True
        return 0 < max_interval_ms <= self._clock.monotonic_ms() - self._last_ms

    def _written(self, done: Promise[None], image: MetadataImage) -> None:
        self._writing = False
        if done.error is not None:
            _log.error("no snapshot of the metadata at offset %d: %r", image.offset, done.error)
            return
        _log.info("snapshot of the metadata at offset %d", image.offset)
        try:
            self._raft.delete_snapshots_but(KEPT_SNAPSHOTS, BOOTSTRAP_SNAPSHOT)
        except OSError as error:
            _log.warning("old snapshots remain: %r", error)
