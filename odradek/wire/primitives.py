"""Variable-length integers and the other pieces that compiled readers and writers call out of line.

Readers take (buffer, position) and return (value, next position); past the end they raise `IndexError`, which
`Struct.decode` turns into `ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

from odradek.wire.errors import ProtocolError

Buffer: TypeAlias = bytes | bytearray | memoryview

MAX_INT32 = 0x7FFF_FFFF
MAX_STRING_BYTES = 0x7FFF
"""Kafka's limit for every string, also for those whose length is a varint."""

ONE_BYTE = tuple(bytes((value,)) for value in range(128))
"""The encodings of the unsigned varints below 128."""


def flat(data: Buffer) -> bytes | memoryview:
    """`data` as something whose slices are cheap and whose items are bytes."""
    if type(data) is bytes:
        return data
    view = memoryview(data)
    if view.format != "B" or view.ndim != 1 or not view.contiguous:
        raise ProtocolError(f"not a flat buffer of bytes: format {view.format!r}, {view.ndim} dimensions")
    return view


def read_uvarint(data: Buffer, position: int) -> tuple[int, int]:
    """An unsigned varint of at most 31 bits (a length, a count or a tag)."""
    first = data[position]
    if first < 128:
        return first, position + 1
    return continue_uvarint(data, position + 1, first)


def continue_uvarint(data: Buffer, position: int, first: int) -> tuple[int, int]:
    """The rest of an unsigned varint whose first byte was `first`, at least 128."""
    value = first & 0x7F
    for shift in (7, 14, 21, 28):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            if value > MAX_INT32:
                raise ProtocolError(f"varint {value} is larger than a length may be")
            return value, position
    raise ProtocolError("varint is longer than 5 bytes")


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """A zigzag varint of 32 bits."""
    raw, position = _read_base128(data, position, 5)
    raw &= 0xFFFF_FFFF
    return (raw >> 1) ^ -(raw & 1), position


def read_varlong(data: Buffer, position: int) -> tuple[int, int]:
    """A zigzag varint of 64 bits."""
    raw, position = _read_base128(data, position, 10)
    raw &= 0xFFFF_FFFF_FFFF_FFFF
    return (raw >> 1) ^ -(raw & 1), position


def _read_base128(data: Buffer, position: int, max_bytes: int) -> tuple[int, int]:
    value = 0
    for index in range(max_bytes):
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 128:
            return value, position + index + 1
    raise ProtocolError(f"varint is longer than {max_bytes} bytes")


def uvarint(value: int) -> bytes:
    """`value` (0 or more) as an unsigned varint."""
    if value < 128:
        return ONE_BYTE[value]
    out = bytearray()
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value: int) -> bytes:
    """A signed 32-bit `value` as a zigzag varint."""
    return uvarint(((value << 1) ^ (value >> 31)) & 0xFFFF_FFFF)


def varlong(value: int) -> bytes:
    """A signed 64-bit `value` as a zigzag varint."""
    return uvarint(((value << 1) ^ (value >> 63)) & 0xFFFF_FFFF_FFFF_FFFF)


def string_prefix(length_plus_one: int) -> bytes:
    """The compact length of a string that is too long for one byte."""
    if length_plus_one > MAX_STRING_BYTES + 1:
        raise ProtocolError(f"a string of {length_plus_one - 1} bytes is longer than {MAX_STRING_BYTES}")
    return uvarint(length_plus_one)


def write_tags(
    append: Callable[[bytes], None], known: Sequence[tuple[int, bytes]], unknown: Sequence[tuple[int, bytes]]
) -> None:
    """The tagged-field section: known and unknown fields together, by tag."""
    fields = [*known, *unknown]
    if len(fields) > 1:
        fields.sort(key=lambda field: field[0])
        for (tag, _), (following, _) in pairwise(fields):
            if tag == following:
                raise ProtocolError(f"tag {tag} is used twice")
    append(uvarint(len(fields)))
    for tag, payload in fields:
        if not 0 <= tag <= MAX_INT32:
            raise ProtocolError(f"{tag} is not a tag")
        append(uvarint(tag))
        append(uvarint(len(payload)))
        append(payload)


def malformed(where: str, what: str) -> ProtocolError:
    """The error for a value at `where` (a field's path in a message) that cannot be."""
    return ProtocolError(f"{where}: {what}")
