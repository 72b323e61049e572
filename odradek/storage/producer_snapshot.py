"""The `.snapshot` file: producer state at an offset, so that a start does not read the whole log again."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from odradek.ports import FileSystem
from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.file_names import SNAPSHOT_SUFFIX, offset_name, offset_of_name
from odradek.storage.producers import NO_OFFSET, ProducerBatch, ProducerEntry
from odradek.wire.records.crc import crc32c

_HEAD = struct.Struct(">hIi")
_ENTRY = struct.Struct(">qhiqiqiq")
_VERSION = 1
_CRC_END = 6


def encode_snapshot(entries: Sequence[ProducerEntry]) -> bytes:
    """The file's content: ProducerSnapshot version 1 of Kafka's storage module."""
    parts = [len(entries).to_bytes(4, "big")]
    parts.extend(
        _ENTRY.pack(
            entry.producer_id, entry.producer_epoch, entry.last_sequence, entry.last_offset, entry.last_offset_delta,
            entry.last_timestamp_ms, entry.coordinator_epoch, entry.txn_first_offset,
        )
        for entry in entries
    )  # fmt: skip
    body = b"".join(parts)
    return _VERSION.to_bytes(2, "big") + crc32c(body, 0).to_bytes(4, "big") + body


def decode_snapshot(data: bytes, path: str) -> list[ProducerEntry]:
    """The producers in a snapshot. Raises CorruptFileError."""
    if len(data) < _HEAD.size:
        raise CorruptFileError(f"{path}: {len(data)} bytes are no producer snapshot")
    version, crc, count = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise CorruptFileError(f"{path}: version {version} is not known")
    if crc32c(memoryview(data)[_CRC_END:], 0) != crc:
        raise CorruptFileError(f"{path}: the checksum does not hold")
    if len(data) != _HEAD.size + count * _ENTRY.size:
        raise CorruptFileError(f"{path}: {count} producers announced in {len(data)} bytes")
    return [_entry(fields) for fields in _ENTRY.iter_unpack(memoryview(data)[_HEAD.size :])]


def _entry(fields: tuple[int, ...]) -> ProducerEntry:
    producer_id, epoch, last_sequence, last_offset, offset_delta, timestamp_ms, coordinator_epoch, txn_first = fields
    entry = ProducerEntry(producer_id)
    entry.producer_epoch = epoch
    entry.coordinator_epoch = coordinator_epoch
    entry.last_timestamp_ms = timestamp_ms
    entry.txn_first_offset = txn_first if txn_first >= 0 else NO_OFFSET
    if last_offset >= 0:
        entry.batches.append(ProducerBatch(last_sequence, last_offset, offset_delta, timestamp_ms))
    return entry


class SnapshotFiles:
    """The snapshots of one log, by offset."""

    __slots__ = ("_directory", "_fs", "_offsets")

    def __init__(self, fs: FileSystem, directory: str, names: Sequence[str]) -> None:
        self._fs = fs
        self._directory = directory
        found = (offset_of_name(name) for name in names if name.endswith(SNAPSHOT_SUFFIX))
        self._offsets = sorted(offset for offset in found if offset is not None)

    def offsets(self) -> list[int]:
        """All offsets that there is a snapshot for, ascending."""
        return list(self._offsets)

    def path(self, offset: int) -> str:
        """The file of the snapshot at `offset`."""
        return f"{self._directory}/{offset_name(offset, SNAPSHOT_SUFFIX)}"

    def read(self, offset: int) -> list[ProducerEntry]:
        """The producers at `offset`. Raises CorruptFileError, OSError."""
        path = self.path(offset)
        return decode_snapshot(self._fs.read(path), path)

    def write(self, offset: int, entries: Sequence[ProducerEntry]) -> None:
        """Write a snapshot, unless there is one. It is not synced: its checksum tells a torn one. Raises OSError."""
        if offset in self._offsets:
            return
        file = self._fs.open(self.path(offset), create=True)
        try:
            data = encode_snapshot(entries)
            file.truncate(0)
            file.pwrite(data, 0)
        finally:
            file.close()
        self._offsets.append(offset)
        self._offsets.sort()

    def remove(self, offset: int) -> None:
        """Delete the snapshot at `offset`, if there is one."""
        if offset in self._offsets:
            self._offsets.remove(offset)
            self._fs.remove(self.path(offset))

    def forget(self, offsets: Sequence[int]) -> None:
        """Leave the files of these snapshots to somebody else."""
        gone = frozenset(offsets)
        self._offsets = [offset for offset in self._offsets if offset not in gone]

    def take_all(self) -> list[int]:
        """Forget all; returns their offsets."""
        offsets, self._offsets = self._offsets, []
        return offsets

    def remove_outside(self, log_start_offset: int, end_offset: int) -> None:
        """Delete the snapshots that are not in (log start offset, end offset]."""
        for offset in self.offsets():
            if not log_start_offset < offset <= end_offset:
                self.remove(offset)

    def remove_strays(self, base_offsets: Sequence[int]) -> None:
        """Delete those that belong to no segment, but for one behind all segments: a clean stop leaves that."""
        known = frozenset(base_offsets)
        strays = [offset for offset in self._offsets if offset not in known]
        if strays and base_offsets and strays[-1] > base_offsets[-1]:
            strays.pop()
        for offset in strays:
            self.remove(offset)

    def move(self, directory: str) -> None:
        """The log's directory was renamed."""
        self._directory = directory
