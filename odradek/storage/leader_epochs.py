"""Which leader epoch began at which offset: what OffsetForLeaderEpoch and truncation ask (KIP-101, KIP-279)."""

from __future__ import annotations

from bisect import bisect_right

from odradek.ports import FileSystem
from odradek.storage.checkpoints import read_leader_epochs, write_leader_epochs

UNDEFINED_EPOCH = -1
UNDEFINED_OFFSET = -1


class LeaderEpochCache:
    """The epochs of one log, ascending in epoch and start offset, kept in `leader-epoch-checkpoint`.

    A new epoch reaches the file with `save`, before the log's recovery point passes its first record: up to there
    recovery finds epochs in the batches. An epoch without records is left out, so that electing leaders for thousands
    of partitions writes nothing.
    """

    __slots__ = ("_epochs", "_fs", "_path", "_starts", "_unsaved_from", "latest_epoch")

    def __init__(self, fs: FileSystem, path: str) -> None:
        self._fs = fs
        self._path = path
        self._epochs: list[int] = []
        self._starts: list[int] = []
        self._unsaved_from: int | None = None
        """The lowest offset whose epoch the file does not say; None where it says all."""
        self.latest_epoch = UNDEFINED_EPOCH
        """The highest epoch that was assigned, -1 before the first."""
        for epoch, start in read_leader_epochs(fs, path):
            self._insert(epoch, start)
        self._remember_latest()

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Record that `epoch` begins at `start_offset`; True if that was news.

        Entries that contradict it (a higher epoch, or a start offset not below) are dropped, as a log that was
        truncated and written again must not keep them.
        """
        if not self._insert(epoch, start_offset):
            return False
        self._remember_latest()
        self._remember_unsaved(start_offset)
        return True

    def save(self, end_offset: int) -> None:
        """Write the file, unless it says all about the records before `end_offset`. Raises OSError."""
        if self._unsaved_from is not None and self._unsaved_from < end_offset:
            self._write()

    def entries(self) -> list[tuple[int, int]]:
        """All (epoch, start offset), ascending."""
        return list(zip(self._epochs, self._starts, strict=True))

    def epoch_for(self, offset: int) -> int:
        """The epoch that the record at `offset` was written in; -1 if the log does not know it any more."""
        index = bisect_right(self._starts, offset) - 1
        return self._epochs[index] if index >= 0 else UNDEFINED_EPOCH

    def end_offset_for(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(the largest epoch not above `epoch`, where it ends); (-1, -1) for one that cannot be answered."""
        if epoch == UNDEFINED_EPOCH or not self._epochs:
            return UNDEFINED_EPOCH, UNDEFINED_OFFSET
        if epoch == self._epochs[-1]:
            return epoch, log_end_offset
        index = bisect_right(self._epochs, epoch)
        if index == len(self._epochs):
            return UNDEFINED_EPOCH, UNDEFINED_OFFSET
        if index == 0:
            return epoch, self._starts[0]
        return self._epochs[index - 1], self._starts[index]

    def truncate_from_end(self, end_offset: int) -> None:
        """Forget epochs that begin at `end_offset` or later.

        The file is left alone where it does not say anything about them that counts: so brokers that led without
        records may follow, thousands of partitions at a time.
        """
        if end_offset >= 0 and self._starts and self._starts[-1] >= end_offset:
            self._keep_below(end_offset)
            self._remember_latest()
            if self._unsaved_from is None or self._unsaved_from > end_offset:
                self._write()

    def truncate_from_start(self, start_offset: int) -> None:
        """Forget epochs that ended before `start_offset`; the one it lies in begins there now.

        The file may say more for a while: the log start offset cuts what is read from it.
        """
        index = bisect_right(self._starts, start_offset) - 1
        if index < 0 or (index == 0 and self._starts[0] == start_offset):
            return
        del self._epochs[:index]
        del self._starts[:index]
        self._starts[0] = start_offset
        self._remember_unsaved(start_offset)

    def clear(self) -> None:
        """Forget all."""
        if self._epochs:
            self._epochs.clear()
            self._starts.clear()
            self._remember_latest()
            self._write()

    def move(self, path: str) -> None:
        """Go on in another file: the log's directory was renamed."""
        self._path = path

    def _insert(self, epoch: int, start_offset: int) -> bool:
        if epoch < 0 or start_offset < 0:
            raise ValueError(f"leader epoch {epoch} cannot begin at offset {start_offset}")
        if self._epochs and self._epochs[-1] == epoch and self._starts[-1] <= start_offset:
            return False
        while self._epochs and (self._epochs[-1] >= epoch or self._starts[-1] >= start_offset):
            self._epochs.pop()
            self._starts.pop()
        self._epochs.append(epoch)
        self._starts.append(start_offset)
        return True

    def _keep_below(self, end_offset: int) -> None:
        while self._starts and self._starts[-1] >= end_offset:
            self._starts.pop()
            self._epochs.pop()

    def _remember_latest(self) -> None:
        self.latest_epoch = self._epochs[-1] if self._epochs else UNDEFINED_EPOCH

    def _remember_unsaved(self, offset: int) -> None:
        unsaved = self._unsaved_from
        self._unsaved_from = offset if unsaved is None else min(unsaved, offset)

    def _write(self) -> None:
        write_leader_epochs(self._fs, self._path, self.entries())
        self._unsaved_from = None
