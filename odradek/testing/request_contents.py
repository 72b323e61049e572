"""What any message of the protocol says of topics and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from odradek.wire.errors import ErrorCode
from odradek.wire.schema import Struct

_TOPIC_FIELDS = frozenset({"topic", "topic_name", "topics", "topic_names", "subscribed_topic_names"})


def error_codes_in(message: Struct) -> list[ErrorCode]:
    """All error codes of a response but NONE, each once, in their order."""
    codes = (
        value
        for struct in _structs(message)
        for name, value in _fields(struct)
        if name.endswith("error_code") and isinstance(value, int) and value
    )
    return [ErrorCode(code) for code in dict.fromkeys(codes)]


def topics_in(message: Struct, names: Mapping[bytes, str]) -> list[str]:
    """The topics that a message names, or has the id of; `names` are by id."""
    found: dict[str, None] = {}
    for struct in _structs(message):
        has_name = "Topic" in type(struct).__name__
        for name, value in _fields(struct):
            if name == "topic_id" and isinstance(value, bytes):
                if value in names:
                    found[names[value]] = None
            elif name in _TOPIC_FIELDS or (name == "name" and has_name):
                texts = value if isinstance(value, list) else [value]
                found.update((text, None) for text in texts if isinstance(text, str) and text)
    return list(found)


def _structs(value: object) -> Iterator[Struct]:
    """All structs of a message, the outer ones first."""
    if isinstance(value, Struct):
        yield value
        for _name, content in _fields(value):
            yield from _structs(content)
    elif isinstance(value, list):
        for each in value:
            yield from _structs(each)


def _fields(struct: Struct) -> Iterator[tuple[str, object]]:
    for field in struct.FIELDS:
        yield field.name, getattr(struct, field.name)
