"""Keys, values and headers of records in JSON, and messages of the protocol."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from odradek.control.operations import ControlError
from odradek.control.schemas import STRING, Schema, nullable, record
from odradek.wire.schema import UUID, Struct
from odradek.wire.uuids import uuid_to_string

TEXT, BASE64, JSON = "text", "base64", "json"
ENCODINGS = (TEXT, BASE64, JSON)
DATA: Schema = {
    "anyOf": [
        STRING,
        {"type": "null"},
        record({"base64": STRING}, "base64"),
        record({"json": {}}, "json"),
    ],
    "description": "Bytes: a text (UTF-8), null, any bytes as base64, or a value that is written as JSON.",
}
HEADERS: Schema = {
    "type": "array",
    "items": record({"name": STRING, "value": nullable(DATA)}, "name"),
    "description": "In their order; a name may come more than once.",
}


def data_of(value: object) -> bytes | None:
    """The bytes that `DATA` stands for; raises ControlError."""
    if value is None:
        return None
    if isinstance(value, str):
        return _utf8(value)
    assert isinstance(value, dict)
    if "json" in value:
        return _utf8(json.dumps(value["json"], ensure_ascii=False, separators=(",", ":")))
    try:
        return base64.b64decode(value["base64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ControlError(400, "BAD_BODY", f"this is no base64: {error}") from None


def shown(data: bytes | None, encoding: str = TEXT) -> Any:
    """Bytes as `DATA`; what is not in the encoding that is wanted is in base64."""
    if data is None:
        return None
    if encoding == JSON:
        try:
            return {"json": json.loads(data, parse_constant=_no_constant)}
        except (ValueError, RecursionError):
            return {"base64": base64.b64encode(data).decode()}
    if encoding == TEXT:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    return {"base64": base64.b64encode(data).decode()}


def message_json(struct: Struct) -> dict[str, Any]:
    """A message of the protocol, by the names of its fields; bytes in base64, ids as Kafka writes them."""
    return {
        declared.name: _field(getattr(struct, declared.name), is_id=UUID in (declared.type, declared.type.element))
        for declared in struct.FIELDS
    }


def _field(value: object, *, is_id: bool) -> Any:
    if isinstance(value, Struct):
        return message_json(value)
    if isinstance(value, list):
        return [_field(each, is_id=is_id) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _field(each, is_id=False) for key, each in value.items()}
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return uuid_to_string(data) if is_id else base64.b64encode(data).decode()
    return value


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ControlError(400, "BAD_BODY", "a text has half of a surrogate pair, which has no UTF-8") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
