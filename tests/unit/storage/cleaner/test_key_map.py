"""The map of keys: as a dictionary, but of a fixed size."""

from __future__ import annotations

import random

import pytest

from odradek.storage.cleaner.key_map import SLOT_BYTES, KeyMap, map_for


def key(number: int) -> bytes:
    return b"key-%d" % number


@pytest.mark.parametrize(("slots", "capacity"), [(3, 2), (101, 100), (10_007, 9_000)])
def test_a_full_map_finds_every_key_and_no_other(slots: int, capacity: int) -> None:
    keys = KeyMap(slots, capacity)
    order = random.Random(slots)
    expected: dict[int, int] = {}
    offset = 0
    while len(keys) < capacity:
        number = order.randrange(capacity * 2)
        assert keys.put(key(number), offset)
        expected[number] = offset
        offset += 1
    assert len(expected) == capacity
    assert keys.latest_offset == offset - 1
    assert {number: keys.get(key(number)) for number in range(capacity * 2)} == {
        number: expected.get(number, -1) for number in range(capacity * 2)
    }
    keys.close()


def test_a_full_map_takes_nothing_and_stays_as_it_is() -> None:
    keys = KeyMap(7, 2)
    assert keys.put(b"a", 1)
    assert keys.put(b"b", 2)
    assert not keys.put(b"c", 3)
    assert not keys.put(b"a", 4)
    assert (keys.get(b"a"), keys.get(b"b"), keys.get(b"c"), keys.latest_offset) == (1, 2, -1, 2)
    keys.close()


@pytest.mark.parametrize(
    ("records", "buffer_bytes", "load_factor", "capacity"),
    [
        (10, 1 << 20, 0.9, 10),
        (0, 1 << 20, 0.9, 1),
        (10**9, 1009 * SLOT_BYTES, 0.9, 908),
        (10**9, 1009 * SLOT_BYTES, 1.0, 1008),
        (10**9, 1009 * SLOT_BYTES, 7.5, 1008),
        (10**9, 1009 * SLOT_BYTES, 0.0, 1),
        (10**9, 0, 0.9, 2),
    ],
)
def test_a_map_is_as_large_as_needed_and_no_larger_than_allowed(
    records: int, buffer_bytes: int, load_factor: float, capacity: int
) -> None:
    keys = map_for(records, buffer_bytes, load_factor)
    assert keys.capacity == capacity
    for number in range(capacity):
        assert keys.put(key(number), number)
    assert not keys.put(key(capacity), capacity)
    assert all(keys.get(key(number)) == number for number in range(capacity))
    assert keys.get(b"another") == -1
    keys.close()
