"""Kafka's wire protocol: bytes to typed messages and back, without I/O.

Importing this package loads no message: each API is a module of its own under `odradek.wire.messages`, each family of
persistent records a package under `odradek.wire.persistent`.
"""

from __future__ import annotations

from odradek.wire.budget import DEFAULT_DECODE_OBJECTS, Budget
from odradek.wire.errors import ErrorCode, KafkaError, ProtocolError
from odradek.wire.schema import Message, Records, RecordsSource, Struct
from odradek.wire.uuids import ZERO_UUID, Uuid, uuid_from_string, uuid_to_string

__all__ = [
    "Message",
    "Struct",
    "Records",
    "RecordsSource",
    "Budget",
    "DEFAULT_DECODE_OBJECTS",
    "ErrorCode",
    "KafkaError",
    "ProtocolError",
    "Uuid",
    "ZERO_UUID",
    "uuid_from_string",
    "uuid_to_string",
]
