"""Little data that decompresses to much costs no more memory than the limit allows."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import cramjam
import pytest

from odradek.wire.records.codecs import lz4, snappy
from odradek.wire.records.compression import Codec

MIB = 1 << 20
LIMIT_BYTES = 4 * MIB
BOMB_BYTES = 256 * MIB
ALLOWED_KIB = 3 * LIMIT_BYTES // 1024

DEFUSE = """
import resource, sys
from odradek.wire.records.compression import Codec, OutputLimitError, compress, decompress
codec, limit_bytes = Codec(int(sys.argv[1])), int(sys.argv[2])
bomb = sys.stdin.buffer.read()
decompress(codec, compress(codec, b"warm"), limit_bytes)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decompress(codec, bomb, limit_bytes)
except OutputLimitError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def _gzip() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(BOMB_BYTES // MIB)) + packer.flush()


def _snappy_stream() -> bytes:
    chunk = snappy.compress(bytes(snappy.CHUNK_BYTES))[len(snappy.STREAM_HEADER) :]
    return snappy.STREAM_HEADER + chunk * (BOMB_BYTES // snappy.CHUNK_BYTES)


def _snappy_block() -> bytes:
    size = bytes((BOMB_BYTES >> shift & 0x7F) | (0x80 if shift < 28 else 0) for shift in range(0, 35, 7))
    return size + b"\x00x" + b"\xfe\x01\x00" * (BOMB_BYTES // 64)


def _lz4() -> bytes:
    block = lz4.compress(bytes(lz4.BLOCK_BYTES))[len(lz4.FRAME_HEADER) : -4]
    return lz4.FRAME_HEADER + block * (BOMB_BYTES // lz4.BLOCK_BYTES) + bytes(4)


def _lz4_of_large_blocks() -> bytes:
    header = lz4._with_checksum(b"\x60\x70")
    plain = bytes(16320) * 255
    block = bytes(cramjam.lz4.compress_block(plain, store_size=False))
    return header + (struct.pack("<I", len(block)) + block) * (BOMB_BYTES // len(plain)) + bytes(4)


def _zstd(window: bytes) -> bytes:
    block = (128 * 1024 << 3 | 2).to_bytes(3, "little") + b"\x00"
    last = (1 | 2).to_bytes(3, "little") + b"\x00"
    frame = struct.pack("<IB", 0xFD2FB528, 0) + window
    return frame + block * (BOMB_BYTES // (128 * 1024)) + last


BOMBS = {
    "gzip": (Codec.GZIP, _gzip),
    "snappy-stream": (Codec.SNAPPY, _snappy_stream),
    "snappy-block": (Codec.SNAPPY, _snappy_block),
    "lz4": (Codec.LZ4, _lz4),
    "lz4-large-blocks": (Codec.LZ4, _lz4_of_large_blocks),
    "zstd": (Codec.ZSTD, lambda: _zstd(b"\x38")),
    "zstd-window-of-128-MiB": (Codec.ZSTD, lambda: _zstd(b"\x88")),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_the_limit(name: str) -> None:
    pytest.importorskip("resource", reason="needs getrusage to measure memory")
    codec, make = BOMBS[name]
    command = [sys.executable, "-c", DEFUSE, str(int(codec)), str(LIMIT_BYTES)]
    run = subprocess.run(command, input=make(), capture_output=True, check=True, timeout=60)
    assert run.stdout, "the bomb was not refused"
    assert int(run.stdout) <= ALLOWED_KIB
