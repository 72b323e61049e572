"""Snapshots of the metadata log (KIP-630): batches of their own offsets, between a header and a footer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from odradek.quorum.batches import control_messages, decode_batches, encode_batches, encode_control_batch, note
from odradek.quorum.log import SnapshotId
from odradek.quorum.voters import BEFORE_LOG, VoterSet, VotersHistory
from odradek.wire.errors import ProtocolError
from odradek.wire.messages.kraft_version_record import KRaftVersionRecord
from odradek.wire.messages.snapshot_footer_record import SnapshotFooterRecord
from odradek.wire.messages.snapshot_header_record import SnapshotHeaderRecord
from odradek.wire.records.control import ControlType
from odradek.wire.records.header import CONTROL_BIT, iter_batches
from odradek.wire.schema import Message


class SnapshotTimes(NamedTuple):
    """When the last record that the snapshot stands for was appended, and now; milliseconds since the epoch."""

    last_contained_ms: int
    now_ms: int


def build_snapshot(
    snapshot_id: SnapshotId,
    voters: VoterSet | None,
    kraft_version: int,
    records: Iterable[tuple[Message, int]],
    times: SnapshotTimes,
) -> bytes:
    """The snapshot's bytes: header, kraft.version and voters, the (record, version) pairs, footer."""
    epoch, now_ms = snapshot_id.epoch, times.now_ms
    header = SnapshotHeaderRecord(version=0, last_contained_log_timestamp=times.last_contained_ms)
    controls: list[tuple[ControlType, Message]] = [(ControlType.SNAPSHOT_HEADER, header)]
    if kraft_version > 0:
        version_record = KRaftVersionRecord(version=0, kraft_version=kraft_version)
        controls.append((ControlType.KRAFT_VERSION, version_record))
        if voters is not None:
            controls.append((ControlType.KRAFT_VOTERS, voters.to_record()))
    head = encode_control_batch(controls, 0, epoch, now_ms)
    body = encode_batches(list(records), len(controls), epoch, now_ms, atomic=False)
    footer_offset = body.batches[-1].last_offset + 1 if body.batches else len(controls)
    footer = [(ControlType.SNAPSHOT_FOOTER, SnapshotFooterRecord(version=0))]
    foot = encode_control_batch(footer, footer_offset, epoch, now_ms)
    return bytes(head.data + body.data + foot.data)


class Snapshot(NamedTuple):
    """A snapshot, read."""

    id: SnapshotId
    last_contained_ms: int
    records: Sequence[Message]


def read_snapshot(snapshot_id: SnapshotId, data: bytes, history: VotersHistory) -> Snapshot:
    """Read a snapshot's bytes; who votes goes into `history`. ProtocolError or KafkaError if it is not whole."""
    last_contained_ms = -1
    is_whole = False
    for position, header in iter_batches(data):
        if header.attributes & CONTROL_BIT:
            for _offset, message in control_messages(memoryview(data)[position : position + header.size_bytes]):
                note(history, BEFORE_LOG, message)
                if isinstance(message, SnapshotHeaderRecord):
                    last_contained_ms = message.last_contained_log_timestamp
                is_whole = isinstance(message, SnapshotFooterRecord)
    if not is_whole:
        raise ProtocolError(f"snapshot {file_name(snapshot_id)} has no footer")
    records = [record for batch in decode_batches(data) for record in batch.records]
    return Snapshot(snapshot_id, last_contained_ms, records)


def last_contained_ms(data: bytes) -> int:
    """When the last record was appended that a snapshot stands for, as its header says; -1 if it does not."""
    for position, header in iter_batches(data):
        if header.attributes & CONTROL_BIT:
            for _offset, message in control_messages(memoryview(data)[position : position + header.size_bytes]):
                if isinstance(message, SnapshotHeaderRecord):
                    return message.last_contained_log_timestamp
    return -1


SUFFIX = ".checkpoint"


def file_name(snapshot_id: SnapshotId) -> str:
    """The name of a snapshot's file."""
    return f"{snapshot_id.offset:020d}-{snapshot_id.epoch:010d}{SUFFIX}"


def parse_file_name(name: str) -> SnapshotId | None:
    """The snapshot that a file name stands for; None for other files, such as one that was being written."""
    offset, dash, epoch = name.removesuffix(SUFFIX).partition("-")
    if not name.endswith(SUFFIX) or not dash or not (offset + epoch).isdigit():
        return None
    return SnapshotId(int(offset), int(epoch))
