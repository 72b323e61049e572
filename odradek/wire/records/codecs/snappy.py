"""Snappy: bare blocks as librdkafka writes them, and the chunked stream of snappy-java.

The stream starts with a header of 16 bytes (magic, version, lowest version that can read it) and goes on with
chunks: int32 length, block. Where streams were concatenated, a header stands in place of a length.
"""

from __future__ import annotations

import struct

import cramjam

from odradek.wire.errors import ProtocolError
from odradek.wire.records.codecs.limits import OutputLimitError
from odradek.wire.records.crc import Buffer

STREAM_MAGIC = b"\x82SNAPPY\x00"
STREAM_HEADER = STREAM_MAGIC + struct.pack(">ii", 1, 1)
CHUNK_BYTES = 32 * 1024
"""What snappy-java puts into one chunk, before compression."""

MAX_RATIO = 22
"""No block grows by more: its densest element makes 64 bytes of 3."""

_INT32 = struct.Struct(">i")
_MAGIC_AS_LENGTH = _INT32.unpack(STREAM_MAGIC[:4])[0]


def compress(data: Buffer) -> bytes:
    """The chunked stream, which is what Java's clients and brokers write."""
    view = memoryview(data)
    parts = [STREAM_HEADER]
    for start in range(0, len(view), CHUNK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + CHUNK_BYTES]))
        parts += (_INT32.pack(len(block)), block)
    return b"".join(parts)


def compress_block(data: Buffer) -> bytes:
    """A bare block."""
    return bytes(cramjam.snappy.compress_raw(data))


def decompress(data: Buffer, limit_bytes: int) -> bytes:
    """Either framing, told apart by the stream's magic."""
    view = memoryview(data)
    blocks = _chunks(view) if view[: len(STREAM_MAGIC)] == STREAM_MAGIC else [view]
    sizes: list[int] = []
    total_bytes = 0
    for block in blocks:
        size = _declared_bytes(block)
        total_bytes += size
        if total_bytes > limit_bytes:
            raise OutputLimitError(limit_bytes)
        sizes.append(size)
    output = memoryview(bytearray(total_bytes))
    position = 0
    for block, size in zip(blocks, sizes, strict=True):
        _decompress_block(block, output[position : position + size])
        position += size
    return bytes(output)


def _chunks(view: memoryview) -> list[memoryview]:
    """The blocks of a chunked stream. Fewer than 4 bytes at its end are ignored, as snappy-java does."""
    if len(view) < len(STREAM_HEADER):
        raise ProtocolError("snappy stream ends in its header")
    blocks: list[memoryview] = []
    position = len(STREAM_HEADER)
    while position + 4 <= len(view):
        (length,) = _INT32.unpack_from(view, position)
        if length == _MAGIC_AS_LENGTH and view[position : position + len(STREAM_MAGIC)] == STREAM_MAGIC:
            position += len(STREAM_HEADER)
            continue
        position += 4
        if not 0 < length <= len(view) - position:
            raise ProtocolError(f"snappy chunk of {length} bytes where {len(view) - position} are left")
        blocks.append(view[position : position + length])
        position += length
    return blocks


def _declared_bytes(block: memoryview) -> int:
    """What a block says it decompresses to, if that is possible for its length."""
    try:
        size = cramjam.snappy.decompress_raw_len(block)
    except (cramjam.DecompressionError, OSError, ValueError) as error:
        raise ProtocolError(f"snappy block is malformed: {error}") from error
    if size > MAX_RATIO * len(block):
        raise ProtocolError(f"snappy block of {len(block)} bytes claims to hold {size}")
    return size


def _decompress_block(block: memoryview, output: memoryview) -> None:
    try:
        written = cramjam.snappy.decompress_raw_into(block, output)
    except (cramjam.DecompressionError, OSError, ValueError) as error:
        raise ProtocolError(f"snappy block is malformed: {error}") from error
    if written != len(output):
        raise ProtocolError(f"snappy block holds {written} bytes and claims {len(output)}")
