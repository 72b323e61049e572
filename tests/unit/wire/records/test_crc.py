"""The checksum is CRC-32C, whichever implementation is there."""

from __future__ import annotations

import pytest
from crcmod.predefined import mkPredefinedCrcFun  # type: ignore[import-untyped]  # ships no types
from hypothesis import given
from hypothesis import strategies as st

from odradek.wire.records import crc


def test_the_check_value_of_the_algorithm() -> None:
    assert crc.crc32c(b"123456789") == 0xE3069283


def test_the_compiled_function_is_found_without_importing_its_package() -> None:
    pytest.importorskip("crc32c", reason="no crc32c for this platform")
    assert crc._extension() is not None


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_both_implementations_agree_and_continue(first: bytes, second: bytes) -> None:
    expected = mkPredefinedCrcFun("crc-32c")(first + second)
    portable = crc._portable()
    assert crc.crc32c(memoryview(second), crc.crc32c(first)) == expected
    assert portable(memoryview(second), portable(bytearray(first), 0)) == expected
