"""Follows the committed metadata log and tells publishers of each new image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from odradek.metadata.delta import MetadataDelta
from odradek.metadata.difference import difference
from odradek.metadata.image import MetadataImage
from odradek.metadata.topics_delta import MetadataError
from odradek.wire.schema import Message

Publisher = Callable[[MetadataDelta, MetadataImage], None]
"""Gets what changed and the image after it."""


class CommittedBatch(Protocol):
    """A batch of the metadata log; control batches, which this does not concern, have no records."""

    @property
    def last_offset(self) -> int:
        """The offset of its last record."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch of the leader that wrote it."""
        ...

    @property
    def timestamp_ms(self) -> int:
        """When it was written, since the Unix epoch."""
        ...

    @property
    def size_bytes(self) -> int:
        """What it takes in the log."""
        ...

    @property
    def records(self) -> Sequence[Message]:
        """Its metadata records."""
        ...


class MetadataLoader:
    """Replays batches; a metadata transaction (KIP-868) becomes visible when it ends, and not if it is aborted."""

    def __init__(self) -> None:
        self.image = MetadataImage.empty()
        self.bytes_since_snapshot = 0
        """Of the log, for whoever decides when the next snapshot is due."""
        self._publishers: list[Publisher] = []
        self._delta = MetadataDelta(self.image)
        self._transaction: list[Message] | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether a metadata transaction has begun and not ended."""
        return self._transaction is not None

    def add_publisher(self, publisher: Publisher) -> None:
        """Call `publisher` for every image from the next one on."""
        self._publishers.append(publisher)

    def load_snapshot(self, records: Iterable[Message], offset: int, epoch: int, timestamp_ms: int) -> None:
        """Start from the snapshot whose last contained record is at `offset`.

        A node that is too far behind the leader's log gets one later on, too: then it is published what that changes.
        """
        if self.image.offset < 0:
            self._delta.replay_all(records)
            self.image = self._delta.apply(offset, epoch, timestamp_ms)
            return
        fresh = MetadataDelta(MetadataImage.empty())
        fresh.replay_all(records)
        image = fresh.apply(offset, epoch, timestamp_ms)
        delta = difference(self.image, image)
        self.image = image
        self.bytes_since_snapshot = 0
        self._delta = MetadataDelta(image)
        self._transaction = None
        for publisher in self._publishers:
            publisher(delta, image)

    def snapshot_taken(self) -> None:
        """Count the log's bytes anew."""
        self.bytes_since_snapshot = 0

    def leader_changed(self, leader_id: int | None, epoch: int) -> None:
        """Who leads the quorum is no part of the image."""

    def commit(self, batches: Iterable[CommittedBatch]) -> None:
        """Take in batches in the order of the log, and publish once what they amount to."""
        last: CommittedBatch | None = None
        for batch in batches:
            self.bytes_since_snapshot += batch.size_bytes
            for record in batch.records:
                self._replay(record)
            if self._transaction is None:
                last = batch
        if last is None:
            return
        delta = self._delta
        self.image = delta.apply(last.last_offset, last.epoch, last.timestamp_ms)
        self._delta = MetadataDelta(self.image)
        for publisher in self._publishers:
            publisher(delta, self.image)

    def _replay(self, record: Message) -> None:
        name = record.NAME
        if name == "BeginTransactionRecord":
            if self._transaction is not None:
                raise MetadataError("a metadata transaction begins inside another one")
            self._transaction = []
        elif name in ("EndTransactionRecord", "AbortTransactionRecord"):
            if self._transaction is None:
                raise MetadataError("a metadata transaction ends that did not begin")
            if name == "EndTransactionRecord":
                self._delta.replay_all(self._transaction)
            self._transaction = None
        elif self._transaction is not None:
            self._transaction.append(record)
        else:
            self._delta.replay(record)
