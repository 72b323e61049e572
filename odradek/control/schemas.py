"""JSON Schema: of dataclasses, and whether a value is what a schema says."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

Schema: TypeAlias = Mapping[str, Any]
"""A schema of JSON Schema 2020-12, of which `check` knows what is used here."""

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
MAX_SHOWN = 60
_PLAIN: Mapping[type, Schema] = {str: STRING, int: INTEGER, float: NUMBER, bool: BOOLEAN, type(None): {"type": "null"}}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


class SchemaError(ValueError):
    """A value is not as its schema says; the text says where, and what it has to be."""


def ref(name: str) -> Schema:
    """A schema that the description names once."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema, **more: object) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def mapping(values: Schema) -> Schema:
    """An object with any names."""
    return {"type": "object", "additionalProperties": values}


def nullable(schema: Schema) -> Schema:
    """Or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(properties: Mapping[str, Schema], *required: str, **more: object) -> Schema:
    """An object with these names and no others."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False, **more}
    if required:
        schema["required"] = list(required)
    return schema


def schema_of(kind: type) -> Schema:
    """The schema of what `to_json` makes of a dataclass."""
    hints = get_type_hints(kind)
    names = [each.name for each in dataclasses.fields(kind)]
    return record({name: _schema_of_hint(hints[name]) for name in names}, *names)


def to_json(value: object) -> Any:
    """A dataclass, or what is in one, as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(each) for each in value]
    return value


def check(value: object, schema: Schema, components: Mapping[str, Schema], where: str = "") -> None:
    """Raise SchemaError unless `value` is as `schema` says, with `components` for references."""
    if "$ref" in schema:
        check(value, components[str(schema["$ref"]).rpartition("/")[2]], components, where)
        return
    if "anyOf" in schema:
        _check_any(value, schema["anyOf"], components, where)
        return
    kind = schema.get("type")
    if kind is not None:
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            raise SchemaError(f"{where or 'the body'} has to be of type {kind}, and not {_shown(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise SchemaError(f"{where} has to be a number, and not {value}")
    if "enum" in schema and value not in schema["enum"]:
        raise SchemaError(f"{where} is one of {', '.join(map(str, schema['enum']))}, and not {_shown(value)}")
    _check_limits(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        for number, each in enumerate(value):
            check(each, schema["items"], components, f"{where}[{number}]")
    if isinstance(value, dict):
        _check_object(value, schema, components, where)


def _check_object(value: dict[str, object], schema: Schema, components: Mapping[str, Schema], where: str) -> None:
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            raise SchemaError(f"{where or 'the body'} needs {name!r}")
    for name, each in value.items():
        inner = f"{where}.{name}" if where else name
        if name in known:
            check(each, known[name], components, inner)
        elif others is False:
            raise SchemaError(
                f"{where or 'the body'} knows no {_shown(name)}; it knows {', '.join(known) or 'nothing'}"
            )
        elif isinstance(others, Mapping):
            check(each, others, components, inner)


def _check_any(value: object, choices: Sequence[Schema], components: Mapping[str, Schema], where: str) -> None:
    problems = []
    for choice in choices:
        try:
            check(value, choice, components, where)
        except SchemaError as error:
            problems.append(str(error))
        else:
            return
    raise SchemaError("; or: ".join(problems))


def _check_limits(value: object, schema: Schema, where: str) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        if not low <= value <= high:
            raise SchemaError(f"{where} has to be from {low} to {high}, and not {_shown(value)}")
    if isinstance(value, str | list):
        low, high = (schema.get(f"{word}{'Length' if isinstance(value, str) else 'Items'}") for word in ("min", "max"))
        if (low is not None and len(value) < low) or (high is not None and len(value) > high):
            raise SchemaError(f"{where} has to have a length from {low or 0} to {high or 'any'}, and not {len(value)}")


def _schema_of_hint(hint: Any) -> Schema:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return schema_of(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of_hint(each) for each in arguments]}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return mapping(_schema_of_hint(arguments[1]))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return array(_schema_of_hint(arguments[0]))
    raise TypeError(f"{hint} has no schema")


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN else shown[:MAX_SHOWN] + "..."
