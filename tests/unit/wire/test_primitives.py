"""Varints as Kafka writes them, and UUIDs as its tools show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.wire import ZERO_UUID, ProtocolError, uuid_from_string, uuid_to_string
from odradek.wire.primitives import (
    MAX_INT32,
    flat,
    read_uvarint,
    read_varint,
    read_varlong,
    string_prefix,
    uvarint,
    varint,
    varlong,
)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16_384, "808001"), (MAX_INT32, "ffffffff07")],
)
def test_unsigned_varints(value: int, encoded: str) -> None:
    assert uvarint(value).hex() == encoded
    assert read_uvarint(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (-64, "7f"),
        (64, "8001"),
        (MAX_INT32, "feffffff0f"),
        (-(1 << 31), "ffffffff0f"),
    ],
)
def test_zigzag_varints(value: int, encoded: str) -> None:
    assert varint(value).hex() == encoded
    assert read_varint(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_zigzag_varlong_is_read_as_it_was_written(value: int) -> None:
    content = b"x" + varlong(value) + b"y"
    assert read_varlong(content, 1) == (value, len(content) - 1)


@pytest.mark.parametrize("encoded", ["ffffffff0f", "ffffffff08", "8080808080", "ffffffffff01"])
def test_a_varint_beyond_what_a_length_can_be_is_malformed(encoded: str) -> None:
    with pytest.raises(ProtocolError):
        read_uvarint(bytes.fromhex(encoded), 0)


def test_a_varint_may_have_only_so_many_bytes() -> None:
    with pytest.raises(ProtocolError):
        read_varint(b"\x80" * 5 + b"\x00", 0)
    with pytest.raises(ProtocolError):
        read_varlong(b"\x80" * 10 + b"\x00", 0)


def test_a_compact_string_is_no_longer_than_any_other() -> None:
    assert string_prefix(0x8000) == uvarint(0x8000)
    with pytest.raises(ProtocolError, match="32768 bytes"):
        string_prefix(0x8001)


def test_only_flat_buffers_of_bytes_are_read() -> None:
    assert bytes(flat(bytearray(b"abc"))) == b"abc"
    with pytest.raises(ProtocolError):
        flat(memoryview(b"abcd").cast("I"))
    with pytest.raises(ProtocolError):
        flat(memoryview(b"abcd")[::2])


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (ZERO_UUID, "AAAAAAAAAAAAAAAAAAAAAA"),
        (bytes(15) + b"\x01", "AAAAAAAAAAAAAAAAAAAAAQ"),
        (b"\xff" * 16, "_____________________w"),
        (b"\xfb" * 16, "-_v7-_v7-_v7-_v7-_v7-w"),
    ],
)
def test_a_uuid_is_shown_as_unpadded_base64url(raw: bytes, text: str) -> None:
    assert uuid_to_string(raw) == text
    assert uuid_from_string(text) == raw


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 23, "A" * 43, "AAAAAAAAAAAAAAAAAAAA!A", "ÄAAAAAAAAAAAAAAAAAAAAA"])
def test_text_that_is_not_a_uuid(text: str) -> None:
    with pytest.raises(ValueError, match="not a UUID"):
        uuid_from_string(text)


def test_a_uuid_has_16_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        uuid_to_string(b"short")
