"""The content of each kind of file as rows: JSON objects whose names are those of Kafka's dump tool."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from odradek.ports import FileSystem
from odradek.storage import checkpoints
from odradek.storage.batches import CorruptBatchError
from odradek.storage.checkpoints import CorruptFileError
from odradek.storage.indexes import OffsetIndex, TimeIndex
from odradek.storage.inspect.batches import FoundBatch, read_batches
from odradek.storage.inspect.decoders import DECODERS, Decoder, decode_control, decode_record
from odradek.storage.inspect.directories import FileKind, KnownFile, topic_of
from odradek.storage.producer_snapshot import decode_snapshot
from odradek.storage.txn_index import decode_transactions
from odradek.wire.errors import KafkaError
from odradek.wire.json_form import Json
from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import TimestampType
from odradek.wire.records.record import Record
from odradek.wire.uuids import uuid_to_string

Fields: TypeAlias = dict[str, Json]


class Row(NamedTuple):
    """One entry of a file. `kind` is that of the entry: "batch", "record", "entry", or "damage", which is the last."""

    kind: str
    fields: Fields


def read_rows(
    fs: FileSystem, file: KnownFile, *, records: bool = False, decoder: Decoder | None = None
) -> Iterator[Row]:
    """The content of `file`; `records`: with those in its batches.

    They are decoded by `decoder`, or by that of the topic that the path tells. Raises OSError.
    """
    try:
        if file.kind in (FileKind.LOG, FileKind.METADATA_SNAPSHOT):
            yield from _batch_rows(fs, file.path, records, decoder or DECODERS.get(topic_of(file.path)))
        else:
            for fields in _ENTRIES[file.kind](fs, file):
                yield Row("entry", fields)
    except (CorruptFileError, CorruptBatchError) as error:
        yield Row("damage", {"problem": str(error)})


def _batch_rows(fs: FileSystem, path: str, records: bool, decoder: Decoder | None) -> Iterator[Row]:
    for batch in read_batches(fs, path):
        yield Row("batch", _batch_fields(batch))
        if records:
            try:
                for record in iter_records(batch.data):
                    yield Row("record", _record_fields(batch, record, decoder))
            except KafkaError as error:
                yield Row("damage", {"position": batch.position, "problem": str(error)})


def _batch_fields(batch: FoundBatch) -> Fields:
    header = batch.header
    try:
        codec: Json = header.codec.name.lower()
    except KafkaError:
        codec = f"unknown ({header.attributes & 7})"
    return {
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset,
        "count": header.record_count,
        "baseSequence": header.base_sequence,
        "lastSequence": header.last_sequence,
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "partitionLeaderEpoch": header.leader_epoch,
        "isTransactional": header.is_transactional,
        "isControl": header.is_control,
        "deleteHorizonMs": header.delete_horizon_ms,
        "position": batch.position,
        "timestampType": _timestamp_type(header.timestamp_type),
        "maxTimestamp": header.max_timestamp_ms,
        "size": header.size_bytes,
        "magic": header.magic,
        "compressCodec": codec,
        "crc": header.crc,
        "isValid": batch.is_valid,
    }


def _timestamp_type(timestamp_type: TimestampType) -> str:
    return "CreateTime" if timestamp_type is TimestampType.CREATE_TIME else "LogAppendTime"


def _record_fields(batch: FoundBatch, record: Record, decoder: Decoder | None) -> Fields:
    header = batch.header
    fields: Fields = {"offset": record.offset, "timestamp": record.timestamp_ms}
    if header.base_sequence >= 0:
        fields["sequence"] = header.base_sequence + record.offset - header.base_offset
    fields["keySize"] = -1 if record.key is None else len(record.key)
    fields["valueSize"] = -1 if record.value is None else len(record.value)
    fields["headers"] = [{"key": key, **content("value", value)} for key, value in record.headers]
    if header.is_control:
        decoded = decode_control(record)
    elif decoder is not None:
        decoded = decode_record(decoder, record)
    else:
        return {**fields, **content("key", record.key), **content("value", record.value)}
    if decoded.problem is not None:
        return {**fields, **content("key", record.key), **content("value", record.value), "problem": decoded.problem}
    return {**fields, "key": decoded.key, "value": decoded.value}


def content(name: str, data: bytes | None) -> Fields:
    """Bytes as text if they are UTF-8, else under `<name>Base64`."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": b64encode(data).decode()}


