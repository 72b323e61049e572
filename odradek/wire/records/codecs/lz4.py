"""LZ4 frames with independent blocks, the only ones Kafka reads.

Java writes blocks of 64 KiB without checksums. For records of magic 0 it reads frames whose descriptor
checksum is wrong (old clients computed it over the wrong bytes).
"""

from __future__ import annotations

import struct

import cramjam

from odradek.wire.errors import ProtocolError
from odradek.wire.records.codecs.bounded import decompress_bounded
from odradek.wire.records.crc import Buffer

MIN_LEVEL = 1
MAX_LEVEL = 17
DEFAULT_LEVEL = 9
"""Java takes this one for its fast compressor, and every other for the high-compression one."""

BLOCK_BYTES = 64 * 1024
MAX_RATIO = 255
"""No block grows by more."""

_MAGIC = b"\x04\x22\x4d\x18"
_VERSION = 0x40
_INDEPENDENT = 0x20
_BLOCK_CHECKSUM = 0x10
_CONTENT_SIZE = 0x08
_CONTENT_CHECKSUM = 0x04
_STORED = 0x8000_0000
_UINT32 = struct.Struct("<I")
_END = bytes(4)
_U32 = 0xFFFF_FFFF


def _header_checksum(descriptor: bytes) -> int:
    """The second byte of the xxHash-32 of fewer than 16 bytes."""
    prime_1, prime_2, prime_3, prime_4, prime_5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    value = (prime_5 + len(descriptor)) & _U32
    words = len(descriptor) // 4 * 4
    for (word,) in _UINT32.iter_unpack(descriptor[:words]):
        value = (value + word * prime_3) & _U32
        value = (value << 17 | value >> 15) & _U32
        value = value * prime_4 & _U32
    for byte in descriptor[words:]:
        value = (value + byte * prime_5) & _U32
        value = (value << 11 | value >> 21) & _U32
        value = value * prime_1 & _U32
    value = (value ^ value >> 15) * prime_2 & _U32
    value = (value ^ value >> 13) * prime_3 & _U32
    return (value ^ value >> 16) >> 8 & 0xFF


def _with_checksum(descriptor: bytes) -> bytes:
    return _MAGIC + descriptor + bytes((_header_checksum(descriptor),))


FRAME_HEADER = _with_checksum(bytes((_VERSION | _INDEPENDENT, 4 << 4)))


def compress(data: Buffer, level: int | None = None) -> bytes:
    """A frame as Java writes it; `level` is 1 to 17."""
    if level is not None and level != DEFAULT_LEVEL:
        return _compress_at_level(data, level)
    view = memoryview(data)
    parts = [FRAME_HEADER]
    for start in range(0, len(view), BLOCK_BYTES):
        plain = view[start : start + BLOCK_BYTES]
        block = bytes(cramjam.lz4.compress_block(plain, store_size=False))
        if len(block) < len(plain):
            parts += (_UINT32.pack(len(block)), block)
        else:
            parts += (_UINT32.pack(len(plain) | _STORED), bytes(plain))
    parts.append(_END)
    return b"".join(parts)


def _compress_at_level(data: Buffer, level: int) -> bytes:
    """The library's frame, without the checksums that it puts after each block: Java writes none."""
    compressor = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    compressor.compress(data)
    frame = memoryview(bytes(compressor.finish()))
    flags, _, descriptor_bytes = _descriptor(frame)
    checksum_bytes = 4 if flags & _BLOCK_CHECKSUM else 0
    position = len(_MAGIC) + descriptor_bytes + 1
    parts: list[Buffer] = [FRAME_HEADER]
    while size := _UINT32.unpack_from(frame, position)[0] & ~_STORED:
        parts.append(frame[position : position + 4 + size])
        position += 4 + size + checksum_bytes
    parts.append(_END)
    return b"".join(parts)


def decompress(data: Buffer, limit_bytes: int, *, ignore_header_checksum: bool = False) -> bytes:
    """The first frame in `data`; what follows it is ignored, as Kafka does."""
    view = memoryview(data)
    flags, max_block_bytes, descriptor_bytes = _descriptor(view)
    blocks_start = len(_MAGIC) + descriptor_bytes + 1
    end, bound_bytes = _walk(view, blocks_start, flags, max_block_bytes, limit_bytes)
    frame: Buffer = view[:end]
    if ignore_header_checksum:
        descriptor = bytes(view[len(_MAGIC) : blocks_start - 1])
        frame = b"".join((_with_checksum(descriptor), view[blocks_start:end]))
    return decompress_bounded(
        cramjam.lz4.decompress_into,
        frame,
        guess_bytes=bound_bytes,
        bound_bytes=bound_bytes,
        limit_bytes=limit_bytes,
    )


def _descriptor(view: memoryview) -> tuple[int, int, int]:
    """(flags, largest block in bytes, length of the descriptor in bytes)."""
    if len(view) < 7 or view[:4] != _MAGIC:
        raise ProtocolError("not an LZ4 frame")
    flags, sizes = view[4], view[5]
    if flags & 0xC3 != _VERSION or sizes & 0x8F or not sizes >> 4 >= 4:
        raise ProtocolError(f"LZ4 frame with an unknown descriptor {flags:#x}, {sizes:#x}")
    if not flags & _INDEPENDENT:
        raise ProtocolError("LZ4 frame with blocks that depend on each other")
    return flags, 1 << (2 * (sizes >> 4) + 8), 10 if flags & _CONTENT_SIZE else 2


def _walk(view: memoryview, position: int, flags: int, max_block_bytes: int, limit_bytes: int) -> tuple[int, int]:
    """(where the frame ends, how many bytes it can at most decompress to, or just above the limit)."""
    checksum_bytes = 4 if flags & _BLOCK_CHECKSUM else 0
    bound_bytes = 0
    while position + 4 <= len(view):
        (word,) = _UINT32.unpack_from(view, position)
        position += 4
        size = word & ~_STORED
        if size == 0:
            return position + (4 if flags & _CONTENT_CHECKSUM else 0), bound_bytes
        if size > max_block_bytes:
            raise ProtocolError(f"LZ4 block of {size} bytes in a frame that allows {max_block_bytes}")
        if bound_bytes <= limit_bytes:
            bound_bytes += size if word & _STORED else min(max_block_bytes, size * MAX_RATIO)
        position += size + checksum_bytes
    raise ProtocolError("LZ4 frame ends too early")
