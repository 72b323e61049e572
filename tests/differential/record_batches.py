"""Batches of records: with ids renamed in requests, and compared in answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from odradek.wire.errors import KafkaError
from odradek.wire.records.batch import iter_records, record_payload
from odradek.wire.records.crc import crc32c
from odradek.wire.records.header import (
    ATTRIBUTES_AT,
    CODEC_MASK,
    HEADER_BYTES,
    MAGIC_V2,
    PRODUCER_ID_AT,
    BatchHeader,
    parse_header,
)
from odradek.wire.schema import Records
from tests.differential.ids import Ids

Found = tuple[str, object, object]
_CLOCKS_APART_MS = 60_000
_PLAIN = ("base_offset", "leader_epoch", "magic", "attributes", "last_offset_delta", "producer_epoch", "base_sequence")


def renamed(records: bytes, ids: Ids) -> bytes:
    """The same batches with Kafka's producer ids; a checksum that was right stays right, and a wrong one wrong."""
    out = bytearray(records)
    position = 0
    while position + HEADER_BYTES <= len(out):
        header = parse_header(out[position:])
        end = position + header.size_bytes
        if header.magic != MAGIC_V2 or header.size_bytes < HEADER_BYTES or end > len(out):
            break
        was_off_by = crc32c(out[position + ATTRIBUTES_AT : end]) ^ header.crc
        producer_id = cast("int", ids.theirs("producer", header.producer_id))
        at = position + PRODUCER_ID_AT
        out[at : at + 8] = producer_id.to_bytes(8, "big", signed=True)
        crc = crc32c(out[position + ATTRIBUTES_AT : end]) ^ was_off_by
        out[position + 17 : position + 21] = crc.to_bytes(4, "big")
        position = end
    return bytes(out)


def record_differences(ours: Records, theirs: Records, ids: Ids) -> Iterator[Found]:
    """Where the batches of two fetched records fields part: (where, ours, theirs)."""
    left, right = _split(ours), _split(theirs)
    if any(_is_compressed(batch) for batch in (*left, *right)):
        # What a broker has compressed has another size, and so another number of batches fits.
        shorter = min(len(left), len(right))
        left, right = left[:shorter], right[:shorter]
    if len(left) != len(right):
        yield "(batches)", [_shown(batch) for batch in left], [_shown(batch) for batch in right]
        return
    for index, (mine, other) in enumerate(zip(left, right, strict=True)):
        if len(mine) < HEADER_BYTES or len(other) < HEADER_BYTES:
            if mine[:8] != other[:8]:
                yield f"(part {index})", mine, other
            continue
        yield from _of_batch(f"(batch {index})", mine, other, ids)


def _of_batch(where: str, mine: bytes, other: bytes, ids: Ids) -> Iterator[Found]:
    ours, theirs = parse_header(mine), parse_header(other)
    for name in _PLAIN:
        if getattr(ours, name) != getattr(theirs, name):
            yield f"{where}.{name}", getattr(ours, name), getattr(theirs, name)
            return
    if ours.size_bytes != len(mine) or theirs.size_bytes != len(other):
        # Where it ends depends on how well a broker has compressed what is before it.
        return
    if not ids.agree("producer", ours.producer_id, theirs.producer_id, -1):
        yield f"{where}.producer_id", ours.producer_id, theirs.producer_id
    for name in ("base_timestamp_ms", "max_timestamp_ms"):
        if not _same_time(ours, theirs, getattr(ours, name), getattr(theirs, name)):
            yield f"{where}.{name}", getattr(ours, name), getattr(theirs, name)
    if ours.record_count != theirs.record_count:
        yield f"{where}.record_count", ours.record_count, theirs.record_count
    elif record_payload(mine, ours) != record_payload(other, theirs):
        yield f"{where}.records", list(iter_records(mine)), list(iter_records(other))


def _same_time(ours: BatchHeader, theirs: BatchHeader, left: int, right: int) -> bool:
    """The broker's clock is in batches that it stamps, and in markers."""
    by_broker = ours.attributes & 0x28
    return left == right or bool(by_broker and min(left, right) > 0 and abs(left - right) < _CLOCKS_APART_MS)


def _split(records: Records) -> list[bytes]:
    data = bytes(cast("bytes", records))
    found = []
    while data:
        size = len(data) if len(data) < HEADER_BYTES else parse_header(data).size_bytes
        found.append(data[:size])
        data = data[size:]
    return found


def _is_compressed(batch: bytes) -> bool:
    return len(batch) >= HEADER_BYTES and bool(parse_header(batch).attributes & CODEC_MASK)


def _shown(batch: bytes) -> object:
    try:
        return parse_header(batch) if len(batch) >= HEADER_BYTES else batch
    except KafkaError:
        return batch
