"""gzip by zlib, whose decompressor stops at a given number of bytes."""

from __future__ import annotations

import zlib

from odradek.wire.errors import ProtocolError
from odradek.wire.records.codecs.limits import OutputLimitError
from odradek.wire.records.crc import Buffer

MIN_LEVEL = 1
MAX_LEVEL = 9
DEFAULT_LEVEL = -1

MAX_MEMBERS = 64
"""Members of one stream. Clients write one; each one more costs a copy of what follows it."""

_GZIP_WRAPPER = 31
_MEMBER_START = b"\x1f\x8b\x08"


def compress(data: Buffer, level: int | None = None) -> bytes:
    """One gzip member; `level` is 1 to 9 or -1 for zlib's choice."""
    compressor = zlib.compressobj(DEFAULT_LEVEL if level is None else level, zlib.DEFLATED, _GZIP_WRAPPER)
    return compressor.compress(data) + compressor.flush()


def decompress(data: Buffer, limit_bytes: int) -> bytes:
    """All members of a gzip stream. What follows the last and is no member is ignored, as Java does."""
    parts: list[bytes] = []
    left_bytes = limit_bytes
    rest = data
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(_GZIP_WRAPPER)
        try:
            part = member.decompress(rest, left_bytes + 1)
        except zlib.error as error:
            raise ProtocolError(f"gzip data is malformed: {error}") from error
        if len(part) > left_bytes:
            raise OutputLimitError(limit_bytes)
        if not member.eof:
            raise ProtocolError("gzip data ends too early")
        parts.append(part)
        left_bytes -= len(part)
        rest = member.unused_data
        if not rest.startswith(_MEMBER_START):
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise ProtocolError(f"gzip data has more than {MAX_MEMBERS} members")
