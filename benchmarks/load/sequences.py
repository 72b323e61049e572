"""Producer sequences in batches that are made once: what changes in a batch, and what its checksum then is."""

from __future__ import annotations

import struct
from typing import NamedTuple

from crc32c import crc32c

from odradek.wire.records.header import ATTRIBUTES_AT, BASE_SEQUENCE_AT, CRC_AT, MAX_SEQUENCE

_SEQUENCE = struct.Struct(">i")
_SEQUENCE_BITS = 31


class Producer(NamedTuple):
    """What InitProducerId gave a producer without transactions."""

    id: int
    epoch: int


class Sequencer:
    """Writes base sequences, and the checksums that they lead to, into copies of one batch."""

    def __init__(self, batch: bytes) -> None:
        """``batch`` has a producer; its own base sequence does not matter."""
        self._zero, *self._tables = _checksum_tables(batch)
        self._kept = batch[ATTRIBUTES_AT:BASE_SEQUENCE_AT]
        self._fields = struct.Struct(f">I{len(self._kept)}si")

    def write(self, target: bytearray, batch_at: int, sequence: int) -> None:
        """Let the batch whose header begins at ``batch_at`` begin with ``sequence``, 0 to 2^31 - 1."""
        lowest, low, high, highest = self._tables
        checksum = (
            self._zero
            ^ lowest[sequence & 0xFF]
            ^ low[sequence >> 8 & 0xFF]
            ^ high[sequence >> 16 & 0xFF]
            ^ highest[sequence >> 24]
        )
        self._fields.pack_into(target, batch_at + CRC_AT, checksum, self._kept, sequence)


def sequence_behind(sequence: int, records: int) -> int:
    """The sequence that follows a batch: 0 comes behind 2^31 - 1, as Kafka counts (KIP-98)."""
    return (sequence + records) & MAX_SEQUENCE


def _checksum_tables(batch: bytes) -> tuple[int, list[int], list[int], list[int], list[int]]:
    """The checksum at sequence 0, and what each value of each byte of the sequence, the lowest first, changes in it.

    CRC32C is linear: bits of the sequence change the checksum independently of each other and of everything else.
    """
    checked = bytearray(batch[ATTRIBUTES_AT:])
    zero = _checksum_at(checked, 0)
    bits = [_checksum_at(checked, 1 << bit) ^ zero for bit in range(_SEQUENCE_BITS)] + [0]
    tables = [_combinations(bits[first : first + 8]) for first in range(0, 32, 8)]
    return zero, tables[0], tables[1], tables[2], tables[3]


def _checksum_at(checked: bytearray, sequence: int) -> int:
    _SEQUENCE.pack_into(checked, BASE_SEQUENCE_AT - ATTRIBUTES_AT, sequence)
    return crc32c(checked)


def _combinations(bits: list[int]) -> list[int]:
    found = [0]
    for bit in bits:
        found += [known ^ bit for known in found]
    return found
