"""CRC-32C, the checksum of record batches from magic 2 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
Crc: TypeAlias = Callable[[Buffer, int], int]


def _portable() -> Crc:
    """The implementation for platforms without the crc32c package: the same values, many times slower."""
    from crcmod.predefined import mkPredefinedCrcFun  # type: ignore[import-untyped]  # ships no types

    function: Crc = mkPredefinedCrcFun("crc-32c")

    def crc32c(data: Buffer, value: int = 0) -> int:
        # crcmod takes no memoryview
        return function(bytes(data), value)

    return crc32c


def _implementation() -> Crc:
    try:
        from crc32c import crc32c as hardware
    except ImportError:
        return _portable()
    return hardware


_crc32c = _implementation()


def crc32c(data: Buffer, value: int = 0) -> int:
    """The CRC-32C of `data`, continuing from `value`; an unsigned 32-bit number."""
    return _crc32c(data, value)