def index_entries(fs: FileSystem, file: KnownFile) -> list[tuple[int, int]]:
    """(offset, position) of each entry of an offset index. Raises CorruptFileError, OSError."""
    entries = _unpacked(fs, file, OffsetIndex.ENTRY)
    return [(file.offset + relative, position) for relative, position in entries]


def time_index_entries(fs: FileSystem, file: KnownFile) -> list[tuple[int, int]]:
    """(timestamp in ms, offset) of each entry of a time index. Raises CorruptFileError, OSError."""
    return [(timestamp_ms, file.offset + relative) for timestamp_ms, relative in _unpacked(fs, file, TimeIndex.ENTRY)]


def _unpacked(fs: FileSystem, file: KnownFile, entry: struct.Struct) -> list[tuple[int, int]]:
    """All entries but the zeros of a file that Kafka has made larger than it needs."""
    data = fs.read(file.path)
    if len(data) % entry.size:
        raise CorruptFileError(f"{len(data)} bytes are no whole number of entries of {entry.size}")
    entries: list[tuple[int, int]] = list(entry.iter_unpack(data))
    while entries and not any(entries[-1]):
        entries.pop()
    return entries


def _index(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    return ({"offset": offset, "position": position} for offset, position in index_entries(fs, file))


def _time_index(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    return ({"timestamp": timestamp_ms, "offset": offset} for timestamp_ms, offset in time_index_entries(fs, file))


def _transactions(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    for producer_id, first_offset, last_offset, last_stable_offset in decode_transactions(
        fs.read(file.path), file.path
    ):
        yield {
            "producerId": producer_id,
            "firstOffset": first_offset,
            "lastOffset": last_offset,
            "lastStableOffset": last_stable_offset,
        }


def _producers(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    for entry in decode_snapshot(fs.read(file.path), file.path):
        yield {
            "producerId": entry.producer_id,
            "producerEpoch": entry.producer_epoch,
            "coordinatorEpoch": entry.coordinator_epoch,
            "currentTxnFirstOffset": None if entry.txn_first_offset < 0 else entry.txn_first_offset,
            "lastTimestamp": entry.last_timestamp_ms,
            "lastSequence": entry.last_sequence,
            "lastOffset": entry.last_offset,
            "offsetDelta": entry.last_offset_delta,
        }


def _leader_epochs(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    for epoch, start_offset in checkpoints.read_leader_epochs(fs, file.path):
        yield {"epoch": epoch, "startOffset": start_offset}


def _offsets(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    for partition, offset in checkpoints.read_offsets(fs, file.path).items():
        yield {"topic": partition.topic, "partition": partition.partition, "offset": offset}


def _topic_id(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    topic_id = checkpoints.read_topic_id(fs, file.path.rpartition("/")[0])
    if topic_id is not None:
        yield {"topicId": uuid_to_string(topic_id)}


def _properties(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    properties = checkpoints.read_meta_properties(fs, file.path.rpartition("/")[0]) or {}
    return ({"property": name, "value": value} for name, value in properties.items())


def _json(fs: FileSystem, file: KnownFile) -> Iterator[Fields]:
    try:
        found = json.loads(fs.read(file.path))
    except ValueError as error:
        raise CorruptFileError(f"it is not JSON: {error}") from error
    return ({"property": name, "value": value} for name, value in found.items())


_ENTRIES: dict[FileKind, Callable[[FileSystem, KnownFile], Iterator[Fields]]] = {
    FileKind.INDEX: _index,
    FileKind.TIME_INDEX: _time_index,
    FileKind.TXN_INDEX: _transactions,
    FileKind.PRODUCERS: _producers,
    FileKind.LEADER_EPOCHS: _leader_epochs,
    FileKind.OFFSETS: _offsets,
    FileKind.TOPIC_ID: _topic_id,
    FileKind.PROPERTIES: _properties,
    FileKind.JSON: _json,
}
