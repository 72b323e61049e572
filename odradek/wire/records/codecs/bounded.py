"""Decompression into memory whose size is decided before the data is looked at."""

from __future__ import annotations

from collections.abc import Callable

import cramjam

from odradek.wire.errors import ProtocolError
from odradek.wire.records.codecs.limits import OutputLimitError
from odradek.wire.records.crc import Buffer

DecompressInto = Callable[[Buffer, bytearray], int]

_GROWTH = 4


def decompress_bounded(
    decompress_into: DecompressInto, data: Buffer, *, guess_bytes: int, bound_bytes: int, limit_bytes: int
) -> bytes:
    """Decompress `data` into a buffer of `guess_bytes`, and into larger ones while that is too small.

    `bound_bytes` is what the data can at most decompress to; no buffer is larger than that or `limit_bytes`.
    """
    most = min(bound_bytes, limit_bytes)
    size = max(1, min(guess_bytes, most))
    while True:
        output = bytearray(size)
        try:
            written = decompress_into(data, output)
        except (cramjam.DecompressionError, OSError, ValueError) as error:
            if not _is_short(error):
                raise ProtocolError(f"compressed data is malformed: {error}") from error
            if size >= most:
                raise OutputLimitError(limit_bytes) from error
        else:
            if written > limit_bytes:  # only a limit of 0 has a buffer above it
                raise OutputLimitError(limit_bytes)
            return bytes(memoryview(output)[:written])
        del output
        size = min(size * _GROWTH, most)


def _is_short(error: Exception) -> bool:
    """Whether a decompressor stopped because its output buffer was full."""
    return "whole buffer" in str(error)
