"""Connections that bring much take turns, and none of them, nor anybody else, waits for all the others at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import pytest

from odradek.net.bulk import BULK_TURN_BYTES, BulkTurns

MIB = 1 << 20


class Loop:
    """What is to be done in the next turn."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        for _ in range(len(self.soon)):
            self.soon.popleft()()


class Reader:
    """Always has something to read."""

    def __init__(self, turns: BulkTurns, read: list[Reader], size: int) -> None:
        self._turns = turns
        self._read = read
        self._size = size
        self.failures = 0

    def on_readable(self) -> None:
        if self._turns.may_read(self):
            self.read_now()

    def read_now(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("a test wanted it")
        self._read.append(self)
        self._turns.has_read(self._size)


class Node:
    def __init__(self, *sizes: int) -> None:
        self.loop = Loop()
        turns = BulkTurns(cast("asyncio.AbstractEventLoop", self.loop))
        self.read: list[Reader] = []
        self.readers = [Reader(turns, self.read, size) for size in sizes]

    def turn(self) -> list[int]:
        """Everybody is readable, then comes what was to be done soon; which of the readers read, in order."""
        self.read.clear()
        for reader in self.readers:
            reader.on_readable()
        self.loop.turn()
        return [self.readers.index(reader) for reader in self.read]


def test_who_is_alone_reads_at_each_turn() -> None:
    node = Node(MIB)
    assert all(0 in node.turn() for _ in range(50))


def test_few_read_in_one_turn_and_all_of_them_in_their_order() -> None:
    node = Node(*[MIB] * 10)
    assert node.turn() == [0, 1, 2, 3, 4, 5, 6, 7]
    counts = [0] * 10
    for _ in range(30):
        read = node.turn()
        assert len(read) == BULK_TURN_BYTES // MIB
        for number in read:
            counts[number] += 1
        assert max(counts) - min(counts) <= 1


def test_what_is_small_beside_a_turn_lets_many_read() -> None:
    node = Node(*[BULK_TURN_BYTES // 64] * 60)
    assert node.turn() == list(range(60))


def test_nobody_reads_twice_for_being_readable_twice() -> None:
    node = Node(*[BULK_TURN_BYTES] * 3)
    node.readers[0].on_readable()
    for _ in range(5):
        node.readers[1].on_readable()
        node.readers[2].on_readable()
    node.loop.turn()
    node.loop.turn()
    node.loop.turn()
    assert [node.readers.index(reader) for reader in node.read] == [0, 1, 2, 1]


def test_a_reader_that_fails_keeps_nobody_from_reading() -> None:
    node = Node(*[BULK_TURN_BYTES] * 3)
    for reader in node.readers:
        reader.on_readable()
    node.readers[1].failures = 1
    with pytest.raises(RuntimeError):
        node.loop.turn()
    node.loop.turn()
    assert node.read == [node.readers[0], node.readers[2]]
    assert 1 in node.turn() + node.turn() + node.turn()


def test_who_had_nothing_is_not_asked_again() -> None:
    node = Node(BULK_TURN_BYTES, 0, BULK_TURN_BYTES)
    for reader in node.readers:
        reader.on_readable()
    for _ in range(5):
        node.loop.turn()
    assert node.read.count(node.readers[1]) == 1
    assert node.read.count(node.readers[2]) > 1
