"""What a follower takes of a leader's answer: whole batches that continue its log, and nothing that is damaged."""

from __future__ import annotations

import struct

import pytest

from odradek.storage.log_results import UnexpectedOffsetError
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.records.header import LENGTH_AT
from tests.unit.storage.support import DIRECTORY, Disk, batch, read_records

LOG = f"{DIRECTORY}/{0:020d}.log"


def at(offset: int, *values: bytes) -> bytes:
    """A batch as a leader has it at an offset."""
    stored = batch(*values)
    struct.pack_into(">q", stored, 0, offset)
    return bytes(stored)


def refusal(disk: Disk, data: bytes) -> ErrorCode:
    with pytest.raises(KafkaError) as raised:
        disk.log.append_as_follower(data)
    return raised.value.code


def test_batches_keep_their_offsets_gaps_between_them_included() -> None:
    disk = Disk()
    info = disk.log.append_as_follower(at(0, b"a", b"b") + at(2, b"c") + at(7, b"d"))
    assert info is not None
    assert (info.first_offset, info.last_offset, disk.log.log_end_offset) == (0, 7, 8)
    assert read_records(disk.log, 0) == [(0, b"a"), (1, b"b"), (2, b"c"), (7, b"d")]


@pytest.mark.parametrize("kept", [1, 11, 12, 60, 61, 62])
def test_half_a_batch_at_the_end_is_left_out_of_the_file_and_comes_whole_later(kept: int) -> None:
    disk = Disk()
    first, second = at(0, b"first"), at(1, b"second")
    assert disk.log.append_as_follower(second[:kept]) is None
    disk.log.append_as_follower(first + second[:kept])
    assert disk.log.log_end_offset == 1
    assert disk.fs.read(LOG) == first
    disk.log.append_as_follower(second)
    assert disk.fs.read(LOG) == first + second


def test_what_overlaps_the_log_or_itself_is_refused_whole() -> None:
    disk = Disk()
    disk.log.append_as_follower(at(0, b"a", b"b"))
    for data, offset, expected in (
        (at(1, b"x"), 1, 2),
        (at(2, b"c", b"d") + at(3, b"x"), 3, 4),
        (at(5, b"c") + at(2, b"x"), 2, 6),
    ):
        with pytest.raises(UnexpectedOffsetError) as raised:
            disk.log.append_as_follower(data)
        assert (raised.value.offset, raised.value.expected_offset) == (offset, expected)
    assert disk.fs.read(LOG) == at(0, b"a", b"b")


def test_a_damaged_batch_is_refused_with_all_that_came_with_it() -> None:
    disk = Disk()
    flipped = bytearray(at(1, b"flipped"))
    flipped[-3] ^= 0x10
    for damaged in (
        bytes(flipped),
        at(1, b"magic")[:16] + b"\x01" + at(1, b"magic")[17:],
        at(1, b"length")[:LENGTH_AT] + struct.pack(">i", -1) + bytes(60),
        at(1, b"length")[:LENGTH_AT] + struct.pack(">i", 3) + bytes(60),
        at(1, b"length")[:LENGTH_AT] + struct.pack(">i", 3) + bytes(3),
    ):
        assert refusal(disk, at(0, b"sound") + damaged) is ErrorCode.CORRUPT_MESSAGE
    assert (disk.log.log_end_offset, disk.fs.read(LOG)) == (0, b"")
