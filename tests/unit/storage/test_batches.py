"""The walk over batches by their headers, and its short way to one of them."""

from __future__ import annotations

import random

import pytest

from odradek.storage.batches import CorruptBatchError, find, scan
from odradek.storage.file_pool import FilePool
from odradek.storage.memory_files import MemoryFileSystem
from odradek.storage.segment_file import SegmentFile
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record

_CHUNK_BYTES = 200
_HEADER_BYTES = 61


def stored(content: bytes) -> SegmentFile:
    fs = MemoryFileSystem()
    fs.open("/log", create=True).pwrite(content, 0)
    return SegmentFile(FilePool(fs), "/log", len(content))


def batches(generator: random.Random) -> bytes:
    content = b""
    offset = generator.randrange(100)
    for _ in range(generator.randrange(1, 8)):
        count = generator.randrange(1, 5)
        size = generator.choice((0, 5, 300))
        content += build_batch([Record(offset + delta, 1, None, bytes(size)) for delta in range(count)])
        offset += count + generator.choice((0, 0, 3))
    return content


def outcome(file: SegmentFile, offset: int, *, short: bool) -> object:
    try:
        if short:
            return find(file, 0, file.size, offset, chunk_bytes=_CHUNK_BYTES, waits=True)
        for batch in scan(file, 0, file.size, chunk_bytes=_CHUNK_BYTES):
            if batch.header.last_offset >= offset:
                return batch.position, batch.header.size_bytes, batch.header.base_offset
    except CorruptBatchError as error:
        return str(error)
    return None


@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_is_what_the_walk_comes_to(seed: int) -> None:
    generator = random.Random(seed)
    content = bytearray(batches(generator))
    if seed % 4 == 1:
        del content[generator.randrange(len(content)) :]
    for _ in range(0 if seed % 2 else 3):
        content[generator.randrange(min(len(content), _HEADER_BYTES))] ^= 1 << generator.randrange(8)
    file = stored(bytes(content))
    for offset in range(130):
        assert outcome(file, offset, short=True) == outcome(file, offset, short=False), f"seed {seed}, offset {offset}"
