"""The latest offset of each key, in memory of a fixed size."""

from __future__ import annotations

import mmap
import struct
from hashlib import blake2b

SLOT_BYTES = 24
"""What an entry takes: 16 bytes of the key's hash, and its offset, as in Kafka."""
_HASH_BYTES = 16
_WORDS = struct.Struct("=QQ").unpack
_NEVER_EMPTY = 1 << 63


class KeyMap:
    """An open hash table of fixed size. Keys are known by 128 bits of a cryptographic hash: none is mistaken."""

    def __init__(self, slots: int, capacity: int) -> None:
        """A table of `slots` slots, of which `capacity` (fewer) may be filled. Pages that nothing is in take none."""
        self._slots = slots
        self.capacity = capacity
        self._memory = mmap.mmap(-1, slots * SLOT_BYTES)
        view = memoryview(self._memory)
        size = slots * 8
        self._first = view[:size].cast("Q")
        self._second = view[size : 2 * size].cast("Q")
        self._offsets = view[2 * size :].cast("Q")
        view.release()
        self._count = 0
        self.latest_offset = -1
        """Up to where the log is in the map; the caller moves it over what has no key."""

    def __len__(self) -> int:
        return self._count

    def put(self, key: bytes, offset: int) -> bool:
        """Enter a record; False, and nothing is changed, if the map has its `capacity` of keys."""
        if self._count >= self.capacity:
            return False
        first, second = _WORDS(blake2b(key, digest_size=_HASH_BYTES).digest())
        first |= _NEVER_EMPTY
        slot = first % self._slots
        held = self._first[slot]
        if held and (held != first or self._second[slot] != second):
            slot = self._probe(slot, first, second)
            held = self._first[slot]
        if not held:
            self._first[slot] = first
            self._second[slot] = second
            self._count += 1
        self._offsets[slot] = offset
        self.latest_offset = offset
        return True

    def get(self, key: bytes) -> int:
        """The latest offset of a key; -1 for one that is not in the map."""
        first, second = _WORDS(blake2b(key, digest_size=_HASH_BYTES).digest())
        first |= _NEVER_EMPTY
        slot = first % self._slots
        held = self._first[slot]
        if held and (held != first or self._second[slot] != second):
            slot = self._probe(slot, first, second)
            held = self._first[slot]
        return self._offsets[slot] if held else -1

    def close(self) -> None:
        """Give the memory back."""
        for view in (self._first, self._second, self._offsets):
            view.release()
        self._memory.close()

    def _probe(self, slot: int, first: int, second: int) -> int:
        """The slot of a key, or the empty one where it would be, given that `slot`, which is its first, has another.

        The step, which differs by key, keeps chains short.
        """
        slots = self._slots
        step = 1 + second % (slots - 1)
        for _ in range(slots):
            slot = (slot + step) % slots
            held = self._first[slot]
            if not held or (held == first and self._second[slot] == second):
                return slot
        raise AssertionError("the table has an empty slot that no chain reaches")


def map_for(records: int, buffer_bytes: int, load_factor: float) -> KeyMap:
    """A map for at most `records` records within `buffer_bytes`, filled up to `load_factor`, and at least for one."""
    most_slots = _prime_below(max(buffer_bytes // SLOT_BYTES, 3))
    capacity = min(max(int(most_slots * min(load_factor, 1.0)), 1), most_slots - 1)
    if records >= capacity:
        return KeyMap(most_slots, capacity)
    return KeyMap(_prime_below(min(most_slots, max(2 * records, 3))), max(records, 1))


def _prime_below(number: int) -> int:
    """The largest prime not above `number`, which is 3 or more: a step then goes through all slots."""
    while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
        number -= 1
    return number
