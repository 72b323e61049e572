"""Records and batches that several tests draw on."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from odradek.wire.records.compression import Codec
from odradek.wire.records.header import HEADER_BYTES, BatchHeader
from odradek.wire.records.record import Record

CORPUS = Path(__file__).with_name("java_batches_4_4_0.jsonl")
NOW_MS = 1_700_000_000_000

codecs = st.sampled_from(list(Codec))
blobs = st.none() | st.binary(max_size=40) | st.binary(min_size=1, max_size=3).map(lambda part: part * 500)
headers = st.lists(st.tuples(st.text(max_size=6), st.none() | st.binary(max_size=6)), max_size=3)
timestamps = st.integers(-1, 1 << 62)


@st.composite
def record_lists(draw: st.DrawFn, base_offset: int = 0, max_size: int = 8) -> list[Record]:
    """Records at consecutive offsets from `base_offset`, at least one."""
    rows = draw(st.lists(st.tuples(timestamps, blobs, blobs, headers), min_size=1, max_size=max_size))
    return [Record(base_offset + index, *row) for index, row in enumerate(rows)]


class JavaBatches(NamedTuple):
    """An entry of the corpus: bytes that Java wrote, and what Java reads in them."""

    name: str
    data: bytes
    batches: list[dict[str, object]]


def corpus() -> Iterator[JavaBatches]:
    """Every entry of the committed corpus."""
    for line in CORPUS.read_text().splitlines():
        entry = json.loads(line)
        yield JavaBatches(entry["name"], b64decode(entry["bytes"]), entry["batches"])


def _as_java(data: bytes | None) -> str | None:
    if data is None:
        return None
    return b64encode(data).decode() if len(data) <= 256 else "#" + sha256(data).hexdigest()


def record_as_java(record: Record) -> list[object]:
    """A record as the oracle prints it."""
    named = [[name, _as_java(value)] for name, value in record.headers]
    return [record.offset, record.timestamp_ms, _as_java(record.key), _as_java(record.value), named]


def header_as_java(header: BatchHeader) -> dict[str, object]:
    """A header as the oracle prints it, without the records."""
    return {
        "magic": header.magic,
        "base_offset": header.base_offset,
        "last_offset": header.last_offset,
        "size_bytes": header.size_bytes,
        "codec": header.codec,
        "timestamp_type": header.timestamp_type,
        "max_timestamp_ms": header.max_timestamp_ms,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "last_sequence": header.last_sequence,
        "is_transactional": header.is_transactional,
        "is_control": header.is_control,
        "leader_epoch": header.leader_epoch,
    }


def payload_of(batch: bytes) -> bytes:
    """A batch's bytes after the header."""
    return batch[HEADER_BYTES:]
