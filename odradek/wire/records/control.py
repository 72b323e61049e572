"""Control records: transaction markers, and what KRaft writes into its log and snapshots.

A control record's key is two int16, version and type. Kafka 4.4 writes and reads the value at version 0 always; the
`version` field that KRaft's messages have is data to it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from importlib import import_module
from typing import NamedTuple, cast

from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.records.batch import BatchBuilder
from odradek.wire.records.header import NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID
from odradek.wire.records.record import Record
from odradek.wire.schema import Message

_KEY = struct.Struct(">hh")
_MARKER = struct.Struct(">hi")
_KEY_VERSION = 0
_MARKER_VERSION = 0
_MESSAGE_VERSION = 0


class ControlType(IntEnum):
    """The types of control records."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6


_MESSAGES = {
    ControlType.LEADER_CHANGE: ("leader_change_message", "LeaderChangeMessage"),
    ControlType.SNAPSHOT_HEADER: ("snapshot_header_record", "SnapshotHeaderRecord"),
    ControlType.SNAPSHOT_FOOTER: ("snapshot_footer_record", "SnapshotFooterRecord"),
    ControlType.KRAFT_VERSION: ("kraft_version_record", "KRaftVersionRecord"),
    ControlType.KRAFT_VOTERS: ("voters_record", "VotersRecord"),
}


class EndTxnMarkerValue(NamedTuple):
    """How a transaction ended, and the epoch of the coordinator that said so."""

    control_type: ControlType
    coordinator_epoch: int


def encode_control_key(control_type: ControlType) -> bytes:
    """The key of a control record."""
    return _KEY.pack(_KEY_VERSION, control_type)


def parse_control_type(key: bytes | None) -> ControlType | None:
    """The type in a control record's key; None for one that a later release may have added.

    KafkaError INVALID_RECORD if the key is too short or its version negative.
    """
    if key is None or len(key) < _KEY.size:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Control record with the key {key!r}")
    version, number = _KEY.unpack_from(key)
    if version < 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Control record with key version {version}")
    return ControlType(number) if 0 <= number < len(ControlType) else None


def encode_end_txn_marker(coordinator_epoch: int) -> bytes:
    """The value of a transaction marker."""
    return _MARKER.pack(_MARKER_VERSION, coordinator_epoch)


def parse_end_txn_marker(record: Record) -> EndTxnMarkerValue:
    """The marker in a record of a transactional control batch; KafkaError INVALID_RECORD if there is none."""
    control_type = parse_control_type(record.key)
    if control_type not in (ControlType.ABORT, ControlType.COMMIT):
        raise KafkaError(ErrorCode.INVALID_RECORD, "Control record that ends no transaction")
    if record.value is None or len(record.value) < _MARKER.size:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Transaction marker with the value {record.value!r}")
    version, coordinator_epoch = _MARKER.unpack_from(record.value)
    if version < 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Transaction marker of version {version}")
    return EndTxnMarkerValue(control_type, coordinator_epoch)


def build_end_txn_batch(
    marker: EndTxnMarkerValue,
    *,
    base_offset: int,
    timestamp_ms: int,
    producer_id: int,
    producer_epoch: int,
    leader_epoch: int = NO_LEADER_EPOCH,
) -> bytes:
    """The batch that ends a transaction in one partition."""
    builder = BatchBuilder(
        base_offset,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        is_transactional=True,
        is_control=True,
        leader_epoch=leader_epoch,
    )
    value = encode_end_txn_marker(marker.coordinator_epoch)
    builder.append(timestamp_ms, encode_control_key(marker.control_type), value)
    return builder.build()


def message_class(control_type: ControlType) -> type[Message]:
    """The message that a KRaft control record's value is; loaded when asked for."""
    module, name = _MESSAGES[control_type]
    return cast("type[Message]", getattr(import_module(f"odradek.wire.messages.{module}"), name))


def build_control_batch(
    messages: Sequence[tuple[ControlType, Message]],
    *,
    base_offset: int,
    timestamp_ms: int,
    leader_epoch: int,
) -> bytes:
    """A KRaft control batch of messages with their types, in their order."""
    builder = BatchBuilder(
        base_offset,
        producer_id=NO_PRODUCER_ID,
        producer_epoch=NO_PRODUCER_EPOCH,
        is_control=True,
        leader_epoch=leader_epoch,
    )
    for control_type, message in messages:
        builder.append(timestamp_ms, encode_control_key(control_type), message.encode(_MESSAGE_VERSION))
    return builder.build()


def parse_control_message(record: Record) -> tuple[ControlType, Message] | None:
    """A KRaft control record's type and message; None for a type that is unknown or a transaction's.

    ProtocolError if the value does not decode, KafkaError INVALID_RECORD for a malformed key.
    """
    control_type = parse_control_type(record.key)
    if control_type is None or control_type not in _MESSAGES:
        return None
    if record.value is None:
        raise ProtocolError(f"{control_type.name} record without a value")
    message, _ = message_class(control_type).decode_prefix(record.value, _MESSAGE_VERSION)
    return control_type, message
