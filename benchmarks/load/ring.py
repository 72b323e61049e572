"""Produce requests that are made before the load begins, and sent again and again."""

from __future__ import annotations

import struct

from benchmarks.load.sequences import Sequencer, sequence_behind
from odradek.wire.records.header import HEADER_BYTES

CORRELATION_ID_AT = 8
"""Behind the frame's length, the API key and the version."""
LARGE_BYTES = 2048
"""From here on a request's records are kept once, and each request's beginning beside them."""
_INT32 = struct.Struct(">i")


class Ring:
    """A ring of requests that are alike, but for their correlation ids (their places in the ring) and sequences."""

    def __init__(self, request: bytes, batch: bytes, slots: int) -> None:
        """``request`` is a whole frame that holds ``batch`` once."""
        self.slots = slots
        self.request_bytes = len(request)
        self._batch_at = request.index(batch)
        is_large = len(request) >= LARGE_BYTES
        self._stride = self._batch_at + HEADER_BYTES if is_large else len(request)
        self._requests = bytearray(request[: self._stride] * slots)
        for slot in range(slots):
            _INT32.pack_into(self._requests, slot * self._stride + CORRELATION_ID_AT, slot)
        self._view = memoryview(self._requests)
        self._pieces: list[memoryview] = []
        if is_large:
            rest = memoryview(request)[self._stride :]
            for at in range(0, len(self._requests), self._stride):
                self._pieces += (self._view[at : at + self._stride], rest)

    def buffers(self, slot: int, count: int) -> list[memoryview]:
        """The bytes of ``count`` requests from ``slot`` on; ``slot + count`` may reach ``slots`` and not pass it."""
        if self._pieces:
            return self._pieces[2 * slot : 2 * (slot + count)]
        return [self._view[slot * self._stride : (slot + count) * self._stride]]

    def prepare(self, slot: int, count: int) -> None:
        """Make ``count`` requests, whose answers are there, ready for their next turn."""


class SequencedRing(Ring):
    """The requests of one idempotent producer: each batch goes on where the one before it in the ring ended."""

    def __init__(self, request: bytes, batch: bytes, slots: int, records: int, first_sequence: int = 0) -> None:
        """``records`` is how many sequences a batch takes."""
        super().__init__(request, batch, slots)
        self._records = records
        self._sequencer = Sequencer(batch)
        self._sequence = first_sequence
        self.prepare(0, slots)

    def prepare(self, slot: int, count: int) -> None:
        at = slot * self._stride + self._batch_at
        for _ in range(count):
            if at >= len(self._requests):
                at = self._batch_at
            self._sequencer.write(self._requests, at, self._sequence)
            self._sequence = sequence_behind(self._sequence, self._records)
            at += self._stride
