"""The transaction index of a segment: its aborted transactions, for read_committed consumers (KIP-98)."""

from __future__ import annotations

import struct
from bisect import bisect_left
from itertools import islice
from typing import NamedTuple

from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.file_pool import FilePool

_ENTRY = struct.Struct(">hqqqq")
_VERSION = 0


class AbortedTransaction(NamedTuple):
    """An aborted transaction. Offsets are of its first record and its marker; all else before
    `last_stable_offset` was decided when it ended."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


def decode_transactions(data: bytes, path: str) -> list[AbortedTransaction]:
    """What the file at `path` says. Raises CorruptFileError."""
    if len(data) % _ENTRY.size:
        raise CorruptFileError(f"{path}: {len(data)} bytes are no whole number of entries")
    entries = []
    for version, producer_id, first_offset, last_offset, last_stable_offset in _ENTRY.iter_unpack(data):
        if version != _VERSION:
            raise CorruptFileError(f"{path}: an entry has the unknown version {version}")
        entries.append(AbortedTransaction(producer_id, first_offset, last_offset, last_stable_offset))
    return entries


class TransactionIndex:
    """The `.txnindex` file, which exists only once a transaction was aborted in the segment."""

    __slots__ = ("_entries", "_pool", "creations", "path", "synced_creations")

    def __init__(self, pool: FilePool, path: str) -> None:
        self._pool = pool
        self.path = path
        self._entries: list[AbortedTransaction] | None = None
        self.creations = 0
        """How often the file may have been made anew."""
        self.synced_creations = 0
        """How many of these have reached the disk, by a sync of the directory."""

    def entries(self) -> list[AbortedTransaction]:
        """All of them, by last offset. Raises CorruptFileError."""
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def append(self, transaction: AbortedTransaction) -> None:
        """Add one that ended behind all others; raises OSError."""
        entries = self.entries()
        self.creations += not entries
        file = self._pool.fs.open(self.path, create=True)
        try:
            file.pwrite(_pack(transaction), len(entries) * _ENTRY.size)
        finally:
            file.close()
        entries.append(transaction)

    def collect(self, from_offset: int, upto_offset: int) -> tuple[list[AbortedTransaction], bool]:
        """Those that matter to a read of [from_offset, upto_offset), and whether later segments need no look."""
        found = []
        entries = self.entries()
        first = bisect_left(entries, from_offset, key=lambda transaction: transaction.last_offset)
        for transaction in islice(entries, first, None):
            if transaction.first_offset < upto_offset:
                found.append(transaction)
            if transaction.last_stable_offset >= upto_offset:
                return found, True
        return found, False

    def truncate_to(self, offset: int) -> None:
        """Drop the transactions that end at `offset` or behind."""
        entries = self.entries()
        kept = [transaction for transaction in entries if transaction.last_offset < offset]
        if len(kept) < len(entries):
            self._cut(len(kept) * _ENTRY.size)
            self._entries = kept

    def reset(self) -> None:
        """Begin again without entries."""
        if self._pool.fs.exists(self.path):
            self._cut(0)
        self._entries = []

    def forget(self) -> None:
        """Let go of the entries in memory."""
        self._entries = None

    def _read(self) -> list[AbortedTransaction]:
        try:
            data = self._pool.fs.read(self.path)
        except FileNotFoundError:
            return []
        return decode_transactions(data, self.path)

    def _cut(self, size: int) -> None:
        file = self._pool.fs.open(self.path)
        try:
            file.truncate(size)
        finally:
            file.close()


def _pack(transaction: AbortedTransaction) -> bytes:
    return _ENTRY.pack(
        _VERSION,
        transaction.producer_id,
        transaction.first_offset,
        transaction.last_offset,
        transaction.last_stable_offset,
    )
