"""The sparse indexes of a segment: offset to position, and timestamp to offset.

The active segment's entries are in memory and reach the file when the segment is flushed, rolled or closed; an
index that a crash cuts short is rebuilt with its segment. A closed segment's index is mapped, read-only.
"""

from __future__ import annotations

import struct
from bisect import bisect_left

from odradek.ports import MappedFile
from odradek.storage.file_pool import FilePool

NO_TIMESTAMP = -1
MAX_RELATIVE_OFFSET = 2**31 - 1


class _Index:
    """What both indexes share: entries of one size in a file."""

    __slots__ = ("_count", "_data", "_mapped", "_pool", "_synced_bytes", "base_offset", "path", "used")

    entry_bytes: int

    def __init__(self, pool: FilePool, path: str, base_offset: int, *, is_new: bool = False) -> None:
        self._pool = pool
        self.path = path
        self.base_offset = base_offset
        self.used = True
        self._mapped: MappedFile | None = None
        self._data: bytearray | None = bytearray() if is_new else None
        self._synced_bytes = 0
        """Bytes of `_data` that are in the file."""
        self._count = 0 if is_new else -1
        """Number of entries, -1 before it is known."""

    def __len__(self) -> int:
        count = self._count
        return count if count >= 0 else self._load_count()

    @property
    def is_at_hand(self) -> bool:
        """Whether a look-up opens no file."""
        return self._data is not None or self._mapped is not None or self._count == 0

    def copy_to(self, other: _Index) -> None:
        """Give another index of the same file the entries that the file does not have yet."""
        if self._data is not None:
            other._data = bytearray(self._data)
            other._count = self._count

    def write_out(self) -> bool:
        """Bring the entries that are in memory only to the file; whether there were any. Raises OSError."""
        data = self._data
        if data is None or self._synced_bytes == len(data):
            return False
        file = self._pool.fs.open(self.path, create=True)
        try:
            file.pwrite(memoryview(data)[self._synced_bytes :], self._synced_bytes)
        finally:
            file.close()
        self._synced_bytes = len(data)
        return True

    def seal(self) -> bool:
        """The segment is closed: `write_out`, and let go of the memory."""
        has_written = self.write_out()
        self._data = None
        return has_written

    def reset(self) -> None:
        """Begin again without entries."""
        self._replace(bytearray())

    def is_sane(self) -> bool:
        """Whether the file has whole entries; whoever finds it not so rebuilds it."""
        return self._data is not None or self._pool.fs.size(self.path) % self.entry_bytes == 0

    def is_busy(self) -> bool:
        """Never: a mapping is used only within a call."""
        return False

    def close(self) -> None:
        """Unmap; the next look-up maps it again."""
        mapped, self._mapped = self._mapped, None
        if mapped is not None:
            self._pool.closed(self)
            mapped.close()

    def _entries(self) -> bytearray | memoryview:
        data = self._data
        if data is not None:
            return data
        self.used = True
        if self._mapped is None:
            self._mapped = self._pool.fs.map(self.path)
            self._pool.opened(self)
        return self._mapped.view

    def _mutable(self) -> bytearray:
        """The entries in memory, for the segment that is written to."""
        if self._data is None:
            data = bytearray(self._pool.fs.read(self.path))
            del data[len(data) - len(data) % self.entry_bytes :]
            self.close()
            self._data = data
            self._synced_bytes = len(data)
            self._count = len(data) // self.entry_bytes
        return self._data

    def _load_count(self) -> int:
        size = len(self._data) if self._data is not None else self._pool.fs.size(self.path)
        self._count = size // self.entry_bytes
        return self._count

    def _truncate_entries(self, count: int) -> None:
        data = self._mutable()
        if count * self.entry_bytes < len(data):
            self._replace(data[: count * self.entry_bytes])

    def _replace(self, data: bytearray) -> None:
        """New entries, in a new file: another thread may have the old one mapped, and must not see it cut."""
        self.close()
        self._pool.fs.remove(self.path)
        self._pool.fs.open(self.path, create=True).close()
        self._data = data
        self._synced_bytes = 0
        self._count = len(data) // self.entry_bytes


