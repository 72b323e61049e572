"""Messages as JSON, in the form that Kafka's own converters use: `quorum-state` is a file of it, dump tools print it.

Field names are Kafka's with a small first letter; UUIDs are text, bytes are base64, a tagged field at its default is
left out. Tagged fields that the schema does not know have no JSON form and are dropped.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from odradek.wire.errors import ProtocolError
from odradek.wire.schema import KAFKA_DEFAULT, Field, FieldType, Struct, check_version, version_range
from odradek.wire.uuids import uuid_from_string, uuid_to_string

if TYPE_CHECKING:
    from collections.abc import Sequence

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What the json module reads and writes."""

S = TypeVar("S", bound=Struct)

_INTEGER_BOUNDS = {
    "int8": (-(1 << 7), (1 << 7) - 1),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
    "uint16": (0, (1 << 16) - 1),
    "uint32": (0, (1 << 32) - 1),
}


def json_name(declared: Field) -> str:
    """The key that stands for a field: `topic_id` is `topicId`."""
    return declared.kafka_name[0].lower() + declared.kafka_name[1:]


def default_of(declared: Field) -> object:
    """A new default value of the field."""
    if declared.default is not KAFKA_DEFAULT:
        return declared.default
    return [] if declared.type.struct is None else declared.type.struct()


def to_json(value: Struct, version: int) -> dict[str, Json]:
    """The JSON form of `value` in `version`; `ProtocolError` if the version cannot carry it."""
    cls = type(value)
    check_version(cls, version)
    found: dict[str, Json] = {}
    for declared in cls.FIELDS:
        content = getattr(value, declared.name)
        if version not in version_range(declared.versions, cls.MAX_VERSION):
            if not declared.ignorable and content != default_of(declared):
                raise ProtocolError(f"{cls.__name__}.{declared.name} is set, but version {version} does not have it")
        elif not (_is_tagged(cls, declared, version) and content == default_of(declared)):
            if content is None and version not in version_range(declared.nullable, cls.MAX_VERSION):
                raise ProtocolError(f"{cls.__name__}.{declared.name} is null, which version {version} does not allow")
            found[json_name(declared)] = _value_to_json(declared.type, content, version)
    return found


def from_json(cls: type[S], raw: Json, version: int) -> S:
    """The inverse of `to_json`; `ProtocolError` if a field is missing or mistyped. Unknown keys are ignored."""
    check_version(cls, version)
    if not isinstance(raw, dict):
        raise ProtocolError(f"{cls.__name__} is not a JSON object")
    found: dict[str, object] = {}
    for declared in cls.FIELDS:
        if version not in version_range(declared.versions, cls.MAX_VERSION):
            continue
        key = json_name(declared)
        where = f"{cls.__name__}.{declared.name}"
        if key not in raw:
            if not _is_tagged(cls, declared, version):
                raise ProtocolError(f"{where} is missing")
        elif raw[key] is not None:
            found[declared.name] = _value_from_json(declared.type, raw[key], version, where)
        elif version in version_range(declared.nullable, cls.MAX_VERSION):
            found[declared.name] = None
        else:
            raise ProtocolError(f"{where} is null")
    return _construct(cls, found)


def _construct(cls: type[S], values: Mapping[str, object]) -> S:
    made = cls()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _is_tagged(cls: type[Struct], declared: Field, version: int) -> bool:
    return declared.tag is not None and version in version_range(declared.tagged or declared.versions, cls.MAX_VERSION)


def _value_to_json(kind: FieldType[object], value: object, version: int) -> Json:
    if value is None:
        return None
    if kind.element is not None:
        element = kind.element
        return [_value_to_json(element, item, version) for item in cast("Sequence[object]", value)]
    if isinstance(value, Struct):
        return to_json(value, version)
    if kind.kind == "uuid":
        return uuid_to_string(cast("bytes", value))
    if kind.kind in ("bytes", "records"):
        return b2a_base64(cast("bytes", value), newline=False).decode("ascii")
    return cast("Json", value)


def _value_from_json(kind: FieldType[object], raw: Json, version: int, where: str) -> object:
    if kind.element is not None:
        if not isinstance(raw, list):
            raise ProtocolError(f"{where} is not a list")
        return [_value_from_json(kind.element, item, version, where + "[]") for item in raw]
    if kind.struct is not None:
        return from_json(kind.struct, raw, version)
    if kind.kind in _INTEGER_BOUNDS:
        low, high = _INTEGER_BOUNDS[kind.kind]
        if type(raw) is int and low <= raw <= high:
            return raw
    elif kind.kind == "bool":
        if isinstance(raw, bool):
            return raw
    elif kind.kind == "float64":
        if isinstance(raw, (int, float)) and not isinstance(raw, bool):
            return float(raw)
    elif isinstance(raw, str):
        return _text_from_json(kind, raw, where)
    raise ProtocolError(f"{where} is not of type {kind.kind}: {raw!r}")


def _text_from_json(kind: FieldType[object], raw: str, where: str) -> object:
    if kind.kind == "string":
        return raw
    try:
        return uuid_from_string(raw) if kind.kind == "uuid" else a2b_base64(raw, strict_mode=True)
    except (ValueError, Error) as error:
        raise ProtocolError(f"{where} is not of type {kind.kind}: {raw!r}") from error
