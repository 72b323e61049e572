"""Sequences in batches that are made once: every checksum is as if the batch had been made with that sequence."""

from __future__ import annotations

import pytest

from benchmarks.load.ring import LARGE_BYTES, SequencedRing
from benchmarks.load.sequences import Sequencer, sequence_behind
from tests.support.batches import batch, batches

LAST = 0x7FFF_FFFF
PRODUCER = (7_000_000_001, 9)


@pytest.mark.parametrize("sequence", [0, 1, 0xFF, 0x100, 0xABCD, 0x10000, 0x1234_5678, 0x7F00_0000, LAST])
def test_a_batch_with_another_sequence_is_the_batch_made_with_it(sequence: int) -> None:
    made = batch([b"a", b"b"], producer=(*PRODUCER, 5))
    target = bytearray(b"front" + made + b"behind")
    Sequencer(made).write(target, len(b"front"), sequence)
    assert bytes(target) == b"front" + batch([b"a", b"b"], producer=(*PRODUCER, sequence)) + b"behind"


def test_sequences_go_from_the_largest_to_zero() -> None:
    assert sequence_behind(0, 600) == 600
    assert sequence_behind(LAST - 1, 1) == LAST
    assert sequence_behind(LAST, 1) == 0
    assert sequence_behind(LAST - 10, 600) == 589


@pytest.mark.parametrize("value_bytes", [10, LARGE_BYTES])
def test_a_ring_goes_on_where_it_ended_even_past_the_largest_sequence(value_bytes: int) -> None:
    made = batch([b"v" * value_bytes] * 2, producer=(*PRODUCER, 0))
    ring = SequencedRing(b"01234567" + b"idid" + made + b"tail", made, slots=4, records=2, first_sequence=LAST - 4)
    found: list[tuple[int, int]] = []
    for slot, count in [(0, 3), (3, 1), (0, 1), (1, 3)]:
        sent = b"".join(ring.buffers(slot, count))
        assert len(sent) == count * ring.request_bytes
        for at in range(0, len(sent), ring.request_bytes):
            request = sent[at : at + ring.request_bytes]
            (one,) = batches(request[12:-4])
            assert (one.crc_is_right, request[-4:]) == (True, b"tail")
            found.append((int.from_bytes(request[8:12], "big"), one.producer[2]))
        ring.prepare(slot, count)
    slots, sequences = zip(*found, strict=True)
    assert slots == (0, 1, 2, 3) * 2
    assert sequences == (LAST - 4, LAST - 2, LAST, 1, 3, 5, 7, 9)