class OffsetIndex(_Index):
    """Offset to position in the `.log` file, one entry for about each `index.interval.bytes`.

    An entry is the last offset of a batch, relative to the base offset, and the position of that batch: 4 bytes each.
    """

    __slots__ = ()

    entry_bytes = 8
    ENTRY = struct.Struct(">ii")
    _OFFSET = struct.Struct(">i")

    def append(self, offset: int, position: int) -> None:
        """Add an entry behind all others."""
        data = self._data if self._data is not None else self._mutable()
        data += self.ENTRY.pack(offset - self.base_offset, position)
        self._count += 1

    def lookup(self, offset: int) -> tuple[int, int]:
        """(offset, position) of the last entry not behind `offset`; (base offset, 0) where there is none."""
        index = self._floor(offset)
        return self._entry(index) if index >= 0 else (self.base_offset, 0)

    def around(self, offset: int) -> tuple[int, int]:
        """(position of the last entry before `offset`, position of the next one), where there are none 0 and -1."""
        index = self._floor(offset - 1)
        position = self._entry(index)[1] if index >= 0 else 0
        return position, self._entry(index + 1)[1] if index + 1 < len(self) else -1

    def offset_behind(self, position: int) -> int | None:
        """The offset of the first entry at `position` or behind; None where there is none."""
        entries = self._entries() if len(self) else b""
        read = self._OFFSET.unpack_from
        found = bisect_left(range(len(self)), position, key=lambda index: read(entries, index * 8 + 4)[0])
        return self._entry(found)[0] if found < len(self) else None

    def last(self) -> tuple[int, int]:
        """(offset, position) of the last entry; (base offset, 0) where there is none."""
        count = len(self)
        return self._entry(count - 1) if count else (self.base_offset, 0)

    def truncate_to(self, offset: int) -> None:
        """Drop the entries of `offset` and behind."""
        self._truncate_entries(self._floor(offset - 1) + 1)

    def is_full(self, max_bytes: int) -> bool:
        """Whether another entry would make the file larger than `segment.index.bytes`."""
        count = self._count
        return (count if count >= 0 else self._load_count()) >= max_bytes // 8

    def _entry(self, index: int) -> tuple[int, int]:
        relative, position = self.ENTRY.unpack_from(self._entries(), index * self.entry_bytes)
        return self.base_offset + relative, position

    def _floor(self, offset: int) -> int:
        """The number of the last entry with an offset not above `offset`; -1 if there is none."""
        low, high = 0, len(self)
        if high == 0:
            return -1
        entries = self._entries()
        read = self._OFFSET.unpack_from
        relative = offset - self.base_offset
        while low < high:
            middle = (low + high) // 2
            if read(entries, middle * 8)[0] <= relative:
                low = middle + 1
            else:
                high = middle
        return low - 1


class TimeIndex(_Index):
    """Timestamp (8 bytes) to relative offset (4 bytes): no record up to that offset has a larger timestamp."""

    __slots__ = ()

    entry_bytes = 12
    ENTRY = struct.Struct(">qi")
    _TIMESTAMP = struct.Struct(">q")

    def append_if_later(self, timestamp_ms: int, offset: int) -> None:
        """Add an entry, unless its timestamp is not above the last one's."""
        data = self._data if self._data is not None else self._mutable()
        last_ms = self._TIMESTAMP.unpack_from(data, len(data) - 12)[0] if data else NO_TIMESTAMP
        if timestamp_ms > last_ms:
            data += self.ENTRY.pack(timestamp_ms, offset - self.base_offset)
            self._count += 1

    def lookup(self, timestamp_ms: int) -> tuple[int, int]:
        """(timestamp, offset) of the last entry not above `timestamp_ms`; (-1, base offset) where there is none."""
        low, high = 0, len(self)
        if high:
            entries = self._entries()
            read = self._TIMESTAMP.unpack_from
            while low < high:
                middle = (low + high) // 2
                if read(entries, middle * 12)[0] <= timestamp_ms:
                    low = middle + 1
                else:
                    high = middle
        return self._entry(low - 1) if low else (NO_TIMESTAMP, self.base_offset)

    def last(self) -> tuple[int, int]:
        """(timestamp, offset) of the last entry; (-1, base offset) where there is none."""
        count = len(self)
        return self._entry(count - 1) if count else (NO_TIMESTAMP, self.base_offset)

    def truncate_to(self, offset: int) -> None:
        """Drop the entries of `offset` and behind."""
        count = len(self)
        while count and self._entry(count - 1)[1] >= offset:
            count -= 1
        self._truncate_entries(count)

    def is_full(self, max_bytes: int) -> bool:
        """As of the offset index, less the one entry that closing the segment adds."""
        count = self._count
        return (count if count >= 0 else self._load_count()) >= max_bytes // 12 - 1

    def _entry(self, index: int) -> tuple[int, int]:
        timestamp_ms, relative = self.ENTRY.unpack_from(self._entries(), index * self.entry_bytes)
        return timestamp_ms, self.base_offset + relative
