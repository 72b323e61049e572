"""What stands in front of a message: in the metadata log, in the coordinators' topics, in a member's blob."""

from __future__ import annotations

import struct
from typing import TypeVar

from odradek.wire.errors import ProtocolError
from odradek.wire.persistent import metadata
from odradek.wire.persistent.registry import Registry
from odradek.wire.primitives import Buffer, flat, read_uvarint, uvarint
from odradek.wire.schema import Message

METADATA_FRAME_VERSION = 1
"""The version of the frame around a metadata record."""

_INT16 = struct.Struct(">h")
M = TypeVar("M", bound=Message)


def encode_metadata_record(message: Message, version: int) -> bytes:
    """The value of a record of the metadata log: frame version, type, version (unsigned varints), then the body."""
    if message.API_KEY is None:
        raise ProtocolError(f"{message.NAME} is not a metadata record")
    head = uvarint(METADATA_FRAME_VERSION) + uvarint(message.API_KEY) + uvarint(version)
    return head + message.encode(version)


def decode_metadata_record(data: Buffer) -> tuple[Message, int]:
    """A metadata record and its version; `ProtocolError` for an unknown frame, type or version."""
    buffer = flat(data)
    try:
        frame_version, position = read_uvarint(buffer, 0)
        if frame_version != METADATA_FRAME_VERSION:
            raise ProtocolError(f"metadata record with frame version {frame_version}")
        api_key, position = read_uvarint(buffer, position)
        version, position = read_uvarint(buffer, position)
    except IndexError:
        raise ProtocolError("metadata record ends inside its frame") from None
    return metadata.record_class(api_key).decode(buffer[position:], version), version


def encode_versioned(message: Message, version: int) -> bytes:
    """An int16 version and the body: a coordinator record's value, or the consumer protocol's blobs."""
    body = message.encode(version)
    return _INT16.pack(version) + body


def decode_versioned(cls: type[M], data: Buffer) -> tuple[M, int]:
    """The inverse of `encode_versioned`: the message and its version."""
    version, body = _split_int16(data)
    return cls.decode(body, version), version


def encode_key(key: Message) -> bytes:
    """A coordinator record's key: an int16 type and the body in version 0."""
    if key.API_KEY is None or key.KIND != "coordinator-key":
        raise ProtocolError(f"{key.NAME} is not the key of a coordinator record")
    return _INT16.pack(key.API_KEY) + key.encode(0)


def decode_key(keys: Registry, data: Buffer) -> Message:
    """The key in `data`, of one of the types in `keys` (`KEYS` of a family); `ProtocolError` for an unknown type."""
    api_key, body = _split_int16(data)
    return keys.record_class(api_key).decode(body, 0)


def _split_int16(data: Buffer) -> tuple[int, bytes | memoryview]:
    buffer = flat(data)
    if len(buffer) < _INT16.size:
        raise ProtocolError(f"{len(buffer)} bytes have no room for a version")
    (number,) = _INT16.unpack_from(buffer)
    return number, buffer[_INT16.size :]
