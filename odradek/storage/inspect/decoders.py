"""The records of internal topics as JSON, in the form that Kafka's dump tool prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from odradek.storage.file_names import CLUSTER_METADATA_TOPIC
from odradek.wire.errors import KafkaError, ProtocolError
from odradek.wire.json_form import Json, to_json
from odradek.wire.messages.consumer_protocol import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from odradek.wire.persistent import group, share, transaction
from odradek.wire.persistent.framing import decode_key, decode_metadata_record, decode_versioned
from odradek.wire.persistent.group.group_metadata import GroupMetadataValue, MemberMetadata
from odradek.wire.persistent.registry import Registry
from odradek.wire.records.control import ControlType, parse_control_message, parse_control_type, parse_end_txn_marker
from odradek.wire.records.record import Record
from odradek.wire.schema import Message


class Decoded(NamedTuple):
    """Key and value of a record. `problem` says why they could not be decoded."""

    key: Json
    value: Json
    problem: str | None = None


Decoder = Callable[[Record], Decoded]


def _coordinator(keys: Registry, values: Registry) -> Decoder:
    def decode(record: Record) -> Decoded:
        key = decode_key(keys, record.key or b"")
        shown_key: Json = {"type": str(key.API_KEY), "data": to_json(key, 0)}
        if record.value is None:
            return Decoded(shown_key, None)
        assert key.API_KEY is not None, "decode_key has found it by that"
        value, version = decode_versioned(values.record_class(key.API_KEY), record.value)
        data = to_json(value, version)
        if isinstance(value, GroupMetadataValue) and value.protocol_type == _CONSUMERS:
            data["members"] = [_consumer(member, version) for member in value.members]
        return Decoded(shown_key, {"version": str(version), "data": data})

    return decode


_CONSUMERS = "consumer"


def _consumer(member: MemberMetadata, version: int) -> dict[str, Json]:
    """A member whose blobs are the consumer protocol's."""
    shown = to_json(member, version)
    if member.subscription:
        shown["subscription"] = _blob(ConsumerProtocolSubscription, member.subscription)
    if member.assignment:
        shown["assignment"] = _blob(ConsumerProtocolAssignment, member.assignment)
    return shown


def _blob(cls: type[Message], data: bytes) -> Json:
    version = min(int.from_bytes(data[:2], "big"), cls.MAX_VERSION)
    return to_json(cls.decode_prefix(data, version, 2)[0], version)


def _metadata(record: Record) -> Decoded:
    message, version = decode_metadata_record(record.value or b"")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", message.NAME).upper()
    return Decoded(None, {"type": name, "version": version, "data": to_json(message, version)})


DECODERS: dict[str, Decoder] = {
    "__consumer_offsets": _coordinator(group.KEYS, group.VALUES),
    "__transaction_state": _coordinator(transaction.KEYS, transaction.VALUES),
    "__share_group_state": _coordinator(share.KEYS, share.VALUES),
    CLUSTER_METADATA_TOPIC: _metadata,
}


def decode_record(decoder: Decoder, record: Record) -> Decoded:
    """What `decoder` makes of a record, or what is wrong with it."""
    try:
        return decoder(record)
    except (ProtocolError, KafkaError) as error:
        return Decoded(None, None, str(error))


def decode_control(record: Record) -> Decoded:
    """A control record: a transaction's marker, or what KRaft writes."""
    try:
        control_type = parse_control_type(record.key)
        if control_type is None:
            return Decoded(None, None, "a control record of unknown type")
        if control_type in (ControlType.ABORT, ControlType.COMMIT):
            marker = parse_end_txn_marker(record)
            return Decoded(control_type.name, {"coordinatorEpoch": marker.coordinator_epoch})
        parsed = parse_control_message(record)
    except (ProtocolError, KafkaError) as error:
        return Decoded(None, None, str(error))
    return Decoded(control_type.name, None if parsed is None else to_json(parsed[1], 0))
