"""At which offset each leader's epoch begins in the metadata log: how two logs find where they part (KIP-595)."""

from __future__ import annotations

from typing import NamedTuple


class EpochEnd(NamedTuple):
    """An epoch and the offset behind its last record."""

    epoch: int
    end_offset: int


class EpochHistory:
    """Epochs with their first offsets, ascending in both; what precedes the log is one entry, a snapshot's epoch."""

    def __init__(self) -> None:
        self._starts: list[tuple[int, int]] = []
        self._base = EpochEnd(0, 0)

    @property
    def last_epoch(self) -> int:
        """The epoch of the last record, or of what the log begins behind; 0 if there has been nothing."""
        return self._starts[-1][0] if self._starts else self._base.epoch

    @property
    def base(self) -> EpochEnd:
        """The epoch of the record before the log's start, and the log's start."""
        return self._base

    def note(self, epoch: int, offset: int) -> None:
        """A batch of `epoch` begins at `offset`; batches come in the order of the log."""
        if not self._starts or self._starts[-1][0] != epoch:
            self._starts.append((epoch, offset))

    def end_of(self, epoch: int, log_end_offset: int) -> EpochEnd:
        """The largest epoch that is not above `epoch`, and where it ends."""
        end_offset = log_end_offset
        for found, start_offset in reversed(self._starts):
            if found <= epoch:
                return EpochEnd(found, end_offset)
            end_offset = start_offset
        return EpochEnd(self._base.epoch, end_offset)

    def truncate_to(self, offset: int) -> None:
        """The records from `offset` on are gone."""
        while self._starts and self._starts[-1][1] >= offset:
            self._starts.pop()

    def delete_before(self, offset: int) -> None:
        """The records below `offset` are gone, for a snapshot stands for them."""
        before = [entry for entry in self._starts if entry[1] < offset]
        kept = self._starts[len(before) :]
        epoch = before[-1][0] if before else self._base.epoch
        if before and (not kept or kept[0][1] > offset):
            kept.insert(0, (epoch, offset))
        self._starts = kept
        self._base = EpochEnd(epoch, offset)

    def restart(self, epoch: int, offset: int) -> None:
        """The log is empty, and begins at `offset` behind a record of `epoch`."""
        self._starts = []
        self._base = EpochEnd(epoch, offset)
