"""Zstandard frames (RFC 8878).

A frame is walked block by block before it is decompressed: block headers tell how much it can hold at most, so a
short malformed frame cannot ask for memory, and a frame that declares its size gets exactly that.
"""

from __future__ import annotations

import cramjam

from odradek.wire.errors import ProtocolError
from odradek.wire.records.codecs.bounded import decompress_bounded
from odradek.wire.records.codecs.limits import OutputLimitError
from odradek.wire.records.crc import Buffer

MIN_LEVEL = -131072
MAX_LEVEL = 22
DEFAULT_LEVEL = 3

MAX_BLOCK_BYTES = 128 * 1024
MAX_WALKED_BLOCKS = 4096
"""After so many blocks the walk stops and the limit alone is the bound: empty blocks must not buy time."""

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_FIRST_GUESS_BYTES = 64 * 1024
_FIRST_GUESS_RATIO = 4


def compress(data: Buffer, level: int | None = None) -> bytes:
    """One frame; `level` is -131072 to 22."""
    return bytes(cramjam.zstd.compress(data, level=DEFAULT_LEVEL if level is None else level))


def decompress(data: Buffer, limit_bytes: int) -> bytes:
    """All frames in `data`."""
    view = memoryview(data)
    frame, bound_bytes, declared_bytes = _walk(view, limit_bytes)
    guess_bytes = declared_bytes or max(_FIRST_GUESS_BYTES, _FIRST_GUESS_RATIO * len(view))
    return decompress_bounded(
        cramjam.zstd.decompress_into,
        frame,
        guess_bytes=guess_bytes,
        bound_bytes=bound_bytes,
        limit_bytes=limit_bytes,
    )


class _Walk:
    """A position in the data and what was seen up to it."""

    __slots__ = ("blocks", "bound_bytes", "declared_bytes", "patches", "position", "stop_bytes", "view")

    def __init__(self, view: memoryview, limit_bytes: int) -> None:
        self.view = view
        self.position = 0
        self.bound_bytes = 0
        self.declared_bytes = 0
        self.blocks = 0
        self.stop_bytes = limit_bytes
        self.patches: list[tuple[int, int]] = []

    def number(self, size: int) -> int:
        """The next `size` bytes, little endian."""
        end = self.position + size
        if end > len(self.view):
            raise ProtocolError("zstd data ends too early")
        value = int.from_bytes(self.view[self.position : end], "little")
        self.position = end
        return value

    @property
    def done(self) -> bool:
        """Whether enough is known: the end, a bound above the limit, or too many blocks."""
        return self.bound_bytes > self.stop_bytes or self.position >= len(self.view)


def _walk(view: memoryview, limit_bytes: int) -> tuple[Buffer, int, int]:
    """(the data to decompress, its bound in bytes, the size its only frame declares or 0)."""
    walk = _Walk(view, limit_bytes)
    frames = 0
    if not len(view):
        raise ProtocolError("zstd data is empty")
    while not walk.done:
        magic = walk.number(4)
        if magic & 0xFFFF_FFF0 == _SKIPPABLE:
            size = walk.number(4)
            walk.position += size
            walk.blocks += 1
        elif magic == _MAGIC:
            frames += 1
            _walk_frame(walk)
        else:
            raise ProtocolError("not a zstd frame")
        if walk.blocks > MAX_WALKED_BLOCKS:
            walk.bound_bytes = limit_bytes + 1
    frame: Buffer = view
    if walk.patches:
        frame = bytearray(view)
        for position, value in walk.patches:
            frame[position] = value
    return frame, walk.bound_bytes, walk.declared_bytes if frames == 1 else 0


def _walk_frame(walk: _Walk) -> None:
    descriptor = walk.number(1)
    if descriptor & 0x08:
        raise ProtocolError("zstd frame with a reserved bit set")
    single_segment = bool(descriptor & 0x20)
    if not single_segment:
        _bound_window(walk)
    if walk.number((0, 1, 2, 4)[descriptor & 3]):
        raise ProtocolError("zstd frame that needs a dictionary")
    content_flag = descriptor >> 6
    content_bytes = walk.number((1 if single_segment else 0, 2, 4, 8)[content_flag])
    if content_flag == 1:
        content_bytes += 256
    declared = bool(content_flag or single_segment)
    if declared and content_bytes > walk.stop_bytes:
        raise OutputLimitError(walk.stop_bytes)
    before_bytes = walk.bound_bytes
    finished = _walk_blocks(walk)
    if finished and descriptor & 0x04:
        walk.number(4)
    if finished and declared:
        if content_bytes > walk.bound_bytes - before_bytes:
            raise ProtocolError(f"zstd frame claims {content_bytes} bytes, more than its blocks can hold")
        walk.bound_bytes = before_bytes + content_bytes
        walk.declared_bytes = content_bytes


def _bound_window(walk: _Walk) -> None:
    """Read the window's size; note a smaller one if it is above what may be put out.

    The decompressor allocates the window before it sees data. A window that holds all of the output is as good as
    any larger one.
    """
    position = walk.position
    window = walk.number(1)
    needed_bytes = max(walk.stop_bytes, MAX_BLOCK_BYTES)
    exponent = max(0, (needed_bytes - 1).bit_length() - 10)
    if window >> 3 > exponent:
        walk.patches.append((position, exponent << 3))


def _walk_blocks(walk: _Walk) -> bool:
    """Go over a frame's blocks; whether its last one was reached."""
    while walk.bound_bytes <= walk.stop_bytes and walk.blocks <= MAX_WALKED_BLOCKS:
        header = walk.number(3)
        kind, size = header >> 1 & 3, header >> 3
        walk.blocks += 1
        if kind == 3 or size > MAX_BLOCK_BYTES:
            raise ProtocolError("zstd frame with a malformed block")
        walk.bound_bytes += MAX_BLOCK_BYTES if kind == 2 else size
        walk.position += 1 if kind == 1 else size
        if walk.position > len(walk.view):
            raise ProtocolError("zstd data ends too early")
        if header & 1:
            return True
    return False
