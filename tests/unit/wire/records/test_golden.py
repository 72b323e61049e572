"""Batches that Java wrote are read as Java reads them, and written as Java writes them."""

from __future__ import annotations

import pytest

from odradek.wire.messages.kraft_version_record import KRaftVersionRecord
from odradek.wire.messages.leader_change_message import LeaderChangeMessage
from odradek.wire.messages.leader_change_message import Voter as QuorumVoter
from odradek.wire.messages.snapshot_footer_record import SnapshotFooterRecord
from odradek.wire.messages.snapshot_header_record import SnapshotHeaderRecord
from odradek.wire.messages.voters_record import Endpoint, KRaftVersionFeature, Voter, VotersRecord
from odradek.wire.records.batch import build_batch, iter_records
from odradek.wire.records.control import (
    ControlType,
    EndTxnMarkerValue,
    build_control_batch,
    build_end_txn_batch,
    parse_control_message,
    parse_end_txn_marker,
)
from odradek.wire.records.header import crc_is_valid, iter_batches, parse_header
from odradek.wire.records.legacy import build_message, iter_legacy_records, iter_messages
from odradek.wire.schema import Message

from .examples import NOW_MS, corpus, header_as_java, record_as_java

ENTRIES = {entry.name: entry for entry in corpus()}
LEGACY = [name for name in ENTRIES if "magic" in name]
MODERN = [name for name in ENTRIES if "magic" not in name]
PLAIN = ["none-mixed", "none-large", "none-idempotent", "none-transactional"]
DIRECTORY = bytes(7) + b"\x01" + bytes(7) + b"\x02"

CONTROL: dict[str, tuple[ControlType, int, Message]] = {
    "leader-change": (
        ControlType.LEADER_CHANGE,
        41,
        LeaderChangeMessage(leader_id=1, voters=[QuorumVoter(voter_id=1)], granting_voters=[QuorumVoter(voter_id=1)]),
    ),
    "snapshot-header": (
        ControlType.SNAPSHOT_HEADER,
        0,
        SnapshotHeaderRecord(last_contained_log_timestamp=NOW_MS),
    ),
    "snapshot-footer": (ControlType.SNAPSHOT_FOOTER, 9, SnapshotFooterRecord()),
    "kraft-version": (ControlType.KRAFT_VERSION, 1, KRaftVersionRecord(kraft_version=1)),
    "kraft-voters": (
        ControlType.KRAFT_VOTERS,
        2,
        VotersRecord(
            voters=[
                Voter(
                    voter_id=1,
                    voter_directory_id=DIRECTORY,
                    endpoints=[Endpoint(name="CONTROLLER", host="localhost", port=9093)],
                    kraft_version_feature=KRaftVersionFeature(max_supported_version=1),
                )
            ]
        ),
    ),
}


def test_the_corpus_has_every_codec_and_every_magic() -> None:
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        assert f"{codec}-large" in MODERN
    assert len(LEGACY) == 20


@pytest.mark.parametrize("name", MODERN)
def test_a_batch_is_read_as_java_reads_it(name: str) -> None:
    entry = ENTRIES[name]
    ((position, header),) = iter_batches(entry.data)
    (expected,) = entry.batches
    assert crc_is_valid(entry.data, position)
    records = [record_as_java(record) for record in iter_records(entry.data)]
    assert header_as_java(header) | {"records": records} == expected


@pytest.mark.parametrize("name", LEGACY)
def test_old_messages_are_read_as_java_reads_them(name: str) -> None:
    entry = ENTRIES[name]
    expected = [record for batch in entry.batches for record in batch["records"]]  # type: ignore[attr-defined]  # JSON
    assert [record_as_java(record) for record in iter_legacy_records(entry.data)] == expected


@pytest.mark.parametrize("name", PLAIN)
def test_an_uncompressed_batch_is_written_as_java_writes_it(name: str) -> None:
    data = ENTRIES[name].data
    header = parse_header(data)
    built = build_batch(
        iter_records(data),
        header.base_offset,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        is_transactional=header.is_transactional,
        leader_epoch=header.leader_epoch,
    )
    assert built == data


@pytest.mark.parametrize("name", [name for name in LEGACY if name.startswith("none")])
def test_an_old_message_is_written_as_java_writes_it(name: str) -> None:
    built = [
        build_message(
            message.offset,
            message.key,
            message.value,
            magic=message.magic,
            attributes=message.attributes,
            timestamp_ms=message.timestamp_ms,
        )
        for _, message in iter_messages(ENTRIES[name].data)
    ]
    assert b"".join(built) == ENTRIES[name].data


@pytest.mark.parametrize("control_type", [ControlType.ABORT, ControlType.COMMIT])
def test_a_transaction_marker_is_javas(control_type: ControlType) -> None:
    data = ENTRIES[f"end-txn-{control_type.name.lower()}"].data
    marker = EndTxnMarkerValue(control_type, 12)
    (record,) = iter_records(data)
    assert parse_end_txn_marker(record) == marker
    assert parse_control_message(record) is None
    built = build_end_txn_batch(
        marker, base_offset=40, timestamp_ms=NOW_MS, producer_id=79, producer_epoch=2, leader_epoch=6
    )
    assert built == data


@pytest.mark.parametrize("name", CONTROL)
def test_a_kraft_control_batch_is_javas(name: str) -> None:
    control_type, base_offset, message = CONTROL[name]
    data = ENTRIES[name].data
    (record,) = iter_records(data)
    assert parse_control_message(record) == (control_type, message)
    built = build_control_batch([(control_type, message)], base_offset=base_offset, timestamp_ms=NOW_MS, leader_epoch=6)
    assert built == data
